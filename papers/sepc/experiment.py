"""Arms of SEPC for the detection task: a head that maps a pyramid to (class feature, box feature) per level.

The baseline, four separate convolutions per task, is the detection task's own ``plain_head``.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from replicate.tasks import arm

from .model import SEPCHead


@arm(version=1)
def sepc(
    channels: int,
    levels: int,
    *,
    depth: int = 4,
    norm: str = "integrated",
    equalize: str = "full",
    start_level: int = 1,
    end_level: int | None = None,
    offsets: str = "learned",
    offset_std: float = 1.0,
    neighbours: str = "both",
    scale_kernel: int = 3,
    padding: int = 1,
    form: str = "auto",
) -> nn.Module:
    """Any head of the paper; every other arm here is this one with other defaults.

    depth: PConvs before the task convolutions. norm: none, individual, independent, integrated or group.
    equalize: none, lite or full. start_level, end_level: target levels that deform (end None: to the top).
    offsets: learned or frozen; offset_std: size of frozen offsets, in pixels for inputs of unit mean square.
    neighbours: both, coarser, finer, none or self. scale_kernel: 1, 3 or 5. padding: of the task convolutions.
    form: auto, grid_sample or torchvision, the implementation of the deformable convolution.
    """
    options: dict[str, Any] = {
        "depth": depth,
        "norm": norm,
        "equalize": equalize,
        "start_level": start_level,
        "end_level": end_level,
        "offsets": offsets,
        "offset_std": offset_std,
        "neighbours": neighbours,
        "scale_kernel": scale_kernel,
        "padding": padding,
        "form": form,
    }
    return SEPCHead(channels, levels, **options)
