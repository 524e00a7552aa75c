"""Losses of both styles over a whole batch, and the box codes they share with decoding."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import generalized_box_iou_loss, sigmoid_focal_loss

from replicate.tasks.detection.assign import IGNORE, Grid, Targets
from replicate.tasks.detection.model import Predictions

_LOG_LIMIT = math.log(1000.0 / 16.0)
"""Largest dw, dh: keeps exp() finite, as detectors usually do."""


def decode_boxes(raw: Tensor, grid: Grid, where: Tensor | None = None) -> Tensor:
    """Raw boxes ``(..., P, 4)`` to pixels x1, y1, x2, y2; ``where`` picks positions when raw is ``(K, 4)``."""
    points, stride, anchors = grid.points, grid.stride, grid.anchors
    if where is not None:
        points, stride = points[where], stride[where]
        anchors = None if anchors is None else anchors[where]
    if anchors is None:
        raw = raw * stride[:, None]
        return torch.cat((points - raw[..., :2], points + raw[..., 2:]), -1)
    size = anchors[:, 2:] - anchors[:, :2]
    centre = (anchors[:, 2:] + anchors[:, :2]) / 2 + raw[..., :2] * size
    half = size * raw[..., 2:].clamp(max=_LOG_LIMIT).exp() / 2
    return torch.cat((centre - half, centre + half), -1)


def encode_deltas(boxes: Tensor, anchors: Tensor) -> Tensor:
    """dx, dy, dw, dh of ``boxes (K, 4)`` relative to ``anchors (K, 4)``, unit standard deviations."""
    size = anchors[:, 2:] - anchors[:, :2]
    centre = ((boxes[:, 2:] + boxes[:, :2]) - (anchors[:, 2:] + anchors[:, :2])) / 2
    return torch.cat((centre / size, ((boxes[:, 2:] - boxes[:, :2]) / size).log()), 1)


def centerness(points: Tensor, boxes: Tensor) -> Tensor:
    """FCOS's centerness of ``points (K, 2)`` in ``boxes (K, 4)``: 1 in the middle, 0 on the edge."""
    near = points - boxes[:, :2]
    far = boxes[:, 2:] - points
    ratio = torch.minimum(near, far) / torch.maximum(near, far)
    return ratio.clamp(min=0).prod(1).sqrt()


def aligned_iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU of the pairs of ``a (K, 4)`` and ``b (K, 4)``."""
    wh = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0)
    inter = wh.prod(1)
    areas = (a[:, 2:] - a[:, :2]).clamp(min=0).prod(1) + (b[:, 2:] - b[:, :2]).clamp(min=0).prod(1)
    return inter / (areas - inter).clamp(min=1e-9)


def detection_loss(out: Predictions, targets: Targets, rules: Mapping[str, Any]) -> Tensor:
    """Sum of the style's losses, each per object position (RetinaNet: per object anchor).

    Focal loss (alpha .25, gamma 2) on the classes; then for FCOS GIoU weighted by centerness and binary cross
    entropy on the quality branch, whose target is ``rules["quality"]``: ``centerness`` or ``iou``; for RetinaNet
    smooth L1 (beta .11) on the deltas.
    """
    num_classes = out.logits.shape[-1]
    counts = targets.labels != IGNORE
    onehot = F.one_hot(targets.labels.clamp(min=0), num_classes + 1)[..., :-1].to(out.logits.dtype)
    focal = sigmoid_focal_loss(out.logits, onehot, alpha=rules["alpha"], gamma=rules["gamma"], reduction="none")
    image, where = torch.nonzero(counts & (targets.labels < num_classes), as_tuple=True)
    objects = max(len(image), 1)
    total: Tensor = (focal * counts[..., None]).sum() / objects
    raw, goal = out.boxes[image, where], targets.boxes[image, where]
    if out.grid.anchors is not None:
        deltas = encode_deltas(goal, out.grid.anchors[where])
        smooth = F.smooth_l1_loss(raw, deltas, beta=0.11, reduction="sum") / objects
        return total + float(rules["box_weight"]) * smooth
    boxes = decode_boxes(raw, out.grid, where)
    central = centerness(out.grid.points[where], goal)
    giou = generalized_box_iou_loss(boxes, goal)
    total = total + float(rules["box_weight"]) * (giou * central).sum() / central.sum().clamp(min=1e-6)
    if out.quality is None:
        return total
    quality = central if rules["quality"] == "centerness" else aligned_iou(boxes.detach(), goal)
    branch = F.binary_cross_entropy_with_logits(out.quality[image, where], quality, reduction="sum")
    return total + branch / objects
