"""From raw predictions to detections: candidates of each level, threshold, non-maximum suppression."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torchvision.ops import batched_nms

from replicate.tasks.detection.losses import decode_boxes
from replicate.tasks.detection.model import Predictions


@dataclass(frozen=True)
class Detections:
    """``N`` detections of a batch, sorted by image: ``image (N,)``, ``boxes (N, 4)``, ``scores``, ``labels``."""

    image: Tensor
    boxes: Tensor
    scores: Tensor
    labels: Tensor


def decode(out: Predictions, sizes: Tensor, rules: Mapping[str, Any]) -> Detections:
    """Detections of a batch.

    Args:
        out: raw predictions.
        sizes: ``(B, 2)`` height and width of each image without padding; boxes are clipped to it.
        rules: ``candidates`` a level, ``score`` threshold, ``nms`` IoU, ``most`` detections an image.

    Scores are class probabilities; FCOS's are multiplied by the quality branch, as a geometric mean, after the
    threshold was applied to the class probability alone.
    """
    scores = out.logits.sigmoid()
    passed = scores > rules["score"]
    if out.quality is not None:
        scores = (scores * out.quality.sigmoid()[..., None]).sqrt()
    scores = scores.masked_fill(~passed, -1.0)
    image, where, label = _candidates(scores, out.grid.sizes, int(rules["candidates"]))
    score = scores[image, where, label]
    boxes = decode_boxes(out.boxes[image, where], out.grid, where)
    limit = sizes.to(boxes)[image]
    boxes = torch.stack([boxes[:, i].clamp(min=0).minimum(limit[:, 1 - i % 2]) for i in range(4)], 1)
    keep = batched_nms(boxes, score, image * out.logits.shape[-1] + label, rules["nms"])
    # keep is sorted by score; a stable sort by image leaves the best first within each image
    keep = keep[torch.argsort(image[keep], stable=True)]
    counts = torch.bincount(image[keep], minlength=len(sizes))
    rank = torch.arange(len(keep), device=keep.device) - (counts.cumsum(0) - counts)[image[keep]]
    keep = keep[rank < rules["most"]]
    return Detections(image[keep], boxes[keep], score[keep], label[keep])


def _candidates(scores: Tensor, sizes: tuple[int, ...], most: int) -> tuple[Tensor, Tensor, Tensor]:
    """Image, position and class of the ``most`` best scores of each image and level, those below zero left out."""
    num_classes = scores.shape[-1]
    parts, start = [], 0
    for size in sizes:
        level = scores[:, start : start + size].flatten(1)
        best, index = level.topk(min(most, level.shape[1]), dim=1)
        image, rank = torch.nonzero(best >= 0, as_tuple=True)
        flat = index[image, rank]
        parts.append((image, start + flat // num_classes, flat % num_classes))
        start += size
    image, where, label = (torch.cat(column) for column in zip(*parts, strict=True))
    return image, where, label
