"""A one-stage detector: backbone, pyramid, the arm's head, prediction convs, and decoding of its output."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from replicate.nn.backbone import ResNet50, TinyBackbone
from replicate.nn.fpn import FPN
from replicate.tasks.detection.assign import Grid, make_grid

BuildHead = Callable[[int, int], nn.Module]


@dataclass
class Predictions:
    """Raw output over all ``P`` positions (FCOS) or anchors (RetinaNet) of the pyramid.

    ``logits (B, P, num_classes)``; ``boxes (B, P, 4)``: distances l, t, r, b in units of the level's stride (FCOS)
    or dx, dy, dw, dh relative to the anchor (RetinaNet); ``quality (B, P)`` logits of FCOS's extra branch.
    """

    logits: Tensor
    boxes: Tensor
    quality: Tensor | None
    grid: Grid


class Detector(nn.Module):
    """Backbone, FPN, the arm's head and 3x3 prediction convs shared by all levels."""

    mean: Tensor
    std: Tensor

    def __init__(self, build_head: BuildHead, settings: Mapping[str, Any], num_classes: int) -> None:
        super().__init__()
        self.style: str = settings["style"]
        self.num_classes = num_classes
        self.channels_last: bool = settings["channels_last"]
        self.backbone = make_backbone(settings["backbone"])
        channels, levels = int(settings["channels"]), int(settings["levels"])
        self.fpn = FPN(self.backbone.out_channels, channels, levels)
        self.strides = tuple(self.backbone.out_strides[0] * 2**i for i in range(levels))
        self.head = build_head(channels, levels)
        self.per_position = 9 if self.style == "retina" else 1
        std = 0.01 * float(settings["pred_gain"])
        self.cls_pred = _prediction(channels, self.per_position * num_classes, std, bias=-math.log(99.0))
        self.box_pred = _prediction(channels, self.per_position * 4, std)
        self.quality_pred: nn.Conv2d | None = None
        if self.style == "fcos":
            self.quality_pred = _prediction(channels, 1, std)
            self.scales = nn.Parameter(torch.ones(levels))
        self.register_buffer("mean", torch.tensor([123.675, 116.28, 103.53]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor([58.395, 57.12, 57.375]).view(1, 3, 1, 1), persistent=False)
        self._grids: dict[tuple[Any, ...], Grid] = {}

    def forward(self, images: Tensor) -> Predictions:
        """Images ``(B, 3, H, W)`` in 0..255, RGB, to raw predictions."""
        images = (images - self.mean) / self.std
        if self.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        pairs = self.head(self.fpn(self.backbone(images)))
        logits, boxes, quality = [], [], []
        for level, (cls_feature, box_feature) in enumerate(pairs):
            logits.append(_flat(self.cls_pred(cls_feature), self.num_classes))
            box = self.box_pred(box_feature)
            if self.quality_pred is not None:
                box = F.softplus(box * self.scales[level] + 1.0)
                quality.append(_flat(self.quality_pred(box_feature), 1).squeeze(-1))
            boxes.append(_flat(box, 4))
        shapes = tuple((int(c.shape[-2]), int(c.shape[-1])) for c, _ in pairs)
        return Predictions(
            torch.cat(logits, 1).float(),
            torch.cat(boxes, 1).float(),
            torch.cat(quality, 1).float() if quality else None,
            self.grid(shapes, images.device),
        )

    def grid(self, shapes: tuple[tuple[int, int], ...], device: torch.device) -> Grid:
        """Positions and anchors of a pyramid of these level shapes (kept, since they repeat)."""
        key = (shapes, device)
        if key not in self._grids:
            if len(self._grids) > 64:
                self._grids.clear()
            self._grids[key] = make_grid(shapes, self.strides, self.style, device)
        return self._grids[key]


def _prediction(channels: int, outputs: int, std: float, bias: float = 0.0) -> nn.Conv2d:
    conv = nn.Conv2d(channels, outputs, 3, padding=1)
    nn.init.normal_(conv.weight, std=std)
    nn.init.constant_(conv.bias, bias)  # type: ignore[arg-type]
    return conv


def _flat(x: Tensor, width: int) -> Tensor:
    """``(B, A * width, H, W)`` to ``(B, H * W * A, width)``."""
    return x.permute(0, 2, 3, 1).reshape(x.shape[0], -1, width)


def make_backbone(settings: Mapping[str, Any]) -> TinyBackbone | ResNet50:
    """The backbone that a profile names: ``{"name": "resnet50"}`` or ``{"name": "tiny", "widths": ...}``."""
    options = {k: v for k, v in settings.items() if k != "name"}
    return ResNet50() if settings["name"] == "resnet50" else TinyBackbone(**options)


def scale_head_(head: nn.Module, gain: float) -> None:
    """Multiply the learned, non-constant kernels of a head by ``gain``.

    Heads draw their kernels from N(0, 0.01), a value made for 256 channels; in a narrow head it leaves features
    that are too small to learn from in a short run. All arms get the same gain; frozen and zero weights stay.
    """
    with torch.no_grad():
        for weight in head.parameters():
            if weight.ndim == 4 and weight.requires_grad:
                weight.mul_(gain)
