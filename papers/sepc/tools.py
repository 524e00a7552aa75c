"""What the checks and the tests share: the paper's pyramids and heads, counts of cost, random pyramids and weights.

Parameters are counted on the meta device. A multiply-accumulate (MAC) is one multiplication of a convolution;
biases, sums, ReLU, normalisation, resizing and interpolation are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .model import LevelConv, PConv, SEPCHead

PAPER_SIZES = ((160, 160), (80, 80), (40, 40), (20, 20), (10, 10))
"""P3..P7 of a 1280x1280 image: the pyramid of the paper's appendix 1."""
COCO_SIZES = ((100, 168), (50, 84), (25, 42), (13, 21), (7, 11))
"""P3..P7 of an 800x1344 image, the usual padded COCO size."""
PLAIN_CONV_PARAMETERS = 256 * 256 * 9 + 256

HEADS: dict[str, dict[str, Any]] = {
    "pconv": {"norm": "none", "equalize": "none"},
    "ibn_pconv": {"equalize": "none"},
    "lite": {"equalize": "lite"},
    "full": {},
    "pconv_self": {"norm": "none", "equalize": "none", "neighbours": "self"},
    "full_bottom": {"start_level": 0, "end_level": 1},
    "full_frozen": {"offsets": "frozen"},
}


def parameters(module: nn.Module) -> int:
    """Number of parameters, trainable or not."""
    return sum(p.numel() for p in module.parameters())


def on_meta(build: Callable[[], nn.Module]) -> nn.Module:
    """Build a module without memory for its parameters."""
    with torch.device("meta"):
        return build()


def head_on_meta(name: str, channels: int = 256, levels: int = 5) -> nn.Module:
    """A head of ``HEADS`` on the meta device."""
    return on_meta(lambda: SEPCHead(channels, levels, **HEADS[name]))


def macs(build: Callable[[int], nn.Module], sizes: Sequence[tuple[int, int]], channels: int = 256) -> int:
    """MACs of all kernels in one forward pass of ``build(channels)`` over the pyramid of one image.

    The positions at which each kernel is evaluated are counted on ``build(1)`` and multiplied by the kernel's
    size, so that no large tensor is needed. A deformable convolution counts as the convolution that it is, with
    its offsets' convolution, and without its interpolation.
    """
    total = 0

    def count(layer: nn.Module, _: Any, out: Tensor) -> None:
        nonlocal total
        outputs = channels if isinstance(layer, LevelConv) else out.shape[1]
        total += 9 * channels * outputs * out.shape[2] * out.shape[3]

    module = build(1).eval()
    for layer in module.modules():
        if isinstance(layer, LevelConv | nn.Conv2d):
            layer.register_forward_hook(count)
    with torch.no_grad():
        module([torch.zeros(1, 1, h, w) for h, w in sizes])
    return total


def head_macs(name: str, sizes: Sequence[tuple[int, int]]) -> int:
    """MACs of a head of ``HEADS`` at 256 channels."""
    return macs(lambda channels: SEPCHead(channels, len(sizes), **HEADS[name]), sizes)


def plain_macs(sizes: Sequence[tuple[int, int]], channels: int = 256) -> int:
    """MACs of one ordinary 3x3 convolution over the same pyramid."""
    return sum(h * w for h, w in sizes) * 9 * channels * channels


def pconv_ratio(sizes: Sequence[tuple[int, int]]) -> float:
    """Cost of one PConv in ordinary convolutions over the same pyramid."""
    return macs(PConv, sizes) / plain_macs(sizes)


def halving(levels: int, top: int = 4) -> list[tuple[int, int]]:
    """A pyramid that halves exactly."""
    return [(top << level, top << level) for level in reversed(range(levels))]


def pyramid(sizes: Sequence[int | tuple[int, int]], channels: int = 8, batch: int = 2, seed: int = 0) -> list[Tensor]:
    """A pyramid of independent normal numbers."""
    generator = torch.Generator().manual_seed(seed)
    pairs = [s if isinstance(s, tuple) else (s, s) for s in sizes]
    return [torch.randn(batch, channels, h, w, generator=generator) for h, w in pairs]


def randomise(module: nn.Module, seed: int = 0, offsets: float = 0.0) -> nn.Module:
    """Fill every parameter with random numbers of useful size; offset convolutions get ``offsets`` times that."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            scale = parameter[0].numel() ** -0.5 if parameter.dim() == 4 else 0.5
            parameter.normal_(0, scale, generator=generator)
            if "offset" in name.split("."):
                parameter.mul_(offsets)
            elif "norm" in name and name.endswith("weight"):
                parameter.abs_().add_(0.5)
    return module


def gap(a: Sequence[Any], b: Sequence[Any]) -> float:
    """Largest difference between two lists of tensors, or of tuples of tensors."""
    return max(
        gap(x, y) if isinstance(x, tuple | list) else float((x - y).detach().abs().max())
        for x, y in zip(a, b, strict=True)
    )
