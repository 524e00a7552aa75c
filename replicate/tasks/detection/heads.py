"""The baseline head that every detection paper is compared with."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from replicate.tasks.base import arm


def _tower(channels: int, depth: int, norm: str) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(depth):
        conv = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.normal_(conv.weight, std=0.01)
        nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
        layers.append(conv)
        if norm == "group":
            layers.append(nn.GroupNorm(min(32, channels // 4), channels))
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


class PlainHead(nn.Module):
    """RetinaNet's and FCOS's head: two separate towers of 3x3 convs with ReLU, shared over the levels.

    Takes the pyramid ``[(B, C, H_l, W_l)]``, finest first, and returns for each level the pair of features
    ``(cls, box)``, both ``(B, C, H_l, W_l)``. The task adds the 3x3 prediction convs.
    """

    def __init__(self, channels: int, depth: int = 4, norm: str = "none") -> None:
        super().__init__()
        if norm not in ("none", "group"):
            raise ValueError(f"norm of the plain head is 'none' or 'group', not {norm!r}")
        self.cls_tower = _tower(channels, depth, norm)
        self.box_tower = _tower(channels, depth, norm)

    def forward(self, pyramid: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
        """One ``(cls, box)`` pair of features a level."""
        return [(self.cls_tower(x), self.box_tower(x)) for x in pyramid]


@arm(version=1)
def plain_head(channels: int, levels: int, *, depth: int = 4, norm: str = "none") -> PlainHead:
    """Baseline of all detection papers: ``depth`` + ``depth`` separate 3x3 convs (RetinaNet, arXiv 1708.02002)."""
    return PlainHead(channels, depth, norm)
