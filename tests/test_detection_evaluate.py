"""COCO metrics on predictions whose score is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from replicate.tasks.detection.evaluate import coco_metrics
from replicate.tasks.detection.profiles import METRICS


def _truth() -> dict[str, Any]:
    boxes = {1: [(5, 5, 8, 8), (20, 20, 20, 20)], 2: [(0, 0, 40, 40)], 3: []}
    annotations: list[dict[str, Any]] = []
    for image, found in boxes.items():
        for x, y, w, h in found:
            annotations.append(
                {"id": len(annotations) + 1, "image_id": image, "category_id": 1 + len(annotations) % 2,
                 "bbox": [x, y, w, h], "area": w * h, "iscrowd": 0}
            )  # fmt: skip
    return {
        "images": [{"id": i, "width": 64, "height": 64} for i in boxes],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}],
    }


def _rows(truth: dict[str, Any], shift: float = 0.0, score: float = 0.9) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array(
        [[a["image_id"], a["bbox"][0] + shift * a["bbox"][2], *a["bbox"][1:], score, a["category_id"]]
         for a in truth["annotations"]]
    )  # fmt: skip


def test_perfect_predictions_reach_100_in_silence(capsys: pytest.CaptureFixture[str]) -> None:
    truth = _truth()
    metrics, notes = coco_metrics(truth, _rows(truth), (100, 900))
    assert metrics == pytest.approx(dict.fromkeys(METRICS, 100.0))
    assert notes == []
    assert capsys.readouterr().out == ""


def test_boxes_of_iou_two_thirds_count_at_50_only() -> None:
    truth = _truth()
    metrics, _ = coco_metrics(truth, _rows(truth, shift=0.2), (100, 900))
    # IoU 0.8 / 1.2 = 0.667: right at .50, .55, .60, .65
    assert metrics["AP50"] == pytest.approx(100.0)
    assert metrics["AP75"] == 0.0
    assert metrics["AP"] == pytest.approx(40.0)


def test_sizes_are_parted_at_the_edges() -> None:
    truth = _truth()
    rows = _rows(truth)[:1]
    metrics, notes = coco_metrics(truth, rows, (100, 900))
    assert (metrics["APs"], metrics["APm"], metrics["APl"]) == (pytest.approx(100.0), 0.0, 0.0)
    metrics, notes = coco_metrics(truth, rows, (10, 20))
    assert metrics["APs"] == 0.0
    assert len(notes) == 2
    assert notes[0].startswith("APs: no object of this size")


def test_no_detection_scores_zero_and_no_object_is_an_error() -> None:
    truth = _truth()
    assert coco_metrics(truth, np.zeros((0, 7)), (100, 900))[0] == dict.fromkeys(METRICS, 0.0)
    with pytest.raises(ValueError, match="no object"):
        coco_metrics({**truth, "annotations": []}, np.zeros((0, 7)), (100, 900))
