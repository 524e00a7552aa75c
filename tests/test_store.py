"""Records on disk: atomic, checked, locked, merged."""

from __future__ import annotations

import errno
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from replicate import reference
from replicate.errors import UserError
from replicate.records import Record, Spec
from replicate.store import Store, encode
from replicate.study import Study

PAPER = "papers.a.experiment:f"


def make(seed: int = 0, *, status: Any = "ok", code: str = "c0", builder: str = PAPER, **more: Any) -> Record:
    spec = Spec(builder, 1, {"depth": 3, "on": True}, "t", "p", 1, {"steps": 10, "lr": 0.1}, None, "quick", seed)
    provenance = {"code": code, "carried": [], "versions": {"python": "3"}, "machine": {"cpu": "x"}, "commit": None}
    values = {"metrics": {"score": 0.1 + seed / 3}, "curves": {"step": [1.0, 2.0], "score": [0.1, 1 / 3]}} | more
    return Record(spec.key, spec, status, provenance=provenance, **values)


def test_round_trip(tmp_path: Path) -> None:
    store, record = Store(tmp_path), make(items={"ap": [0.25, 0.5]}, cost={"parameters": 3.0})
    assert store.get(record.key) is None
    assert record.key not in store
    store.put(record)
    found = Store(tmp_path).get(record.key)
    assert found is not None
    assert found == record
    assert found.spec.key == record.key
    assert store.keys() == [record.key]
    assert record.key in store


def test_a_record_must_belong_to_its_spec(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="does not belong"):
        Store(tmp_path).put(make(0).with_(key=make(1).key))


def _cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _cut_at_the_line(data: bytes) -> bytes:
    return data[: data.index(b"\n") + 1]


def _edited(data: bytes) -> bytes:
    return data.replace(b'"status":"ok"', b'"status":"diverged"')


def _edited_with_new_hash(data: bytes) -> bytes:
    """Somebody who also repairs the hash, but whose spec is another trial's."""
    value = json.loads(data.partition(b"\n")[0])
    value["spec"]["seed"] += 1
    return encode(Record.from_json(value))


@pytest.mark.parametrize("damage", [_cut, _cut_at_the_line, _edited, _edited_with_new_hash, lambda data: b""])
def test_damaged_records_are_set_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: Any) -> None:
    store, good, bad = Store(tmp_path), make(0), make(1)
    store.put(good)
    store.put(bad)
    path = store.path(bad.key)
    path.write_bytes(damage(path.read_bytes()))
    with caplog.at_level(logging.WARNING, logger="replicate"):
        assert [record.key for record in store.records()] == [good.key]
    assert len(caplog.records) == 1
    assert "\n" not in caplog.records[0].getMessage()
    assert bad.key not in store
    assert not path.exists()
    assert len(list((tmp_path / "set_aside").iterdir())) == 1
    store.put(bad)
    assert store.get(bad.key) is not None


def test_set_aside_keeps_every_damaged_file(tmp_path: Path) -> None:
    store, record = Store(tmp_path), make()
    for n in range(3):
        store.put(record)
        store.path(record.key).write_text(f"nonsense {n}")
        assert store.get(record.key) is None
    texts = sorted(path.read_text() for path in (tmp_path / "set_aside").iterdir())
    assert texts == ["nonsense 0", "nonsense 1", "nonsense 2"]


