"""The COCO folder loader, on a fake twin written in COCO's own layout and on hand-made corner cases."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from replicate.datasets import registry
from replicate.datasets.base import DetectionData
from replicate.datasets.coco import (
    CocoFolder,
    aspect_batches,
    checksum,
    fake_twin,
    hflip,
    open_coco,
    resize_shorter,
    resized_shape,
)
from replicate.tasks import DataError


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("coco")
    fake_twin(path)
    return path


def annotations(root: Path, split: str) -> dict[str, Any]:
    return json.loads((root / "annotations" / f"instances_{split}.json").read_text())


def test_twin_has_the_layout_and_the_fields_of_coco(root: Path) -> None:
    facts = annotations(root, "train2017")
    assert set(facts) == {"info", "licenses", "images", "annotations", "categories"}
    assert len(facts["categories"]) == 80
    assert sorted(c["id"] for c in facts["categories"]) == [c["id"] for c in facts["categories"]]
    assert facts["categories"][-1]["id"] == 90
    crowds = [a for a in facts["annotations"] if a["iscrowd"]]
    assert crowds
    assert all(isinstance(a["segmentation"]["counts"], list) for a in crowds)
    polygons = [a["segmentation"] for a in facts["annotations"] if not a["iscrowd"]]
    assert all(len(p) >= 6 and len(p) % 2 == 0 for polygon in polygons for p in polygon)
    for image in facts["images"]:
        assert (root / "train2017" / image["file_name"]).is_file()


# pycocotools 2.0.11 decodes with an __array__ that numpy 2 calls deprecated
@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")
def test_pycocotools_reads_the_twin_and_its_masks_fit(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    coco = COCO(str(root / "annotations" / "instances_train2017.json"))
    capsys.readouterr()
    for annotation in coco.anns.values():
        mask = coco.annToMask(annotation)
        assert abs(float(mask.sum()) - annotation["area"]) <= max(6.0, 0.12 * annotation["area"])
        ys, xs = np.nonzero(mask)
        x, y, w, h = annotation["bbox"]
        found = [xs.min() - x, ys.min() - y, xs.max() + 1 - x - w, ys.max() + 1 - y - h]
        assert np.abs(found).max() <= 1.5


def test_loader_maps_ids_and_keeps_crowds_apart(root: Path) -> None:
    data = CocoFolder(root, "train2017", train=True)
    assert isinstance(data, DetectionData)
    raw = annotations(root, "train2017")
    assert data.num_classes == 80
    name_of = {c["id"]: c["name"] for c in raw["categories"]}
    seen = 0
    for i, image_id in enumerate(data.image_ids):
        mine = [a for a in raw["annotations"] if a["image_id"] == image_id and not a["iscrowd"]]
        assert [data.class_names[k] for k in data.labels(i)] == [name_of[a["category_id"]] for a in mine]
        assert [data.category_ids[k] for k in data.labels(i)] == [a["category_id"] for a in mine]
        wanted = [[x, y, x + w, y + h] for x, y, w, h in (a["bbox"] for a in mine)]
        assert data.boxes(i).tolist() == wanted
        seen += len(data.crowd(i))
        assert data.image(i).shape == (*data.shape(i), 3)
        assert data.image(i).dtype == np.uint8
    assert seen == 1


def test_only_training_drops_images_without_objects(root: Path) -> None:
    every, train = CocoFolder(root, "train2017"), CocoFolder(root, "train2017", train=True)
    assert len(every) == 6
    assert len(train) == 5
    (dropped,) = set(every.image_ids) - set(train.image_ids)
    i = every.image_ids.index(dropped)
    assert len(every.boxes(i)) == 0
    assert every.boxes(i).shape == (0, 4)
    assert len(every.crowd(i)) == 1


def write(root: Path, anns: list[dict[str, Any]]) -> None:
    from PIL import Image

    (root / "annotations").mkdir(parents=True)
    (root / "val2017").mkdir()
    Image.new("RGB", (20, 10)).save(root / "val2017" / "1.jpg")
    facts = {
        "images": [{"id": 1, "file_name": "1.jpg", "width": 20, "height": 10}],
        "categories": [{"id": 7, "name": "late"}, {"id": 3, "name": "early"}],
        "annotations": [
            {"id": k, "image_id": 1, "iscrowd": 0, "category_id": 3, "area": 5, **a} for k, a in enumerate(anns)
        ],
    }
    (root / "annotations" / "instances_val2017.json").write_text(json.dumps(facts))


def test_boxes_are_clipped_and_empty_ones_dropped(tmp_path: Path) -> None:
    write(
        tmp_path,
        [
            {"bbox": [-5, -5, 10, 8], "category_id": 7},
            {"bbox": [15, 5, 50, 50]},
            {"bbox": [2, 2, 0.5, 5]},  # under a pixel wide
            {"bbox": [2, 2, 5, 5], "area": 0},
            {"bbox": [30, 2, 5, 5]},  # outside
            {"bbox": [1, 1, 4, 4], "iscrowd": 1},
        ],
    )
    data = CocoFolder(tmp_path, "val2017")
    assert data.boxes(0).tolist() == [[0, 0, 5, 3], [15, 5, 20, 10]]
    assert data.class_names == ("early", "late")
    assert data.labels(0).tolist() == [1, 0]
    assert data.crowd(0).tolist() == [[1, 1, 5, 5]]


def average_precision(data: CocoFolder, results: list[dict[str, Any]]) -> float:
    truth = COCO()
    truth.dataset = data.coco()
    truth.createIndex()
    evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return float(evaluation.stats[0])


def test_cocoeval_scores_perfect_and_shifted_boxes(root: Path) -> None:
    data = CocoFolder(root, "val2017")
    scores = {}
    for shift in (0.0, 0.25):
        results = []
        for i, image_id in enumerate(data.image_ids):
            for (x1, y1, x2, y2), label in zip(data.boxes(i).tolist(), data.labels(i), strict=True):
                box = [x1 + shift * (x2 - x1), y1, x2 - x1, y2 - y1]
                category = data.category_ids[label]
                results.append({"image_id": image_id, "category_id": category, "bbox": box, "score": 0.9})
        scores[shift] = average_precision(data, results)
    assert scores[0.0] == pytest.approx(1.0)
    assert 0.0 < scores[0.25] < 0.5  # IoU 0.6: counted at 3 of the 10 thresholds


@pytest.mark.parametrize(
    ("shape", "wanted"),
    [((480, 640), (800, 1067)), ((640, 480), (1067, 800)), ((427, 640), (800, 1199)), ((300, 900), (444, 1333))],
)
def test_resize_rule(shape: tuple[int, int], wanted: tuple[int, int]) -> None:
    assert resized_shape(*shape) == wanted


def test_resize_and_flip_move_boxes_with_their_pixels() -> None:
    image = np.zeros((40, 60, 3), np.uint8)
    image[10:20, 5:25] = 255
    boxes = np.array([[5, 10, 25, 20]], np.float32)
    for change in (
        lambda i, b: resize_shorter(i, b, 80, 200),
        hflip,
        lambda i, b: hflip(*resize_shorter(i, b, 80, 200)),
    ):
        pixels, moved = change(image, boxes)
        ys, xs = np.nonzero(pixels[:, :, 0] > 127)
        assert np.abs(moved[0] - [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]).max() <= 1
    twice = hflip(*hflip(image, boxes))
    assert np.array_equal(twice[0], image)
    assert np.array_equal(twice[1], boxes)
    none = np.zeros((0, 4), np.float32)
    assert hflip(*resize_shorter(image, none))[1].shape == (0, 4)


def test_batches_have_one_orientation_and_miss_no_image() -> None:
    shapes = [(480, 640)] * 21 + [(640, 480)] * 6
    batches = aspect_batches(shapes, 4, seed=1, epoch=0)
    assert all(len(batch) == 4 for batch in batches)
    assert all(len({shapes[i][1] >= shapes[i][0] for i in batch}) == 1 for batch in batches)
    assert {i for batch in batches for i in batch} == set(range(27))
    assert len(batches) == 6 + 2
    assert batches == aspect_batches(shapes, 4, seed=1, epoch=0)
    assert batches != aspect_batches(shapes, 4, seed=1, epoch=1)
    assert batches != aspect_batches(shapes, 4, seed=2, epoch=0)


def test_open_by_name_and_checksum_follow_the_content(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPLICATE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("REPLICATE_CONFIG", str(tmp_path / "none.yaml"))
    assert len(open_coco("val2017", {"coco": root})) == 4
    before = registry.checksum("coco", {"coco": root})
    assert before == checksum(root) == registry.checksum("coco", {"coco": root})
    fake_twin(tmp_path / "again")
    assert registry.checksum("coco", {"coco": tmp_path / "again"}) == before, "the place or the time counts"
    path = tmp_path / "again" / "annotations" / "instances_val2017.json"
    path.write_text(path.read_text().replace('"iscrowd": 1', '"iscrowd": 0'))
    changed = registry.checksum("coco", {"coco": tmp_path / "again"})
    assert changed != before
    next((tmp_path / "again" / "val2017").glob("*.jpg")).unlink()
    assert registry.checksum("coco", {"coco": tmp_path / "again"}) not in (before, changed)


def test_problems_are_one_line_each(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"instances_test2017\.json"):
        CocoFolder(root, "test2017")
    fake_twin(tmp_path)
    data = CocoFolder(tmp_path, "val2017")
    picture = sorted((tmp_path / "val2017").glob("*.jpg"))[0]
    picture.write_bytes(picture.read_bytes()[:200])
    with pytest.raises(DataError, match="cannot be read"):
        data.image(0)
    path = tmp_path / "annotations" / "instances_val2017.json"
    for text in ("{", "{}", "[]", '{"categories": [], "images": [{"id": 1}], "annotations": []}'):
        path.write_text(text)
        with pytest.raises(DataError, match="not COCO instances JSON") as error:
            CocoFolder(tmp_path, "val2017")
        assert "\n" not in str(error.value)
