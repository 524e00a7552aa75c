"""Scale-Equalizing Pyramid Convolution for Object Detection (SEPC).

Xinjiang Wang, Shilong Zhang, Zhuoran Yu, Litong Feng, Wei Zhang. CVPR 2020, arXiv 2005.03101.
Authors' code: github.com/jshilong/SEPC (for mmdetection 1.1). This file is written from the formulas; no line of
theirs is used, and it is under this suite's licence, Apache-2.0.

The head of a one-stage detector runs over a pyramid ``x[0], ..., x[L-1]`` of shapes ``(B, C, H_l, W_l)``, finest
first, each level half the size of the one before (rounded up). Three ideas, each of which can be switched:

1. Pyramid convolution (PConv): a convolution over scale too. Every level also reads its two neighbours,
       y[l] = same * x[l]  +  Up(coarser * x[l+1])  +  finer *_(stride 2) x[l-1],
   with three independent 3x3 kernels that all levels share; a neighbour beyond an end of the pyramid adds nothing.
2. Integrated batch normalisation (iBN): one batch norm whose statistics run over all positions of all levels.
3. Scale equalising: a backbone's pyramid is not a Gaussian pyramid, so for output levels >= 1 the same weights
   sample at learned offsets (deformable convolution v1), while the bottom level keeps the plain kernel.

Layout ("combined head"): four PConvs that both tasks share, then one ordinary 3x3 convolution for each task.

Beyond the paper: controls without the mechanism (``neighbours="self"``, ``end_level``, ``offsets="frozen"``), a
longer scale kernel, dropped neighbour terms. Left out: PConv as a neck for two-stage detectors (the same module
without the task convolutions), folding of iBN at inference, and the anchors, losses and prediction convolutions,
which belong to the detection task. In the released code the two task convolutions have no padding, which the
authors call a slip; here that is ``padding=0`` and the default is 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from replicate.nn.deform import Form, deform_conv2d

Norm = Literal["none", "individual", "independent", "integrated", "group"]
Offsets = Literal["learned", "frozen"]
Neighbours = Literal["both", "coarser", "finer", "none", "self"]
Pyramid = list[Tensor]


def resize(x: Tensor, size: Sequence[int]) -> Tensor:
    """Bilinear resizing of ``(B, C, H, W)`` that maps corners to corners, as the paper's up-sampling does."""
    if tuple(x.shape[-2:]) == tuple(size):
        return x
    return F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=True)


class LevelConv(nn.Module):
    """A 3x3 convolution shared by all levels: plain, or deformable where the target level lies in a range.

    With ``deform=False`` it is an ordinary convolution. With ``deform=True`` it owns a convolution ``offset`` that
    predicts dy, dx of the nine taps from the tensor that is being convolved, and uses it for target levels
    ``start_level <= level < end_level``. ``offsets="frozen"`` fixes that convolution at random weights of standard
    deviation ``offset_std / sqrt(9 C)``, that is to offsets of ``offset_std`` pixels (root mean square) for inputs of
    unit mean square: a control with moving samples that nothing has learned to move. One pixel is what learned
    offsets come to (see ``offset_rms``).
    """

    def __init__(
        self,
        channels: int,
        *,
        stride: int = 1,
        padding: int = 1,
        deform: bool = False,
        start_level: int = 1,
        end_level: int | None = None,
        offsets: Offsets = "learned",
        offset_std: float = 1.0,
        form: Form = "auto",
    ) -> None:
        super().__init__()
        self.stride, self.padding, self.form = stride, padding, form
        self.start_level, self.end_level = start_level, end_level
        self.weight = nn.Parameter(torch.empty(channels, channels, 3, 3))
        self.bias = nn.Parameter(torch.zeros(channels))
        nn.init.normal_(self.weight, std=0.01)  # as in the paper, for 256 channels
        self.offset = nn.Conv2d(channels, 18, 3, stride, padding) if deform else None
        if self.offset is not None:
            assert self.offset.bias is not None
            nn.init.zeros_(self.offset.bias)
            if offsets == "learned":
                nn.init.zeros_(self.offset.weight)
            else:
                nn.init.normal_(self.offset.weight, std=offset_std / math.sqrt(9 * channels))
                self.offset.requires_grad_(False)

    def deforms_at(self, level: int) -> bool:
        """Whether outputs at this level sample at offsets. The level is the target's, not the input's."""
        below_end = self.end_level is None or level < self.end_level
        return self.offset is not None and level >= self.start_level and below_end

    def forward(self, x: Tensor, level: int) -> Tensor:
        """Convolve ``x`` ``(B, C, H, W)`` for the output at ``level``."""
        if self.offset is None or not self.deforms_at(level):
            return F.conv2d(x, self.weight, self.bias, self.stride, self.padding)
        return deform_conv2d(
            x, self.offset(x), self.weight, self.bias, stride=self.stride, padding=self.padding, form=self.form
        )