def test_results_of_older_code_are_kept(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put(make(code="old", metrics={"score": 0.1}))
    store.put(make(code="newer", metrics={"score": 0.2}))
    store.put(make(code="newest", status="failed", metrics={}))
    store.put(make(code="newest", metrics={"score": 0.3}))
    now = store.get(make().key)
    assert now is not None
    assert now.metrics == {"score": 0.3}
    assert [record.provenance["code"] for record in store.history(now.key)] == ["old", "newer"]
    assert len(store.records()) == 1


def test_find_by_prefix(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for seed in range(20):
        store.put(make(seed))
    assert store.find(make(3).key[:40]).spec.seed == 3
    with pytest.raises(UserError, match="no record"):
        store.find("zz")
    with pytest.raises(UserError, match="20 records"):
        store.find("")


def test_full_disk_injected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    store.put(make(0))
    real = os.write

    def write(descriptor: int, data: Any) -> int:
        if len(data) < 100:
            return real(descriptor, data)
        if len(data) > 300:
            return real(descriptor, bytes(data[:50]))  # some of it still fits
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(UserError, match="disk is full") as caught:
        store.put(make(1))
    monkeypatch.undo()
    assert "\n" not in str(caught.value)
    assert [record.spec.seed for record in store.records()] == [0]
    assert not list(tmp_path.rglob("*.tmp"))
    store.put(make(1))
    assert len(store.records()) == 2


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if os.name != "posix" or os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small tmpfs needs root")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_full_disk_for_real(small_disk: Path) -> None:
    store = Store(small_disk)
    stored = []

    def fill() -> None:
        for seed in range(1000):
            store.put(make(seed))
            stored.append(seed)

    with pytest.raises(UserError, match="disk is full"):
        fill()
    assert 1 <= len(stored) < 100
    assert sorted(record.spec.seed for record in store.records()) == stored
    assert not list(small_disk.rglob("*.tmp"))


def test_folder_that_may_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        Store(tmp_path / "file").put(make())


def test_locks_exclude_each_other_and_leave_no_files(tmp_path: Path) -> None:
    one, two = Store(tmp_path), Store(tmp_path)
    lock = one.try_lock("k")
    assert lock is not None
    assert two.try_lock("k") is None
    other = two.try_lock("other")
    assert other is not None
    other.release()
    lock.release()
    lock.release()
    with two.lock("k"):
        assert one.try_lock("k") is None
    assert list((tmp_path / "locks").iterdir()) == []


def test_a_lock_vanishes_with_its_process_and_children_do_not_keep_it(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys, time; from replicate.store import Store\n"
        f"lock = Store({str(tmp_path)!r}).lock('k')\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(20)'], close_fds=False,"
        " stdout=subprocess.DEVNULL)\n"
        "print(child.pid, flush=True); time.sleep(20)"
    )
    root = str(Path(__file__).resolve().parents[1])
    holder = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": root}
    )
    assert holder.stdout is not None
    child = int(holder.stdout.readline())
    try:
        assert Store(tmp_path).try_lock("k") is None
        holder.kill()
        holder.wait()
        lock = Store(tmp_path).try_lock("k")
        assert lock is not None
        lock.release()
    finally:
        os.kill(child, 9)
        holder.stdout.close()


def test_locks_under_contention(tmp_path: Path) -> None:
    """Many processes raise one counter under the lock: no raise is lost, though lock files come and go."""
    code = (
        "import sys; from pathlib import Path; from replicate.store import Store\n"
        f"store, counter = Store({str(tmp_path)!r}), Path({str(tmp_path / 'counter')!r})\n"
        "for _ in range(100):\n"
        "    with store.lock('k'):\n"
        "        counter.write_text(str(int(counter.read_text()) + 1))\n"
    )
    (tmp_path / "counter").write_text("0")
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    crowd = [subprocess.Popen([sys.executable, "-c", code], env=env) for _ in range(4)]
    assert [process.wait(timeout=60) for process in crowd] == [0] * 4
    assert (tmp_path / "counter").read_text() == "400"


def test_checkpoints_are_named_by_content(tmp_path: Path) -> None:
    store, file = Store(tmp_path), tmp_path / "weights"
    file.write_bytes(b"weights")
    digest = store.keep_checkpoint(file)
    assert not file.exists()
    assert store.checkpoint(digest).read_bytes() == b"weights"
    file.write_bytes(b"weights")
    assert store.keep_checkpoint(file) == digest
    file.write_bytes(b"other")
    with pytest.raises(ValueError, match="changed"):
        store.keep_checkpoint(file, digest)
    with pytest.raises(UserError, match="not in the cache"):
        store.checkpoint("0" * 64)


def test_studies(tmp_path: Path) -> None:
    store = Store(tmp_path)
    study = Study("a", "quick", "p", 1, 1, 5, (0, 1), {"c": "d"}, {"x": "y"}, {"arm": {"0": "k"}}, notes=("n",))
    assert store.study("a", "quick") is None
    store.put_study(study)
    assert store.study("a", "quick") == study
    assert store.studies() == [study]
    store.study_path("a", "quick").write_text("{")
    with pytest.raises(UserError, match="not a study file"):
        store.study("a", "quick")


def test_merge_takes_results_over_failures(tmp_path: Path) -> None:
    mine, other = Store(tmp_path / "a"), Store(tmp_path / "b")
    weights = tmp_path / "weights"
    weights.write_bytes(b"w")
    digest = other.keep_checkpoint(weights)
    mine.put(make(0, metrics={"score": 1.0}))
    mine.put(make(1, status="failed", metrics={}))
    other.put(make(0, metrics={"score": 2.0}))
    other.put(make(1))
    other.put(make(2, checkpoint=digest))
    assert mine.merge_from(other) == (2, 1)
    found = {record.spec.seed: record for record in mine.records()}
    assert found[0].metrics == {"score": 1.0}
    assert found[1].status == "ok"
    assert mine.checkpoint(digest).read_bytes() == b"w"
    assert mine.merge_from(other) == (0, 3)
    assert len(other.records()) == 3


def test_ten_thousand_records_open_within_a_second(tmp_path: Path) -> None:
    """A tenth of them here, by CPU time; benchmarks/store.py measures the whole."""
    store = Store(tmp_path)
    for seed in range(1000):
        path = store.path(make(seed).key)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(make(seed)))
    began = time.process_time()
    records = Store(tmp_path).records()
    seconds = time.process_time() - began
    assert len(records) == 1000
    assert seconds < 0.25, "over twice the bar of 0.1 s"


