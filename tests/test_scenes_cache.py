"""The cache of rendered worlds: whole or absent, checked on opening, safe with two writers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from replicate.datasets.scenes import cache, render
from replicate.tasks import DataError

WORDS = {"seed": 1, "size": 32, "objects": (1, 3)}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REPLICATE_CACHE", str(tmp_path))
    return tmp_path / "scenes"


def world_folder(folder: Path) -> Path:
    return next(p for p in folder.iterdir() if p.is_dir())


def test_cached_equals_uncached_and_leaves_one_folder(folder: Path) -> None:
    fresh = render("val", 50, cached=False, **WORDS)
    for _ in range(2):
        kept = render("val", 50, **WORDS)
        assert np.array_equal(kept.images, fresh.images)
        assert np.array_equal(kept.instances, fresh.instances)
        assert np.array_equal(kept.objects, fresh.objects)
        assert kept.coco() == fresh.coco()
    assert [p.name for p in folder.iterdir() if p.is_dir()] == [kept.config.digest(50)]


def test_second_opening_draws_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    render("val", 4, **WORDS)
    monkeypatch.setattr(cache, "_make", lambda *_: pytest.fail("drawn again"))
    render("val", 4, **WORDS)
    assert len(list(folder.iterdir())) == 2  # the world and its lock


@pytest.mark.parametrize("damage", ["truncate", "flip", "remove", "meta", "meta-list"])
def test_damage_is_found_and_the_world_made_again(folder: Path, damage: str) -> None:
    before = np.array(render("val", 30, **WORDS).images)
    path = world_folder(folder) / "images.npy"
    raw = bytearray(path.read_bytes())
    if damage == "truncate":
        path.write_bytes(raw[: len(raw) // 2])
    elif damage == "flip":
        raw[-5] ^= 1
        path.write_bytes(raw)
    elif damage == "remove":
        path.unlink()
    else:
        (path.parent / "meta.json").write_text('{"files": ' if damage == "meta" else "[]")
    assert cache._load(path.parent) is None
    assert np.array_equal(render("val", 30, **WORDS).images, before)
    assert cache._load(path.parent) is not None
    assert len([p for p in folder.iterdir() if p.is_dir()]) == 1, "the damaged folder was left behind"


def test_a_killed_writer_leaves_no_world(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(path: Path) -> None:
        np.save(path / "images.npy", np.zeros(3))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.open_or_make(folder / "w", cut, {})
    assert not (folder / "w").exists()
    assert not [p for p in folder.iterdir() if p.is_dir()]


def test_two_processes_at_once_get_the_same_world(folder: Path, tmp_path: Path) -> None:
    code = (
        "import hashlib, sys, time\n"
        "from pathlib import Path\n"
        "from replicate.datasets.scenes import render\n"
        "Path(sys.argv[1], 'ready' + sys.argv[2]).touch()\n"
        "while not (Path(sys.argv[1], 'ready0').exists() and Path(sys.argv[1], 'ready1').exists()):\n"
        "    time.sleep(0.001)\n"
        "s = render('train', 120, seed=1, size=32)\n"
        "print(hashlib.sha256(s.images.tobytes() + s.objects.tobytes()).hexdigest())\n"
    )
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path), str(k)],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for k in range(2)
    ]
    done = [p.communicate(timeout=120) for p in running]
    assert [p.returncode for p in running] == [0, 0], done
    assert done[0][0] == done[1][0] != ""
    assert len([p for p in folder.iterdir() if p.is_dir()]) == 1
    meta = json.loads((world_folder(folder) / "meta.json").read_text())
    assert meta["config"]["count"] == 120


def test_two_writers_without_locks_do_not_hurt_each_other(folder: Path) -> None:
    folder.mkdir(parents=True)
    config: dict[str, object] = {}

    def make(path: Path) -> None:
        np.save(path / "a.npy", np.arange(5))

    def late(path: Path) -> None:  # the other writer finishes while this one still draws
        cache._make(folder / "w", make, config)
        make(path)

    cache._make(folder / "w", late, config)
    found = cache._load(folder / "w")
    assert found is not None
    assert found["a"].tolist() == [0, 1, 2, 3, 4]


def test_a_cache_that_cannot_be_written_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("")
    monkeypatch.setenv("REPLICATE_CACHE", str(blocker))
    with pytest.raises(DataError, match="REPLICATE_CACHE") as error:
        render("val", 2, **WORDS)
    assert "\n" not in str(error.value)
