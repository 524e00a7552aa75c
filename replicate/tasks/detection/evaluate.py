"""COCO average precision by pycocotools, in points (0 to 100)."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from replicate.tasks.detection.profiles import METRICS


def coco_metrics(
    truth: Mapping[str, Any], detections: NDArray[np.float64], area_edges: Sequence[float]
) -> tuple[dict[str, float], list[str]]:
    """AP, AP50, AP75, APs, APm, APl in points, and notes on metrics that no object decides.

    Args:
        truth: ground truth in COCO's instances format.
        detections: ``(N, 7)`` image id, x, y, width, height, score, category id.
        area_edges: the two areas in square pixels that part small, medium and large objects.
    """
    if not truth["annotations"]:
        raise ValueError("the evaluation images hold no object")
    small, large = area_edges
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = dict(truth)
        coco.createIndex()
        if len(detections) == 0:
            return dict.fromkeys(METRICS, 0.0), []
        evaluation = COCOeval(coco, coco.loadRes(detections), "bbox")
        evaluation.params.areaRng = [[0, 1e10], [0, small], [small, large], [large, 1e10]]
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    values, notes = {}, []
    for name, value in zip(METRICS, evaluation.stats[:6], strict=True):
        # pycocotools says -1 where no object falls into the class of size
        values[name] = max(0.0, 100.0 * float(value))
        if value < 0:
            notes.append(f"{name}: no object of this size in the evaluation images")
    return values, notes