def test_reference_records_are_small_sorted_and_stable(tmp_path: Path) -> None:
    long = {"step": [float(i) for i in range(500)], "score": [i / 7 for i in range(500)]}
    records = [make(seed, curves=long) for seed in (3, 1, 2)]
    shared = make(7, builder="tasks.detection:plain")
    bad = make(9, status="failed")
    written = reference.export_reference([*records, shared, bad], tmp_path)
    assert [str(path.relative_to(tmp_path)) for path in written] == ["quick/_shared.jsonl", "quick/a.jsonl"]
    text = written[1].read_text()
    found = reference.read_reference(tmp_path, "quick", "a")
    assert [record.spec.seed for record in found] == [1, 2, 3]
    assert [record.metrics for record in found] == [make(seed).metrics for seed in (1, 2, 3)]
    assert found[0].provenance["machine"] == {"cpu": "x"}
    assert text.count('"machine"') == 1
    assert len(found[0].curves["score"]) <= 24
    assert found[0].curves["step"][0] == 0.0
    assert found[0].curves["step"][-1] == 499.0
    assert len(reference.read_reference(tmp_path)) == 4
    reference.export_reference(found, tmp_path)
    assert written[1].read_text() == text
    reference.export_reference([make(4)], tmp_path)
    assert [record.spec.seed for record in reference.read_reference(tmp_path, slug="a")] == [1, 2, 3, 4]


def test_broken_reference_file_names_its_line(tmp_path: Path) -> None:
    path = reference.export_reference([make()], tmp_path)[0]
    path.write_text(path.read_text() + "{\n")
    with pytest.raises(UserError, match=r"a\.jsonl:3"):
        reference.read_reference(tmp_path)
    assert reference.read_reference(tmp_path / "nowhere") == []
