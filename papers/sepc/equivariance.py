"""Scale-shift equivariance (remark 1 of the paper): does halving an image shift the features by one level?

For a pyramid function ``pyr`` and an image I, let I' be I reduced by two with a filter that the pyramid does not
use (area; with the pyramid's own blur the error would be 0 by construction). A scale-shift equivariant feature F
has F(pyr(I'))[l] = F(pyr(I))[l + 1]. F is a fixed random PConv stack. On a Gaussian pyramid the relative error is
small; the paper argues that on a backbone's pyramid it is not, and re-aligns the kernel at the coarse levels.

Only levels at least n levels from both ends of both pyramids count (n stacked PConvs): near an end a term is
missing, and that, not the pyramid, would make the error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .model import PConv

PyramidFunction = Callable[[Tensor], Sequence[Tensor]]


def photograph(size: int = 256) -> Tensor:
    """A real photograph as ``(1, 3, size, size)`` in [-1, 1], from scikit-image's packaged pictures."""
    from skimage.data import astronaut

    image = torch.from_numpy(astronaut().copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
    return F.interpolate(image, size=(size, size), mode="area")


def gaussian_pyramid(image: Tensor, levels: int = 5) -> list[Tensor]:
    """Levels ``(B, C, H / 2^l, W / 2^l)``: each is the one before, blurred by (1 4 6 4 1) / 16 and subsampled."""
    taps = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0], dtype=image.dtype, device=image.device) / 16
    channels = image.shape[1]
    kernel = (taps[:, None] * taps).expand(channels, 1, 5, 5)
    out = [image]
    while len(out) < levels:
        padded = F.pad(out[-1], (2, 2, 2, 2), mode="replicate")
        out.append(F.conv2d(padded, kernel, stride=2, groups=channels))
    return out


def untrained_cnn(channels: int = 3, levels: int = 5, seed: int = 0) -> PyramidFunction:
    """A strided ReLU network with random weights as a pyramid.

    Its levels share nothing, so its error is large for a trivial reason: a trained FPN is what means something.
    """
    generator = torch.Generator().manual_seed(seed)
    std = (2 / (9 * channels)) ** 0.5
    kernels = [torch.randn(channels, channels, 3, 3, generator=generator) * std for _ in range(levels)]

    def pyramid(image: Tensor) -> list[Tensor]:
        out: list[Tensor] = []
        for level, kernel in enumerate(kernels):
            x = out[-1] if out else image
            out.append(F.relu(F.conv2d(x, kernel, stride=2 if level else 1, padding=1)))
        return out

    return pyramid


def random_pconvs(channels: int, depth: int = 1, seed: int = 0) -> nn.Sequential:
    """``depth`` PConvs with fixed random weights of unit gain and no bias."""
    stack = nn.Sequential(*(PConv(channels) for _ in range(depth)))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in stack.parameters():
            if parameter.dim() == 4:
                parameter.normal_(0, (27 * channels) ** -0.5, generator=generator)
    return stack


@torch.no_grad()
def shift_error(pyramid: PyramidFunction, image: Tensor, depth: int = 1, seed: int = 0) -> dict[int, float]:
    """Relative L2 error of scale-shift equivariance by level l of the reduced image's pyramid.

    Args:
        pyramid: From an image ``(B, 3, H, W)`` to a list of feature maps, finest first, each half the one before.
        image: ``(B, 3, H, W)``; H and W divisible by two as often as the pyramid needs.
        depth: Stacked PConvs n; the levels n <= l and l + 1 <= L - 1 - n are measured.
        seed: Of the fixed random PConvs.

    Raises:
        ValueError: The pyramid has fewer than 2n + 2 levels.
    """
    reduced = F.avg_pool2d(image, 2)
    fine, coarse = list(pyramid(image)), list(pyramid(reduced))
    if len(fine) < 2 * depth + 2:
        raise ValueError(f"{depth} PConvs need a pyramid of at least {2 * depth + 2} levels, got {len(fine)}")
    stack = random_pconvs(fine[0].shape[1], depth, seed)
    there, here = stack(fine), stack(coarse)
    return {
        level: float((here[level] - there[level + 1]).norm() / there[level + 1].norm())
        for level in range(depth, len(fine) - 1 - depth)
    }
