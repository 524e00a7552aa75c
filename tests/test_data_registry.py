"""Cards, providers, checksums, prepare and verify, all offline."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import replicate.datasets
from replicate.datasets import fashion_mnist, mnist5k, prepare, registry
from replicate.datasets.base import cache_folder, digest_files, package_folder
from replicate.datasets.registry import DatasetError
from replicate.errors import UserError
from replicate.tasks import DataError

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def private_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPLICATE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("REPLICATE_CONFIG", str(tmp_path / "config.yaml"))
    registry.card.cache_clear()


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A dataset of one wheel, with its card as a dict to edit; ``write`` puts it on disk."""
    wheel = tmp_path / "index" / "toy_data-1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("toy_data/words.txt", "one two three")
        archive.writestr("toy_data-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: toy-data\nVersion: 1.0\n")
        archive.writestr("toy_data-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("toy_data-1.0.dist-info/RECORD", "")
    content = tmp_path / "words.txt"
    content.write_text("one two three")
    card = {
        "schema": 1, "name": "toy", "title": "Toy", "version": "1.0", "licence": "CC0", "credit": "nobody",
        "source": "made here", "size_mb": 0.1, "says": "For tests.", "holds": "three words",
        "checksum": digest_files([("words.txt", content)]),
        "files": ["words.txt"],
        "providers": [
            {"kind": "folder", "layout": ["words.txt"]},
            {
                "kind": "pip", "requirement": "toy-data==1.0",
                "sha256": hashlib.sha256(wheel.read_bytes()).hexdigest(),
                "members": {"words.txt": "toy_data/words.txt"},
            },
        ],
    }  # fmt: skip
    folder = tmp_path / "datasets"
    (folder / "toy").mkdir(parents=True)
    (folder / "toy" / "__init__.py").write_text("")
    monkeypatch.setattr(replicate.datasets, "__path__", [*replicate.datasets.__path__, str(folder)])
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    sys.modules.pop("replicate.datasets.toy", None)

    def write() -> None:
        registry.card.cache_clear()
        (folder / "toy" / "card.yaml").write_text(yaml.safe_dump(card))

    write()
    return {"card": card, "write": write, "path": folder / "toy" / "card.yaml", "wheel": wheel}


def test_every_card_loads_and_names_its_folder() -> None:
    assert {"coco", "fashion_mnist", "mnist5k", "scenes"} <= set(registry.names())
    for name in registry.names():
        card = registry.card(name)
        assert card.licence
        assert card.credit
        for provider in card.providers:
            if provider.kind in ("pip", "apt"):
                assert set(provider.members) == set(card.files)
        registry.loader(name)
    assert "CC BY 4.0" in registry.card("scenes").credit
    assert registry.card("scenes").installed
    assert not registry.card("coco").preparable


def test_listing_and_cards_import_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from replicate.datasets import registry\n"
        "import replicate.datasets.scenes, replicate.datasets.coco\n"
        "[registry.card(n) for n in registry.names()]\n"
        "print([m for m in ('numpy', 'torch', 'PIL', 'scipy', 'skimage', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr


def test_unknown_name_has_near_misses_and_suits_both_callers() -> None:
    with pytest.raises(DatasetError, match=r"unknown dataset 'scene'.*'scenes'") as error:
        registry.card("scene")
    assert isinstance(error.value, UserError)
    assert isinstance(error.value, DataError)


@pytest.mark.parametrize("name", ["../papers", "", ".", "scenes/../coco"])
def test_names_cannot_leave_the_folder(name: str) -> None:
    with pytest.raises(DatasetError, match="unknown dataset"):
        registry.card(name)


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        ({"colour": "red"}, "colour"),
        ({"checksum": "abc"}, "checksum"),
        ({"name": "other"}, "folder is 'toy'"),
        ({"providers": [{"kind": "carrier pigeon"}]}, "providers"),
    ],
)
def test_broken_cards_say_file_and_field(toy: dict[str, Any], edit: dict[str, Any], says: str) -> None:
    toy["card"].update(edit)
    toy["write"]()
    with pytest.raises(DatasetError, match=says) as error:
        registry.card("toy")
    assert str(toy["path"]) in str(error.value)
    assert "\n" not in str(error.value)