class PyramidNorm(nn.Module):
    """Normalisation over a pyramid, then ReLU.

    ``none``: ReLU only. ``integrated`` (iBN): one batch norm over the positions of all levels together.
    ``individual``: one set of parameters, but in training each level is normalised by its own batch statistics,
    while the running statistics mix the levels. ``independent``: a batch norm of its own for every level.
    ``group``: group norm, per level, parameters shared.
    """

    def __init__(self, kind: Norm, channels: int, levels: int) -> None:
        super().__init__()
        self.kind = kind
        if kind in ("integrated", "individual"):
            self.norm: nn.Module = nn.BatchNorm2d(channels)
        elif kind == "independent":
            self.norm = nn.ModuleList(nn.BatchNorm2d(channels) for _ in range(levels))
        elif kind == "group":
            self.norm = nn.GroupNorm(math.gcd(32, channels), channels)
        elif kind != "none":
            raise ValueError(f"unknown norm {kind!r}; known: none, individual, independent, integrated, group")

    def forward(self, x: Pyramid) -> Pyramid:
        """Normalise and rectify every level; shapes stay."""
        if self.kind == "none":
            return [F.relu(level) for level in x]
        if self.kind == "independent":
            assert isinstance(self.norm, nn.ModuleList)
            return [F.relu(norm(level)) for norm, level in zip(self.norm, x, strict=True)]
        if self.kind != "integrated":
            return [F.relu(self.norm(level)) for level in x]
        flat = torch.cat([level.flatten(2) for level in x], dim=2)  # (B, C, sum of H_l W_l)
        flat = F.relu(self.norm(flat.unsqueeze(2)).squeeze(2), inplace=True)
        parts = flat.split([level[0, 0].numel() for level in x], dim=2)
        return [part.unflatten(2, level.shape[-2:]) for part, level in zip(parts, x, strict=True)]


class PConv(nn.Module):
    """One pyramid convolution, without norm and ReLU.

    ``scale_kernel`` N is odd: N = 1 is the ordinary shared convolution, N = 3 the paper's, N = 5 reads two levels
    each way (stride 4 from two levels below, up-sampling by 4 from two above). Submodules ``same``, ``coarser<d>``
    and ``finer<d>`` hold the kernel for the level at distance d.

    ``neighbours`` picks the terms: ``both`` (the paper), ``coarser`` or ``finer`` only, ``none``; ``self`` is the
    placebo: every term stays, with its parameters and multiplications, but a neighbour is replaced by x[l] itself
    resized to the neighbour's size, so that nothing crosses scales.
    """

    def __init__(
        self, channels: int, *, scale_kernel: int = 3, neighbours: Neighbours = "both", **conv: object
    ) -> None:
        super().__init__()
        if scale_kernel < 1 or scale_kernel % 2 == 0:
            raise ValueError(f"scale_kernel must be 1, 3, 5, ...; got {scale_kernel}")
        if neighbours not in ("both", "coarser", "finer", "none", "self"):
            raise ValueError(f"unknown neighbours {neighbours!r}; known: both, coarser, finer, none, self")
        self.neighbours = neighbours
        self.same = LevelConv(channels, **conv)  # type: ignore[arg-type]
        self.reach = scale_kernel // 2
        for d in range(1, self.reach + 1):
            if neighbours in ("both", "coarser", "self"):
                self.add_module(f"coarser{d}", LevelConv(channels, **conv))  # type: ignore[arg-type]
            if neighbours in ("both", "finer", "self"):
                self.add_module(f"finer{d}", LevelConv(channels, stride=2**d, **conv))  # type: ignore[arg-type]

    def forward(self, x: Pyramid) -> Pyramid:
        """Sum the terms of every level; shapes stay."""
        kernels = dict(self.named_children())
        out = []
        for level, here in enumerate(x):
            total = self.same(here, level)
            for d in range(1, self.reach + 1):
                if f"finer{d}" in kernels and level - d >= 0:
                    total = total + kernels[f"finer{d}"](self._neighbour(x, level, level - d), level)
                if f"coarser{d}" in kernels and level + d < len(x):
                    coarse = kernels[f"coarser{d}"](self._neighbour(x, level, level + d), level)
                    total = total + resize(coarse, here.shape[-2:])
            out.append(total)
        return out

    def _neighbour(self, x: Pyramid, level: int, other: int) -> Tensor:
        if self.neighbours != "self":
            return x[other]
        size = x[other].shape[-2:]
        return resize(x[level], size) if other < level else F.adaptive_avg_pool2d(x[level], size)


