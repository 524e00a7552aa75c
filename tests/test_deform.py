"""Deformable convolution: both forms, against torchvision and the plain convolution."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from replicate.nn.deform import deform_conv2d

CASES = [
    # size, kernel, stride, padding, dilation, offset groups
    ((9, 7), 3, 1, 1, 1, 1),
    ((9, 7), 3, 2, 1, 1, 1),
    ((8, 8), 3, 1, 2, 2, 2),
    ((6, 5), 1, 1, 0, 1, 2),
    ((7, 9), 5, 2, 2, 1, 4),
    ((2, 2), 3, 1, 1, 1, 1),
    ((1, 1), 3, 1, 1, 1, 1),
    ((1, 5), 3, 2, 1, 1, 1),
]


def operands(case: tuple, *, spread: float = 2.0, channels: int = 4) -> tuple[list[Tensor], dict[str, int]]:
    size, kernel, stride, padding, dilation, groups = case
    generator = torch.Generator().manual_seed(0)
    out = [(s + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1 for s in size]
    shapes = [
        (2, channels, *size),
        (2, groups * 2 * kernel * kernel, *out),
        (3, channels, kernel, kernel),
        (3,),
        (2, groups * kernel * kernel, *out),
    ]
    tensors = [torch.randn(shape, generator=generator) for shape in shapes]
    tensors[1] *= spread
    return tensors, {"stride": stride, "padding": padding, "dilation": dilation}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("modulated", [False, True])
def test_forms_agree_with_gradients(case: tuple, modulated: bool) -> None:
    results = []
    for form in ("grid_sample", "torchvision"):
        tensors, geometry = operands(case)
        leaves = [t.requires_grad_() for t in tensors[: 5 if modulated else 4]]
        x, offset, weight, bias = leaves[:4]
        mask = leaves[4] if modulated else None
        out = deform_conv2d(x, offset, weight, bias, mask=mask, form=form, **geometry)
        out.sin().sum().backward()
        results.append([out.detach(), *[leaf.grad for leaf in leaves]])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("form", ["grid_sample", "torchvision"])
def test_zero_offsets_are_the_plain_convolution(case: tuple, form: str) -> None:
    (x, offset, weight, bias, _), geometry = operands(case)
    out = deform_conv2d(x, torch.zeros_like(offset), weight, bias, form=form, **geometry)
    torch.testing.assert_close(out, F.conv2d(x, weight, bias, **geometry), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("form", ["grid_sample", "torchvision"])
def test_whole_offsets_shift_and_far_ones_read_zero(form: str) -> None:
    (x, offset, weight, bias, _), geometry = operands(CASES[0])
    down = torch.zeros_like(offset)
    down[:, 0::2] = 1.0  # dy
    shifted = F.pad(x, (0, 0, 0, 1))[:, :, 1:]
    out = deform_conv2d(x, down, weight, bias, form=form, **geometry)
    plain = F.conv2d(shifted, weight, bias, **geometry)
    # the row above the image is padding for the plain convolution and row 0 for the shifted one
    torch.testing.assert_close(out[:, :, 1:-1], plain[:, :, 1:-1], atol=1e-4, rtol=1e-4)
    far = deform_conv2d(x, torch.full_like(offset, 50.0), weight, bias, form=form, **geometry)
    torch.testing.assert_close(far, bias.view(1, -1, 1, 1).expand_as(far))


def test_double_precision_gradients_are_exact() -> None:
    (x, offset, weight, bias, mask), geometry = operands(CASES[1], spread=0.3)
    inputs = tuple(t.double().requires_grad_() for t in (x, offset, weight, bias, mask))

    def function(x: Tensor, offset: Tensor, weight: Tensor, bias: Tensor, mask: Tensor) -> Tensor:
        return deform_conv2d(x, offset, weight, bias, mask=mask, form="grid_sample", **geometry)

    assert torch.autograd.gradcheck(function, inputs, fast_mode=True)


def test_half_precision_keeps_its_type_and_empty_batches_work() -> None:
    (x, offset, weight, bias, _), geometry = operands(CASES[0])
    full = deform_conv2d(x, offset, weight, bias, **geometry)
    half = deform_conv2d(x.bfloat16(), offset, weight, bias, **geometry)
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), full, atol=0.2, rtol=0.1)
    assert deform_conv2d(x[:0], offset[:0], weight, bias, **geometry).shape == (0, 3, 9, 7)


def test_evaluation_first_then_training() -> None:
    """Positions cached under inference mode must not break a later backward pass."""
    (x, offset, weight, bias, _), geometry = operands(((11, 6), 3, 1, 1, 1, 1))
    with torch.inference_mode():
        deform_conv2d(x, offset, weight, bias, **geometry)
    deform_conv2d(x, offset.requires_grad_(), weight, bias, **geometry).sum().backward()
    assert offset.grad is not None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"offset": (2, 17, 9, 7)}, "multiple of 18"),
        ({"offset": (2, 18, 8, 7)}, "output of 9x7"),
        ({"weight": (3, 5, 3, 3)}, "does not fit input"),
        ({"mask": (2, 8, 9, 7)}, "mask"),
    ],
)
def test_wrong_shapes_are_refused(change: dict[str, tuple[int, ...]], message: str) -> None:
    (x, offset, weight, bias, mask), geometry = operands(CASES[0])
    values = {"offset": offset, "weight": weight, "mask": mask}
    values |= {name: torch.zeros(shape) for name, shape in change.items()}
    with pytest.raises(ValueError, match=message):
        deform_conv2d(x, values["offset"], values["weight"], bias, mask=values["mask"], **geometry)


def test_unknown_form_is_refused() -> None:
    (x, offset, weight, bias, _), geometry = operands(CASES[0])
    with pytest.raises(ValueError, match="unknown form"):
        deform_conv2d(x, offset, weight, bias, form="fast", **geometry)  # type: ignore[arg-type]
