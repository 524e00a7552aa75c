"""Backbones that return maps at several strides: a tiny residual CNN, and ResNet-50 as detectors use it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def _norm_conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, (kernel - 1) // 2, bias=False)
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    return nn.Sequential(conv, nn.BatchNorm2d(outputs))


class ResidualBlock(nn.Module):
    """Two 3x3 convs with batch norm and a shortcut (average-pooled and projected where the shape changes)."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.first = _norm_conv(inputs, outputs, 3, stride)
        self.second = _norm_conv(outputs, outputs, 3)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            pool = nn.AvgPool2d(stride, ceil_mode=True) if stride != 1 else nn.Identity()
            self.shortcut = nn.Sequential(pool, _norm_conv(inputs, outputs, 1))

    def forward(self, x: Tensor) -> Tensor:
        """``(B, inputs, H, W)`` to ``(B, outputs, ceil(H / stride), ceil(W / stride))``."""
        return F.relu(self.second(F.relu(self.first(x))) + self.shortcut(x))


class TinyBackbone(nn.Module):
    """A few residual blocks for images of 64 to 128 pixels, made for a CPU.

    Args:
        widths: channels of the stages; stage ``i`` has stride ``stem_stride * 2**i``.
        blocks: residual blocks of each stage; 0 for the first stage leaves the stem's map as it is.
        out_stages: indices of the stages whose maps are returned, finest first.
        stem_stride: stride of the stem, 2 or 4.
    """

    def __init__(
        self, widths: Sequence[int], blocks: Sequence[int], out_stages: Sequence[int], stem_stride: int = 4
    ) -> None:
        super().__init__()
        # two cheap stride-2 convs cost less than one block at stride 2, and see 7 x 7 pixels
        halves = [_norm_conv(3, widths[0] // 2, 3, 2), nn.ReLU(inplace=True)] if stem_stride == 4 else []
        self.stem = nn.Sequential(*halves, _norm_conv(widths[0] // 2 if halves else 3, widths[0], 3, 2))
        stages, inputs = [], widths[0]
        for i, (width, depth) in enumerate(zip(widths, blocks, strict=True)):
            strides = [1 if i == 0 else 2] + [1] * (depth - 1)
            sources = [inputs] + [width] * (depth - 1)
            layers = [ResidualBlock(c, width, s) for c, s in zip(sources[:depth], strides[:depth], strict=True)]
            stages.append(nn.Sequential(*layers))
            inputs = width
        self.stages = nn.ModuleList(stages)
        self.out_stages = tuple(out_stages)
        self.out_channels = tuple(widths[i] for i in out_stages)
        self.out_strides = tuple(stem_stride * 2**i for i in out_stages)

    def forward(self, x: Tensor) -> list[Tensor]:
        """``(B, 3, H, W)`` to one map ``(B, C_i, H / stride_i, W / stride_i)`` for each stage of ``out_stages``."""
        x = F.relu(self.stem(x))
        maps = []
        for i, stage in enumerate(self.stages):
            x = stage(x)
            if i in self.out_stages:
                maps.append(x)
        return maps


class ResNet50(nn.Module):
    """torchvision's ResNet-50 without its classifier: C3, C4, C5 at strides 8, 16, 32.

    As detectors train it: batch norm uses its stored statistics always (``norm_eval``), the stem and the first
    stage do not learn.
    """

    out_channels = (512, 1024, 2048)
    out_strides = (8, 16, 32)

    def __init__(self) -> None:
        super().__init__()
        from torchvision.models import resnet50

        body = resnet50(weights=None)
        body.fc = nn.Identity()
        self.body = body
        for frozen in (body.conv1, body.bn1, body.layer1):
            frozen.requires_grad_(False)

    def load_classifier(self, state: Mapping[str, Tensor]) -> None:
        """Take the weights of a torchvision ResNet-50 classifier. Raises KeyError or RuntimeError on others."""
        self.body.load_state_dict({k: v for k, v in state.items() if not k.startswith("fc.")})

    def train(self, mode: bool = True) -> Self:
        """Training mode for all but batch norm, whose statistics stay."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def forward(self, x: Tensor) -> list[Tensor]:
        """``(B, 3, H, W)`` to C3, C4, C5."""
        b = self.body
        with torch.no_grad():
            x = b.layer1(b.maxpool(b.relu(b.bn1(b.conv1(x)))))
        c3 = b.layer2(x)
        c4 = b.layer3(c3)
        return [c3, c4, b.layer4(c4)]