def test_broken_yaml_says_the_line(toy: dict[str, Any]) -> None:
    toy["path"].write_text("schema: 1\nname: toy\ntitle: [unclosed\nversion: 1\n")
    with pytest.raises(DatasetError, match=r"card.yaml:[345]"):
        registry.card("toy")


def test_providers_in_order_prepare_then_verify(toy: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="replicate data prepare toy"):
        registry.where("toy")
    assert prepare.verify("toy") == [f"dataset toy is not on this machine; {registry.how_to_get('toy')}"]
    said: list[str] = []
    found = prepare.prepare("toy", said.append)
    assert found.provider == "prepared"
    assert (found.root / "words.txt").read_text() == "one two three"
    assert any("pip" in line for line in said)
    assert prepare.verify("toy") == []
    assert registry.checksum("toy") == toy["card"]["checksum"]
    said.clear()
    assert prepare.prepare("toy", said.append) == found
    assert said == [f"toy: already here ({found.root})"]
    (found.root / "words.txt").write_text("one two thre3")
    (problem,) = prepare.verify("toy")
    assert "the card pins" in problem
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "words.txt").write_text("four")
    assert registry.where("toy", {"toy": mine}).provider == "folder"
    assert registry.checksum("toy", {"toy": mine}) == digest_files([("words.txt", mine / "words.txt")])
    assert [p.name for p in (cache_folder() / "data").iterdir()] == [found.root.name], "temporary folders left"


def test_a_wheel_with_another_hash_is_not_used(toy: dict[str, Any]) -> None:
    toy["card"]["providers"][1]["sha256"] = "0" * 64
    toy["write"]()
    with pytest.raises(DatasetError, match="it is not used"):
        prepare.prepare("toy")
    assert not registry.prepared_folder("toy").exists()


def test_content_other_than_pinned_is_not_kept(toy: dict[str, Any]) -> None:
    toy["card"]["checksum"] = "1" * 64
    toy["write"]()
    with pytest.raises(DatasetError, match="the card pins 1111"):
        prepare.prepare("toy")
    assert not registry.prepared_folder("toy").exists()


def test_no_network_is_one_line(toy: dict[str, Any]) -> None:
    toy["wheel"].unlink()
    with pytest.raises(DatasetError, match="pip failed: ERROR") as error:
        prepare.prepare("toy")
    assert "\n" not in str(error.value)


def test_a_debian_package_is_unpacked_without_installing(
    toy: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    # stand-ins for the two clients: the pinned build is gone, another one has the same content
    (tools / "apt-get").write_text(
        '#!/bin/sh\ncase "$2" in *=*) echo "E: gone" >&2; exit 100;; esac\n: > "$2_2_all.deb"\n'
    )
    (tools / "dpkg-deb").write_text('#!/bin/sh\nmkdir -p "$3/usr/share"\nprintf "one two three" > "$3/usr/share/w"\n')
    for tool in tools.iterdir():
        tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    toy["card"]["providers"][1] = {
        "kind": "apt",
        "package": "toy",
        "version": "1",
        "sha256": "0" * 64,
        "members": {"words.txt": "usr/share/w"},
    }
    toy["write"]()
    assert prepare.prepare("toy").provider == "prepared"
    assert prepare.verify("toy") == []
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("REPLICATE_CACHE", str(tmp_path / "other"))
    with pytest.raises(DatasetError, match="apt-get is not on this system"):
        prepare.prepare("toy")


def test_config_file_names_folders_and_the_option_wins(toy: dict[str, Any], tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "words.txt").write_text(folder)
    (tmp_path / "config.yaml").write_text(f"data:\n  toy: {tmp_path / 'a'}\n")
    assert registry.where("toy").root == tmp_path / "a"
    assert registry.where("toy", {"toy": tmp_path / "b"}).root == tmp_path / "b"
    (tmp_path / "config.yaml").write_text("data: [toy]\n")
    with pytest.raises(DatasetError, match="expected a map"):
        registry.where("toy")
    (tmp_path / "config.yaml").write_text("data: {toy: 'x\n")
    with pytest.raises(DatasetError, match="cannot be read") as error:
        registry.where("toy")
    assert "\n" not in str(error.value)


def test_a_folder_without_the_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="val2017 is missing"):
        registry.where("coco", {"coco": tmp_path})
    with pytest.raises(DatasetError, match="takes no folder"):
        registry.where("scenes", {"scenes": tmp_path})
    with pytest.raises(DatasetError, match="no fake twin"):
        registry.fake_twin("scenes", tmp_path)


