"""Deformable convolution, v1 and (with a mask) v2, in two forms that give the same numbers.

Dai et al., "Deformable Convolutional Networks", ICCV 2017 (arXiv 1703.06211); Zhu et al., "Deformable ConvNets
v2", CVPR 2019 (arXiv 1811.11168). Written from the formulas; no code of theirs is used.

``grid_sample`` gathers all taps in one call and multiplies once: on a CPU it is several times faster than
``torchvision.ops.deform_conv2d``, which is the faster one on a GPU. Both read zeros outside the map and
interpolate into that border. They differ by rounding only (sampling positions pass through [-1, 1] here).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Form = Literal["auto", "grid_sample", "torchvision"]


def deform_conv2d(
    x: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    mask: Tensor | None = None,
    form: Form = "auto",
) -> Tensor:
    """Convolve ``x`` with every kernel tap moved by its own offset, in pixels of ``x``.

    Args:
        x: ``(B, C, H, W)``.
        offset: ``(B, G*K*2, h, w)``: per offset group and tap (row-major over the kernel) dy, then dx. ``G`` groups
            of channels of equal size each have their own offsets.
        weight: ``(C_out, C, k_h, k_w)``, ``K = k_h * k_w``.
        bias: ``(C_out,)`` or None.
        stride: Same in both directions, like ``padding`` and ``dilation``.
        padding: Zeros around the map.
        dilation: Distance of the taps at rest.
        mask: ``(B, G*K, h, w)`` factors on the samples (v2), or None (v1).
        form: ``auto`` takes ``grid_sample`` on the CPU and ``torchvision`` elsewhere.

    Returns:
        ``(B, C_out, h, w)``.

    Raises:
        ValueError: A shape does not fit.
    """
    k_h, k_w = weight.shape[-2:]
    out_size = (
        (x.shape[2] + 2 * padding - dilation * (k_h - 1) - 1) // stride + 1,
        (x.shape[3] + 2 * padding - dilation * (k_w - 1) - 1) // stride + 1,
    )
    if weight.shape[1] != x.shape[1]:
        raise ValueError(f"weight {tuple(weight.shape)} does not fit input {tuple(x.shape)} (no channel groups)")
    groups, rest = divmod(offset.shape[1], 2 * k_h * k_w)
    if rest or not groups or x.shape[1] % groups:
        raise ValueError(f"offset has {offset.shape[1]} channels; expected a multiple of {2 * k_h * k_w}")
    if min(out_size) < 1 or tuple(offset.shape[-2:]) != out_size or offset.shape[0] != x.shape[0]:
        raise ValueError(f"offset {tuple(offset.shape)} does not fit an output of {out_size[0]}x{out_size[1]}")
    if mask is not None and mask.shape != (x.shape[0], groups * k_h * k_w, *out_size):
        raise ValueError(f"mask {tuple(mask.shape)} does not fit offset {tuple(offset.shape)}")
    if form == "torchvision" or (form == "auto" and x.device.type not in ("cpu", "meta")):
        return _torchvision_form(x, offset, weight, bias, stride, padding, dilation, mask)
    if form not in ("auto", "grid_sample"):
        raise ValueError(f"unknown form {form!r}; known: auto, grid_sample, torchvision")
    return _grid_form(x, offset, weight, bias, stride, padding, dilation, mask, groups)


def _torchvision_form(
    x: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: int,
    padding: int,
    dilation: int,
    mask: Tensor | None,
) -> Tensor:
    from torchvision.ops import deform_conv2d as torchvision_deform_conv2d

    out: Tensor = torchvision_deform_conv2d(
        x, offset.to(x.dtype), weight.to(x.dtype), bias, stride, padding, dilation, mask
    )
    return out


@lru_cache(maxsize=256)
def _taps_at_rest(
    out_size: tuple[int, int],
    kernel: tuple[int, int],
    size: tuple[int, int],
    stride: int,
    padding: int,
    dilation: int,
    device: torch.device,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    """Undisplaced sampling positions in ``grid_sample`` units: x ``(K, 1, w)`` and y ``(K, h, 1)``."""
    (k_h, k_w), (height, width) = kernel, size

    def positions(count: int, taps: Tensor, extent: int) -> Tensor:
        centres = torch.arange(count, device=device, dtype=dtype) * stride - padding
        pixels = taps.to(dtype)[:, None] * dilation + centres  # (K, count)
        # align_corners=False units: well defined on a map that is one pixel wide, where align_corners=True is not
        return (2 * pixels + 1) / extent - 1

    with torch.inference_mode(False):  # the cache may be filled in evaluation and read in training
        tap = torch.arange(k_h * k_w, device=device)
        x, y = positions(out_size[1], tap % k_w, width), positions(out_size[0], tap // k_w, height)
        return x[:, None, :], y[:, :, None]


def _grid_form(
    x: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: int,
    padding: int,
    dilation: int,
    mask: Tensor | None,
    groups: int,
) -> Tensor:
    batch, channels, height, width = x.shape
    k_h, k_w = weight.shape[-2:]
    taps, (h, w) = k_h * k_w, offset.shape[-2:]
    # positions and interpolation weights need full precision also under autocast
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    rest_x, rest_y = _taps_at_rest((h, w), (k_h, k_w), (height, width), stride, padding, dilation, x.device, dtype)
    moved = offset.to(dtype).view(batch * groups, taps, 2, h, w)
    grid = torch.stack((moved[:, :, 1] * (2 / width) + rest_x, moved[:, :, 0] * (2 / height) + rest_y), dim=-1).view(
        batch * groups, taps, h * w, 2
    )
    samples = F.grid_sample(
        x.to(dtype).reshape(batch * groups, channels // groups, height, width),
        grid,
        mode="bilinear",
        padding_mode="zeros",
        align_corners=False,
    )  # (B*G, C/G, K, h*w): already in the order of the weight, so no permutation is needed
    if mask is not None:
        samples = samples * mask.to(dtype).view(batch * groups, 1, taps, h * w)
    columns = samples.view(batch, channels * taps, h * w).to(x.dtype)
    out = torch.matmul(weight.reshape(weight.shape[0], -1).to(x.dtype), columns)
    out = out.view(batch, weight.shape[0], h, w)
    return out if bias is None else out + bias.to(x.dtype).view(1, -1, 1, 1)
