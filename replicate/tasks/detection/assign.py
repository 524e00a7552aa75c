"""Which position or anchor learns which object: FCOS's centre sampling and RetinaNet's IoU matching, batched."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torchvision.ops import box_iou

IGNORE = -1
"""Label of an anchor that is neither object nor background."""


@dataclass(frozen=True)
class Grid:
    """Geometry of one pyramid: ``P`` positions (FCOS) or anchors (RetinaNet), level by level, finest first.

    ``points (P, 2)`` x, y of the cell centres in pixels; ``stride (P,)``; ``anchors (P, 4)`` x1, y1, x2, y2 or
    None; ``sizes`` number of positions or anchors of each level.
    """

    points: Tensor
    stride: Tensor
    anchors: Tensor | None
    sizes: tuple[int, ...]


@dataclass(frozen=True)
class Targets:
    """What each position or anchor should predict.

    ``labels (B, P)``: class, ``num_classes`` for background, ``IGNORE``; ``boxes (B, P, 4)``: the matched object
    in pixels, x1, y1, x2, y2 (meaningless where the label is not a class).
    """

    labels: Tensor
    boxes: Tensor


def make_grid(
    shapes: Sequence[tuple[int, int]], strides: Sequence[int], style: str, device: torch.device | str = "cpu"
) -> Grid:
    """Positions, and for style ``retina`` anchors, of levels of ``shapes`` (H, W) and ``strides``.

    Anchors follow RetinaNet as the official recipe sets it: side ``4 * stride * 2**(k/3)``, aspect ratios (h / w)
    0.5, 1, 2, centred on the cell's corner ``(x * stride, y * stride)`` for ``retina``; FCOS's points lie in the
    middle of the cell.
    """
    points, scale, anchors, sizes = [], [], [], []
    shift = 0.5 if style == "fcos" else 0.0
    base = _base_anchors() if style == "retina" else torch.zeros(1, 4)
    for (height, width), stride in zip(shapes, strides, strict=True):
        ys, xs = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        level = (torch.stack((xs, ys), -1).reshape(-1, 2).float() + shift) * stride
        level = level.repeat_interleave(len(base), 0)
        points.append(level)
        scale.append(torch.full((len(level),), float(stride)))
        anchors.append(torch.cat((level, level), 1) + (base * stride).repeat(height * width, 1))
        sizes.append(len(level))
    return Grid(
        torch.cat(points).to(device),
        torch.cat(scale).to(device),
        torch.cat(anchors).to(device) if style == "retina" else None,
        tuple(sizes),
    )


def _base_anchors() -> Tensor:
    """The 9 anchors of a cell at the origin in units of the stride, ``(9, 4)``: ratio outside, octave inside."""
    rows = []
    for ratio in (0.5, 1.0, 2.0):
        for octave in range(3):
            side = 4.0 * 2.0 ** (octave / 3.0)
            width, height = side / math.sqrt(ratio), side * math.sqrt(ratio)
            rows.append([-width / 2, -height / 2, width / 2, height / 2])
    return torch.tensor(rows)


def assign(grid: Grid, boxes: Tensor, labels: Tensor, num_classes: int, rules: Mapping[str, Any]) -> Targets:
    """Targets of a batch.

    Args:
        grid: geometry of the pyramid; with anchors the RetinaNet rule is used, else FCOS's.
        boxes: ``(B, M, 4)`` x1, y1, x2, y2, padded; labels: ``(B, M)`` with ``-1`` for padding.
        num_classes: the label of background.
        rules: ``radius`` and ``reach`` (FCOS), ``positive`` and ``negative`` IoU (RetinaNet).
    """
    if boxes.shape[1] == 0:
        shape = (len(boxes), len(grid.points))
        return Targets(boxes.new_full(shape, num_classes, dtype=torch.long), boxes.new_zeros((*shape, 4)))
    if grid.anchors is not None:
        return _assign_iou(grid.anchors, boxes, labels, num_classes, rules["positive"], rules["negative"])
    return _assign_centre(grid, boxes, labels, num_classes, rules["radius"], rules["reach"])


def _assign_centre(grid: Grid, boxes: Tensor, labels: Tensor, num_classes: int, radius: float, reach: float) -> Targets:
    """FCOS: a position learns the smallest object in whose centre region it lies and whose size suits its level.

    Level ``l`` takes objects whose farthest side lies within ``reach * stride`` (8 in the paper) but not within
    half of that; the finest level also takes all smaller, the coarsest all larger ones.
    """
    x, y = grid.points[:, 0].view(1, -1, 1), grid.points[:, 1].view(1, -1, 1)
    x1, y1, x2, y2 = (boxes[:, None, :, i] for i in range(4))
    stride = grid.stride.view(1, -1, 1)
    far = torch.maximum(torch.maximum(x - x1, x2 - x), torch.maximum(y - y1, y2 - y))
    inside = torch.minimum(torch.minimum(x - x1, x2 - x), torch.minimum(y - y1, y2 - y)) > 0
    # the comparison is strict for points on the edge of the region, as in the official code
    off_centre = torch.maximum((x - (x1 + x2) / 2).abs(), (y - (y1 + y2) / 2).abs())
    low = torch.where(stride == stride.min(), 0.0, stride * reach / 2)
    high = torch.where(stride == stride.max(), torch.inf, stride * reach)
    suits = inside & (off_centre < radius * stride) & (far > low) & (far <= high) & (labels[:, None, :] >= 0)
    area = ((x2 - x1) * (y2 - y1)).expand(suits.shape).masked_fill(~suits, torch.inf)
    smallest, match = area.min(dim=2)
    found = smallest < torch.inf
    label = labels.gather(1, match).masked_fill(~found, num_classes)
    return Targets(label, boxes.gather(1, match[..., None].expand(-1, -1, 4)))


def _assign_iou(
    anchors: Tensor, boxes: Tensor, labels: Tensor, num_classes: int, positive: float, negative: float
) -> Targets:
    """RetinaNet: IoU of at least ``positive`` is object, below ``negative`` background, between ignored.

    Every object also takes the anchors that fit it best; where two objects want one anchor, the later one has it.
    """
    batch, most = boxes.shape[:2]
    iou = box_iou(boxes.reshape(-1, 4), anchors).view(batch, most, -1).transpose(1, 2)
    iou = iou.masked_fill(labels[:, None, :] < 0, -1.0)
    best, match = iou.max(dim=2)
    top = iou.amax(dim=1, keepdim=True)
    forced = (iou == top) & (top > 0)
    order = torch.arange(1, most + 1, device=boxes.device)
    wanted = (forced * order).amax(dim=2)
    match = torch.where(wanted > 0, wanted - 1, match)
    is_object = (wanted > 0) | (best >= positive)
    label = labels.gather(1, match)
    label = torch.where(is_object, label, torch.where(best < negative, num_classes, IGNORE))
    return Targets(label, boxes.gather(1, match[..., None].expand(-1, -1, 4)))