class SEPCHead(nn.Module):
    """The combined head: ``depth`` PConvs shared by both tasks, then one convolution for each task.

    ``forward`` maps a pyramid of ``(B, C, H_l, W_l)``, finest first, to a list over levels of (class feature, box
    feature), both ``(B, C, H_l, W_l)``. ``equalize``: ``none`` (pyramid convolution alone), ``lite`` (the task
    convolutions deform) or ``full`` (the PConvs too). ``start_level`` and ``end_level`` bound the target levels
    that deform; the paper's are 1 and None (no end). ``padding`` is that of the task convolutions.
    """

    def __init__(
        self,
        channels: int,
        levels: int,
        *,
        depth: int = 4,
        norm: Norm = "integrated",
        equalize: Literal["none", "lite", "full"] = "full",
        start_level: int = 1,
        end_level: int | None = None,
        offsets: Offsets = "learned",
        offset_std: float = 1.0,
        neighbours: Neighbours = "both",
        scale_kernel: int = 3,
        padding: int = 1,
        form: Form = "auto",
    ) -> None:
        super().__init__()
        if equalize not in ("none", "lite", "full"):
            raise ValueError(f"unknown equalize {equalize!r}; known: none, lite, full")
        conv = {
            "start_level": start_level,
            "end_level": end_level,
            "offsets": offsets,
            "offset_std": offset_std,
            "form": form,
        }
        self.pconvs = nn.ModuleList(
            PConv(channels, scale_kernel=scale_kernel, neighbours=neighbours, deform=equalize == "full", **conv)
            for _ in range(depth)
        )
        self.norms = nn.ModuleList(PyramidNorm(norm, channels, levels) for _ in range(depth))
        deform = equalize != "none"
        self.cls_conv = LevelConv(channels, padding=padding, deform=deform, **conv)  # type: ignore[arg-type]
        self.box_conv = LevelConv(channels, padding=padding, deform=deform, **conv)  # type: ignore[arg-type]
        self.cls_norm = PyramidNorm(norm, channels, levels)
        self.box_norm = PyramidNorm(norm, channels, levels)

    def forward(self, x: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
        """Features for the two prediction convolutions of every level.

        Raises ValueError for a level that nothing is left of when the task convolutions have no padding.
        """
        gone = [tuple(level.shape[-2:]) for level in x if min(level.shape[-2:]) + 2 * self.cls_conv.padding < 3]
        if gone:
            raise ValueError(f"task convolutions with padding 0 leave nothing of levels {gone}; use padding=1")
        shared = list(x)
        for pconv, norm in zip(self.pconvs, self.norms, strict=True):
            shared = norm(pconv(shared))
        cls = self.cls_norm([self.cls_conv(feature, level) for level, feature in enumerate(shared)])
        box = self.box_norm([self.box_conv(feature, level) for level, feature in enumerate(shared)])
        return list(zip(cls, box, strict=True))


def offset_rms(head: SEPCHead, x: Sequence[Tensor]) -> dict[str, float]:
    """Root mean square of every offset map of one forward pass, in pixels of the tensor that is convolved.

    Names are those of the offset convolutions; a name that serves several levels is averaged over their values.
    """
    squares: dict[str, list[Tensor]] = {}
    hooks = [
        module.register_forward_hook(
            lambda _m, _i, out, name=name: squares.setdefault(name, []).append(out.detach().square().flatten())
        )
        for name, module in head.named_modules()
        if name.endswith(".offset")
    ]
    try:
        with torch.no_grad():
            head(list(x))
    finally:
        for hook in hooks:
            hook.remove()
    return {name: float(torch.cat(values).mean().sqrt()) for name, values in squares.items()}
