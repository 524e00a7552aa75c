"""Feature pyramid network with any number of levels (arXiv 1612.03144; extra levels as in RetinaNet)."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn


class FPN(nn.Module):
    """Laterals, top-down additions and one 3x3 conv a level; further levels by 3x3 stride-2 convs.

    Takes backbone maps ``(B, C_i, H_i, W_i)``, finest first, and returns ``levels`` maps
    ``(B, channels, H_l, W_l)``, finest first. The first extra level reads the coarsest
    backbone map, the others the level below,
    without ReLU between them; ``H`` goes to ``ceil(H / 2)`` from level to level. No norm.
    """

    def __init__(self, in_channels: Sequence[int], channels: int, levels: int) -> None:
        super().__init__()
        if levels < len(in_channels):
            raise ValueError(f"a pyramid of {levels} levels cannot hold {len(in_channels)} backbone maps")
        self.laterals = nn.ModuleList(nn.Conv2d(c, channels, 1) for c in in_channels)
        self.outputs = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in in_channels)
        extra = levels - len(in_channels)
        sources = [in_channels[-1]] + [channels] * (extra - 1) if extra else []
        self.extras = nn.ModuleList(nn.Conv2d(c, channels, 3, stride=2, padding=1) for c in sources)
        for conv in self.modules():
            if isinstance(conv, nn.Conv2d):
                nn.init.xavier_uniform_(conv.weight)
                nn.init.zeros_(conv.bias)  # type: ignore[arg-type]

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Maps of the pyramid, finest first."""
        merged = [lateral(m) for lateral, m in zip(self.laterals, maps, strict=True)]
        for i in range(len(merged) - 1, 0, -1):
            merged[i - 1] = merged[i - 1] + F.interpolate(merged[i], size=merged[i - 1].shape[-2:], mode="nearest")
        pyramid: list[Tensor] = [conv(m) for conv, m in zip(self.outputs, merged, strict=True)]
        top = maps[-1]
        for conv in self.extras:
            top = conv(top)
            pyramid.append(top)
        return pyramid
