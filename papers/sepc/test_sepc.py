"""The head against a slow reference written from the paper's formulas, and what the checks do not reach."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from replicate.papers.sepc import experiment
from replicate.papers.sepc.equivariance import gaussian_pyramid, photograph, shift_error
from replicate.papers.sepc.model import PConv, PyramidNorm, SEPCHead, offset_rms
from replicate.papers.sepc.tools import HEADS, gap, pyramid, randomise

VARIANTS = ("pconv", "ibn_pconv", "lite", "full")


# ------------------------------------------------------------- reference: loops over pixels, taps and levels


def bilinear(image: Tensor, y: float, x: float) -> Tensor:
    """(C,) value of ``(C, H, W)`` at a real position; zero outside."""
    y0, x0 = math.floor(y), math.floor(x)
    total = torch.zeros(image.shape[0], dtype=image.dtype)
    for yy, wy in ((y0, 1 - (y - y0)), (y0 + 1, y - y0)):
        for xx, wx in ((x0, 1 - (x - x0)), (x0 + 1, x - x0)):
            if 0 <= yy < image.shape[1] and 0 <= xx < image.shape[2]:
                total = total + wy * wx * image[:, yy, xx]
    return total


def literal_conv(state: dict[str, Tensor], name: str, x: Tensor, level: int, stride: int) -> Tensor:
    """3x3, padding 1: plain at level 0 or without offsets, else every tap moved by its dy, dx."""
    weight, bias = state[name + ".weight"], state[name + ".bias"]
    batch, _, height, width = x.shape
    h, w = math.ceil(height / stride), math.ceil(width / stride)
    out = torch.empty(batch, weight.shape[0], h, w, dtype=x.dtype)
    moves = level >= 1 and name + ".offset.weight" in state
    for b in range(batch):
        for i in range(h):
            for j in range(w):
                rest = [bilinear(x[b], i * stride - 1 + ty, j * stride - 1 + tx) for ty in range(3) for tx in range(3)]
                column = torch.stack(rest, 1)  # (C, 9)
                if moves:
                    offset = state[name + ".offset.weight"].flatten(1) @ column.flatten()
                    offset = offset + state[name + ".offset.bias"]
                    column = torch.stack(
                        [
                            bilinear(
                                x[b],
                                i * stride - 1 + t // 3 + float(offset[2 * t]),
                                j * stride - 1 + t % 3 + float(offset[2 * t + 1]),
                            )
                            for t in range(9)
                        ],
                        1,
                    )
                out[b, :, i, j] = weight.flatten(1) @ column.flatten() + bias
    return out


def literal_up(x: Tensor, h: int, w: int) -> Tensor:
    """Corners to corners."""

    def at(i: int, out: int, size: int) -> float:
        return i * (size - 1) / (out - 1) if out > 1 else 0.0

    rows = [
        torch.stack(
            [bilinear(image, at(i, h, x.shape[2]), at(j, w, x.shape[3])) for i in range(h) for j in range(w)], 1
        )
        for image in x
    ]
    return torch.stack(rows).view(x.shape[0], x.shape[1], h, w)


def literal_ibn_relu(state: dict[str, Tensor], name: str, x: list[Tensor]) -> list[Tensor]:
    """Training-mode statistics over batch, levels and positions; identity if there is no norm."""
    if name + ".norm.weight" in state:
        flat = torch.cat([level.transpose(0, 1).flatten(1) for level in x], 1)
        mean, var = flat.mean(1), flat.var(1, unbiased=False)
        scale = state[name + ".norm.weight"] / (var + 1e-5).sqrt()
        shift = state[name + ".norm.bias"] - mean * scale
        x = [level * scale.view(1, -1, 1, 1) + shift.view(1, -1, 1, 1) for level in x]
    return [level.clamp(min=0) for level in x]


def literal_head(state: dict[str, Tensor], x: list[Tensor], depth: int) -> list[tuple[Tensor, Tensor]]:
    for n in range(depth):
        out = []
        for level in range(len(x)):
            y = literal_conv(state, f"pconvs.{n}.same", x[level], level, 1)
            if level > 0:
                y = y + literal_conv(state, f"pconvs.{n}.finer1", x[level - 1], level, 2)
            if level + 1 < len(x):
                coarse = literal_conv(state, f"pconvs.{n}.coarser1", x[level + 1], level, 1)
                y = y + literal_up(coarse, *x[level].shape[2:])
            out.append(y)
        x = literal_ibn_relu(state, f"norms.{n}", out)
    tasks = []
    for task in ("cls", "box"):
        features = [literal_conv(state, f"{task}_conv", level, i, 1) for i, level in enumerate(x)]
        tasks.append(literal_ibn_relu(state, f"{task}_norm", features))
    return list(zip(*tasks, strict=True))


@pytest.mark.parametrize("name", VARIANTS)
def test_head_equals_the_literal_reference(name: str) -> None:
    head = randomise(SEPCHead(3, 4, depth=2, **HEADS[name]), seed=1, offsets=0.6).double()
    x = [level.double() for level in pyramid([(7, 5), (4, 3), (2, 2), (1, 1)], 3)]
    state = {k: v.detach() for k, v in head.state_dict().items()}
    assert gap(head(x), literal_head(state, x, depth=2)) < 1e-10
    if name in ("lite", "full"):  # the offsets are large enough to matter
        assert max(offset_rms(head, x).values()) > 0.3
        plain = {k: v for k, v in state.items() if ".offset." not in k}
        assert gap(head(x), literal_head(plain, x, depth=2)) > 1e-2


@pytest.mark.parametrize("name", ["pconv_self", "full", "full_bottom", "full_frozen"])
def test_every_trainable_parameter_gets_a_gradient(name: str) -> None:
    head = SEPCHead(4, 3, **HEADS[name])
    sum(c.square().mean() + b.square().mean() for c, b in head(pyramid((8, 4, 2), 4))).backward()
    without = [n for n, p in head.named_parameters() if p.requires_grad and p.grad is None]
    # P3-only deformation never uses the offsets of the kernel that reads a finer level: level 0 has none
    expected = [f"pconvs.{i}.finer1.offset.{w}" for i in range(4) for w in ("weight", "bias")]
    assert without == (expected if name == "full_bottom" else [])


def test_both_forms_give_the_same_gradients() -> None:
    gradients = []
    for form in ("grid_sample", "torchvision"):
        torch.manual_seed(0)
        head = randomise(SEPCHead(4, 4, depth=2, form=form), seed=2, offsets=0.5)
        x = [level.requires_grad_() for level in pyramid((5, 3, 2, 1), 4)]
        sum((c * c).sum() + b.sum() for c, b in head(x)).backward()
        gradients.append([level.grad for level in x] + [p.grad for p in head.parameters()])
    scale = max(float(g.abs().max()) for g in gradients[0])
    assert gap(*gradients) < 1e-4 * scale


@pytest.mark.parametrize("kind", ["none", "individual", "independent", "integrated", "group"])
def test_norms_in_training_and_evaluation(kind: str) -> None:
    x = [level + 3 * i for i, level in enumerate(pyramid((8, 4), 32, batch=4))]
    norm = PyramidNorm(kind, 32, 2)
    for _ in range(150):
        trained = [level.detach() for level in norm(x)]
    evaluated = norm.eval()(x)
    assert [a.shape for a in evaluated] == [a.shape for a in x]
    if kind == "individual":
        assert gap(trained, evaluated) > 1
    else:
        assert gap(trained, evaluated) < 0.1
    if kind in ("individual", "independent", "group"):  # per level: the level's own offset is gone
        assert abs(float(trained[1].mean() - trained[0].mean())) < 0.1
    else:
        assert float(trained[1].mean() - trained[0].mean()) > 0.5
    count = sum(p.numel() for p in norm.parameters())
    assert count == {"none": 0, "independent": 128}.get(kind, 64)


@pytest.mark.parametrize("levels", [1, 2, 5])
@pytest.mark.parametrize("neighbours", ["both", "self"])
@pytest.mark.parametrize("scale_kernel", [1, 3, 5])
def test_any_number_of_levels_down_to_one_pixel(levels: int, neighbours: str, scale_kernel: int) -> None:
    sizes = [(13, 9), (7, 5), (4, 3), (2, 2), (1, 1)][5 - levels :]
    head = SEPCHead(4, levels, depth=2, neighbours=neighbours, scale_kernel=scale_kernel)
    out = head(pyramid(sizes, 4, batch=3))
    assert [tuple(c.shape) for c, _ in out] == [(3, 4, *s) for s in sizes]
    assert all(bool(torch.isfinite(b).all()) for _, b in out)


def test_scale_kernel_of_five_reads_two_levels_away() -> None:
    x = [level.requires_grad_() for level in pyramid((16, 8, 4, 2, 1), 3)]
    PConv(3, scale_kernel=5)(x)[2].sum().backward()
    assert all(level.grad is not None for level in x)
    x = [level.requires_grad_() for level in pyramid((16, 8, 4, 2, 1), 3)]
    PConv(3)(x)[2].sum().backward()
    assert [level.grad is not None for level in x] == [False, True, True, True, False]


@pytest.mark.parametrize(
    ("neighbours", "reads"),
    [("coarser", [False, True, True]), ("finer", [True, True, False]), ("none", [False, True, False])],
)
def test_dropped_neighbour_terms(neighbours: str, reads: list[bool]) -> None:
    x = [level.requires_grad_() for level in pyramid((8, 4, 2), 3)]
    PConv(3, neighbours=neighbours)(x)[1].sum().backward()
    assert [level.grad is not None for level in x] == reads


def test_placebo_of_a_constant_pyramid_is_pconv() -> None:
    """If every level holds the same constant, a neighbour and the resized level are the same away from borders."""
    pconv = randomise(PConv(2))
    placebo = PConv(2, neighbours="self")
    placebo.load_state_dict(pconv.state_dict())
    x = [torch.full((1, 2, s, s), 0.7) for s in (32, 16, 8)]
    inner = [(a[..., 3:-3, 3:-3], b[..., 3:-3, 3:-3]) for a, b in zip(pconv(x), placebo(x), strict=True)]
    assert gap([a for a, _ in inner[1:]], [b for _, b in inner[1:]]) < 1e-5


def test_arms_share_parameter_names() -> None:
    names = {name: set(dict(SEPCHead(4, 3, **options).named_parameters())) for name, options in HEADS.items()}
    assert names["pconv"] == names["pconv_self"]
    assert names["pconv"] < names["ibn_pconv"] < names["lite"] < names["full"]
    assert names["full"] == names["full_bottom"] == names["full_frozen"]


def test_kernels_start_as_in_the_paper() -> None:
    torch.manual_seed(0)
    start = {name: value.detach() for name, value in SEPCHead(64, 2, depth=1).named_parameters()}
    assert float(start["pconvs.0.same.weight"].std()) == pytest.approx(0.01, rel=0.02)
    zeros = [name for name in start if ".offset." in name or name.endswith(("same.bias", "1.bias", "conv.bias"))]
    assert len(zeros) == 15
    assert not any(bool(start[name].any()) for name in zeros)


def test_builder_passes_its_options_on() -> None:
    head = experiment.sepc(4, 3, depth=2, norm="none", equalize="lite", start_level=2)
    assert len(head.pconvs) == 2
    assert head.cls_conv.start_level == 2
    assert head.pconvs[0].same.offset is None
    assert head.cls_norm.kind == "none"


@pytest.mark.parametrize(
    "options", [{"equalize": "both"}, {"norm": "batch"}, {"neighbours": "up"}, {"scale_kernel": 2}, {"form": "gpu"}]
)
def test_unknown_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must be|unknown"):
        experiment.sepc(4, 2, **options)(pyramid((4, 2), 4))


def test_frozen_offsets_have_the_size_that_was_asked_for() -> None:
    torch.manual_seed(0)
    head = SEPCHead(32, 3, depth=1, offsets="frozen", offset_std=0.5)
    x = [level / level.square().mean().sqrt() for level in pyramid((24, 12, 6), 32, batch=4)]
    rms = offset_rms(head, x)
    assert rms["pconvs.0.same.offset"] == pytest.approx(0.5, rel=0.2)
    assert set(rms) == {n for n, _ in head.named_modules() if n.endswith(".offset")}


def test_shift_error_needs_levels_and_is_zero_on_equal_pyramids() -> None:
    image = photograph(64)
    with pytest.raises(ValueError, match="at least 4 levels"):
        shift_error(lambda im: gaussian_pyramid(im, 3), image)
    # with the reduction as the pyramid's own filter the error is zero by construction

    def area(im: Tensor) -> list[Tensor]:
        out = [im]
        while len(out) < 5:
            out.append(F.avg_pool2d(out[-1], 2))
        return out

    assert max(shift_error(area, image).values()) < 1e-6


def test_shift_error_excludes_the_ends() -> None:
    assert list(shift_error(lambda im: gaussian_pyramid(im, 7), photograph(), depth=2)) == [2, 3]