def test_checksum_of_a_folder_is_remembered_until_a_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.fake_twin("mnist5k", tmp_path / "twin")
    paths = {"mnist5k": tmp_path / "twin"}
    value = registry.checksum("mnist5k", paths)
    with monkeypatch.context() as patch:
        patch.setattr(registry, "recompute", lambda *_: pytest.fail("taken again"))
        assert registry.checksum("mnist5k", paths) == value
    for memo in (cache_folder() / "checksums").iterdir():
        memo.write_text("{")  # a damaged memo is only a memo
    assert registry.checksum("mnist5k", paths) == value
    mnist5k.fake_twin(tmp_path / "twin", per_class=6)
    assert registry.checksum("mnist5k", paths) != value
    assert len(prepare.verify("mnist5k", paths)) == 1, "a twin passes for the real set"


def test_mnist5k_twin_loads_with_a_stratified_split(tmp_path: Path) -> None:
    registry.fake_twin("mnist5k", tmp_path)
    train, test = (mnist5k.load(split, {"mnist5k": tmp_path}) for split in ("train", "test"))
    assert train.images.shape == (40, 28, 28)
    assert test.images.shape == (10, 28, 28)
    assert np.bincount(train.labels).tolist() == [4] * 10
    assert np.bincount(test.labels).tolist() == [1] * 10
    assert all(
        image[15 if k >= 5 else 5, 4 + 5 * (k % 5)] == 220 for image, k in zip(train.images, train.labels, strict=True)
    )
    (tmp_path / mnist5k.FILE).write_bytes(b"no gzip")
    with pytest.raises(DataError, match="cannot be read"):
        mnist5k.load("train", {"mnist5k": tmp_path})


def test_fashion_mnist_twin_loads_and_damage_is_told(tmp_path: Path) -> None:
    registry.fake_twin("fashion_mnist", tmp_path)
    train, test = (fashion_mnist.load(split, {"fashion_mnist": tmp_path}) for split in ("train", "test"))
    assert (train.images.shape, test.images.shape) == ((50, 28, 28), (20, 28, 28))
    assert train.num_classes == len(fashion_mnist.CLASS_NAMES) == 10
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError, match="train-images"):
        fashion_mnist.load("train", {"fashion_mnist": tmp_path})
    labels = tmp_path / "t10k-labels-idx1-ubyte.gz"
    labels.write_bytes((tmp_path / "train-labels-idx1-ubyte.gz").read_bytes())
    with pytest.raises(DataError, match="do not fit together"):
        fashion_mnist.load("test", {"fashion_mnist": tmp_path})


def test_digest_counts_names_and_content_only(tmp_path: Path) -> None:
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "f").write_text("same")
    first = digest_files([("f", tmp_path / "x" / "f")])
    assert first == digest_files([("f", tmp_path / "y" / "f")])
    assert first != digest_files([("g", tmp_path / "x" / "f")])
    with pytest.raises(DataError, match="missing"):
        digest_files([("f", tmp_path / "missing")])
    with pytest.raises(DataError, match="not installed"):
        package_folder("no_such_package_here")


def test_a_loaders_submodules_are_part_of_a_trials_code() -> None:
    from replicate.provenance import closure

    for name in ("coco", "scenes"):
        folder = Path(registry.loader(name).__file__ or "").parent
        wanted = {f"replicate.datasets.{name}.{path.stem}" for path in folder.glob("*.py") if path.stem != "__init__"}
        assert wanted <= set(closure([f"replicate.datasets.{name}"]))
