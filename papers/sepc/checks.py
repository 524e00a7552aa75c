"""Exact checks of SEPC: costs, equivalences and traps. No training; seconds on a CPU.

What a MAC is stands in tools.py: multiplications of convolutions only, unless a check says otherwise.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from replicate.tasks import Checked, check, close

from .equivariance import gaussian_pyramid, photograph, shift_error, untrained_cnn
from .model import LevelConv, PConv, PyramidNorm, SEPCHead, resize
from .tools import (
    COCO_SIZES,
    HEADS,
    PAPER_SIZES,
    PLAIN_CONV_PARAMETERS,
    gap,
    halving,
    head_macs,
    head_on_meta,
    macs,
    on_meta,
    parameters,
    pconv_ratio,
    plain_macs,
    pyramid,
    randomise,
)

# ---------------------------------------------------------------------------------------------- costs


@check(says="One PConv costs 1.4985 of an ordinary convolution over the pyramid of a 1280x1280 image")
def pconv_flops_ratio() -> Checked:
    """Exact value 1.498534: per level 2, 2.25, 2.25, 2.25, 1.25 from the top."""
    return close(pconv_ratio(PAPER_SIZES), 1.4985, 5e-5)


@check(says="The combined head costs 0.99925 of the original head of 8 convolutions")
def head_flops_ratio() -> Checked:
    """Exact 0.999267; the paper's 0.99925 follows from its rounded 1.4985."""
    ratio = head_macs("pconv", PAPER_SIZES) / (8 * plain_macs(PAPER_SIZES))
    from_rounded = (4 * round(pconv_ratio(PAPER_SIZES), 4) + 2) / 8
    ok = abs(ratio - 0.99925) <= 5e-5 and abs(from_rounded - 0.99925) < 1e-9
    return Checked(ok, ratio, 0.99925, f"exact {ratio:.6f}; from the rounded ratio of one PConv {from_rounded:.5f}")


@check(says="A deformable convolution of SEPC-lite adds 0.025 of an ordinary one over the pyramid")
def lite_deform_flops() -> Checked:
    """Offset convolution (counted) plus 8 operations per sample and channel (the paper's convention)."""
    added = head_macs("lite", PAPER_SIZES) - head_macs("ibn_pconv", PAPER_SIZES)
    moved = sum(h * w for h, w in PAPER_SIZES[1:])
    interpolation = 8 * 9 * 256 * moved
    return close((added / 2 + interpolation) / plain_macs(PAPER_SIZES), 0.025, 5e-4)


@check(says="Appendix 1: PConv per level, from the top, 2, 2.25, 2.25, 2.25, 1.25 ordinary convolutions")
def cost_per_level() -> Checked:
    """The numbers behind 1.4985, from the cost of pyramids that grow by one level at the bottom."""
    costs: list[float] = []
    totals = [macs(PConv, PAPER_SIZES[i:]) for i in range(5)] + [0]
    own = [plain_macs([size]) for size in PAPER_SIZES]
    for level in range(5):
        # Level l of the shorter pyramid is a bottom level; in the longer one it also reads the finer level.
        costs.append((totals[level] - totals[level + 1] + (own[level] if level else 0)) / own[level])
        if level < 4:
            costs[level] -= own[level + 1] / own[level]  # the finer-neighbour term belongs to level l + 1
    stated = [1.25, 2.25, 2.25, 2.25, 2.0]
    ok = max(abs(a - b) for a, b in zip(costs, stated, strict=True)) < 1e-9
    return Checked(ok, detail=f"from the bottom: {', '.join(f'{c:.4g}' for c in costs)}")


@check(says="Other pyramids: 1.5 and 1.0 on 800x1344; 127/85 with 4 levels and 31/21 with 3 that halve exactly")
def ratios_on_other_pyramids() -> Checked:
    """The ratio depends on the number of levels and on rounding."""
    head = head_macs("pconv", COCO_SIZES) / (8 * plain_macs(COCO_SIZES))
    got = (
        pconv_ratio(COCO_SIZES),
        head,
        pconv_ratio(halving(4)),
        pconv_ratio(halving(3)),
        pconv_ratio(PAPER_SIZES),
    )
    stated = (1.5, 1.0, 127 / 85, 31 / 21, 1.498534)
    ok = max(abs(a - b) for a, b in zip(got, stated, strict=True)) < 1e-6
    return Checked(ok, detail=", ".join(f"{g:.6f}" for g in got))


@check(says="n PConvs and two task convolutions cost 1.5 n + 2 convolutions: only n = 4 equals 4 + 4 plain ones")
def depth_costs() -> Checked:
    """A sweep over the depth is not at equal cost; a report shows MACs beside AP."""
    unit = plain_macs(COCO_SIZES)
    got = [macs(lambda c, n=n: SEPCHead(c, 5, depth=n, **HEADS["pconv"]), COCO_SIZES) / unit for n in (2, 3, 4, 5, 6)]
    ok = max(abs(a - (1.5 * n + 2)) for a, n in zip(got, (2, 3, 4, 5, 6), strict=True)) < 1e-6
    return Checked(ok, detail=f"n = 2..6: {', '.join(f'{g:.4g}' for g in got)} convolutions")


@check(says="800x1344: 22,400 positions; one plain convolution 13.21 GMAC, the head of 8 convolutions 105.70 GMAC")
def gmacs_on_coco() -> Checked:
    """The combined head costs the same 105.70 GMAC."""
    positions = sum(h * w for h, w in COCO_SIZES)
    one, head = plain_macs(COCO_SIZES) / 1e9, head_macs("pconv", COCO_SIZES) / 1e9
    ok = positions == 22_400 and round(one, 2) == 13.21 and round(8 * one, 2) == 105.70 and round(head, 2) == 105.70
    return Checked(ok, detail=f"{positions} positions, {one:.2f}, {8 * one:.2f} and {head:.2f} GMAC")


@check(says="Parameters, 256 channels: convolution 590,080; 8 of them 4,720,640; PConv head 8,261,120 (+3,540,480)")
def parameter_counts() -> Checked:
    """14 convolutions against 8: 75 per cent more at equal MACs, so the plain head is no capacity control."""
    one = parameters(on_meta(lambda: LevelConv(256)))
    pconv = parameters(head_on_meta("pconv"))
    stated = (590_080, 4_720_640, 8_261_120, 3_540_480)
    got = (one, 8 * one, pconv, pconv - 8 * one)
    ok = got == stated and one == PLAIN_CONV_PARAMETERS and (pconv - 8 * one) / (8 * one) == 0.75
    return Checked(ok, detail=", ".join(f"{g:,}" for g in got))


@check(says="Parameters added: one offset convolution 41,490; lite 82,980; full 580,860; iBN 3,072")
def parameters_added() -> Checked:
    """Two, and fourteen, offset convolutions; six batch norms."""
    offset = on_meta(lambda: LevelConv(256, deform=True)).offset
    assert isinstance(offset, nn.Module)
    ibn = parameters(head_on_meta("ibn_pconv"))
    got = (
        parameters(offset),
        parameters(head_on_meta("lite")) - ibn,
        parameters(head_on_meta("full")) - ibn,
        ibn - parameters(head_on_meta("pconv")),
    )
    return Checked(got == (41_490, 82_980, 580_860, 3_072), detail=", ".join(f"{g:,}" for g in got))


@check(says="iBN is not level-balanced: P3 carries 75.1 per cent of its statistics, levels >= 1 24.9 per cent")
def ibn_mass_of_bottom_level() -> Checked:
    """The share is that of the positions, and setting one level to a constant moves the running mean by it."""
    areas = [h * w for h, w in PAPER_SIZES]
    norm = PyramidNorm("integrated", 1, 5)
    marked = [torch.full((1, 1, h, w), float(level == 0)) for level, (h, w) in enumerate(PAPER_SIZES)]
    norm(marked)
    bn = norm.norm
    assert isinstance(bn, nn.BatchNorm2d)
    assert bn.running_mean is not None
    share = float(bn.running_mean[0]) / 0.1  # momentum
    ok = abs(share - areas[0] / sum(areas)) < 1e-5 and abs(share - 0.751) <= 5e-4
    return Checked(ok, share, 0.751, f"P3 {share:.4f}, above it {1 - share:.4f}")


# ---------------------------------------------------------------------------------------------- equivalences


@check(says="Zero offsets: SEPC and SEPC-lite equal PConv + iBN (so they start as it)")
def zero_offsets_equal_pconv() -> Checked:
    """Formula check 1, with random weights, in training mode."""
    worst = 0.0
    x = pyramid((13, 7, 4, 2, 1), 8)
    for name in ("lite", "full"):
        plain = randomise(SEPCHead(8, 5, **HEADS["ibn_pconv"]))
        equalized = SEPCHead(8, 5, **HEADS[name])
        missing, extra = equalized.load_state_dict(plain.state_dict(), strict=False)
        if extra or not all(".offset." in key for key in missing):
            return Checked(False, detail=f"{name}: parameters beside PConv + iBN and offsets: {missing} {extra}")
        worst = max(worst, gap(plain(x), equalized(x)))
    return Checked(worst < 1e-4, detail=f"largest difference {worst:.1e}")


@check(says="Zero neighbour kernels: PConv equals one convolution shared by the levels; N = 1 is that convolution")
def no_neighbours_is_shared_convolution() -> Checked:
    """Formula check 2."""
    pconv = PConv(8)
    randomise(pconv)
    with torch.no_grad():
        for term in (pconv.coarser1, pconv.finer1):
            for parameter in term.parameters():
                parameter.zero_()
    short = PConv(8, scale_kernel=1)
    short.load_state_dict({k: v for k, v in pconv.state_dict().items() if k.startswith("same")})
    x = pyramid((9, 5, 3))
    shared = [F.conv2d(level, pconv.same.weight, pconv.same.bias, padding=1) for level in x]
    worst = max(gap(pconv(x), shared), gap(short(x), shared))
    return Checked(worst < 1e-5, detail=f"largest difference {worst:.1e}")


@check(says="n stacked PConvs are level-shift equivariant at levels >= n, not below; SEPC not at its bottom either")
def level_shift_equivariance() -> Checked:
    """Formula check 3: p'[l] = p[l + 1] gives PConv(p')[l] = PConv(p)[l + 1]."""
    p = pyramid((32, 16, 8, 4, 2), 6)
    notes, ok = [], True
    for n in (1, 2):
        stack = nn.Sequential(*(PConv(6) for _ in range(n)))
        randomise(stack)
        full, shifted = stack(p), stack(p[1:])
        errors = [gap([shifted[level]], [full[level + 1]]) for level in range(4)]
        ok &= max(errors[n:]) < 1e-5 and min(errors[:n]) > 1e-2
        notes.append(f"n={n}: " + " ".join(f"{e:.0e}" for e in errors))
    equalized = PConv(6, deform=True)
    randomise(equalized, offsets=1.0)
    with torch.no_grad():
        for parameter in equalized.finer1.parameters():
            parameter.zero_()  # without the finer term only the switch of the kernel can break it
    bottom = gap([equalized(p[1:])[0]], [equalized(p)[1]])
    above = gap(equalized(p[1:])[1:], equalized(p)[2:])
    return Checked(ok and bottom > 1e-2 and above < 1e-5, detail="; ".join(notes) + f"; SEPC l=0 {bottom:.0e}")


@check(says="iBN: mean 0, biased variance var/(var + eps) over all positions; is BatchNorm1d; one level: plain BN")
def ibn_statistics() -> Checked:
    """Formula check 4, before the ReLU (read through both signs)."""
    x = [level * 3 + 2 for level in pyramid((9, 5, 3), 4, batch=3)]
    norm = PyramidNorm("integrated", 4, 3)
    # ReLU(z) - ReLU(-z) = z: a second pass with gamma negated gives ReLU(-z)
    negated = PyramidNorm("integrated", 4, 3)
    assert isinstance(negated.norm, nn.BatchNorm2d)
    nn.init.constant_(negated.norm.weight, -1.0)
    z = [a - b for a, b in zip(norm(x), negated(x), strict=True)]
    flat = torch.cat([level.flatten(2) for level in z], 2)
    raw = torch.cat([level.flatten(2) for level in x], 2)
    variance = raw.var((0, 2), unbiased=False)
    errors = {
        "mean": gap([flat.mean((0, 2))], [torch.zeros(4)]),
        "variance": gap([flat.var((0, 2), unbiased=False)], [variance / (variance + 1e-5)]),
        "BatchNorm1d": gap([flat], [nn.BatchNorm1d(4)(raw)]),
        "one level": gap(PyramidNorm("integrated", 4, 1)(x[:1]), [F.relu(nn.BatchNorm2d(4)(x[0]))]),
    }
    return Checked(max(errors.values()) < 1e-5, detail=", ".join(f"{k} {v:.0e}" for k, v in errors.items()))


@check(says="iBN costs nothing at inference: it folds into the convolutions before it")
def ibn_folds_at_inference() -> Checked:
    """Scale the kernels of a PConv by gamma / sigma and move the rest into one bias: same output, no norm."""
    pconv, norm = PConv(6), PyramidNorm("integrated", 6, 3)
    randomise(pconv, 1)
    randomise(norm, 2)
    x = pyramid((12, 6, 3), 6, seed=3)
    norm(pconv(x))  # fill the running statistics
    bn = norm.eval().norm
    assert isinstance(bn, nn.BatchNorm2d)
    assert bn.running_mean is not None
    assert bn.running_var is not None
    expected = norm(pconv(x))
    with torch.no_grad():
        factor = bn.weight / (bn.running_var + bn.eps).sqrt()
        for term in (pconv.same, pconv.coarser1, pconv.finer1):
            term.weight.mul_(factor[:, None, None, None])
            term.bias.mul_(factor)
        pconv.same.bias.add_(bn.bias - bn.running_mean * factor)
    worst = gap(expected, [F.relu(level) for level in pconv(x)])
    return Checked(worst < 1e-4, detail=f"largest difference {worst:.1e}")


@check(says="A fixed PConv is scale-shift equivariant on a Gaussian pyramid, not on unrelated levels (remark 1)")
def gaussian_pyramid_is_equivariant() -> Checked:
    """The probe of equivariance.py on a 256-px photograph. The untrained CNN only shows that the probe can fail."""
    image = photograph()
    gaussian = max(shift_error(gaussian_pyramid, image).values())
    unrelated = min(shift_error(untrained_cnn(), image).values())
    return Checked(
        gaussian < 0.2 and gaussian / unrelated < 0.2,
        gaussian,
        None,
        f"Gaussian pyramid {gaussian:.3f}, untrained strided network {unrelated:.2f}",
    )


# ---------------------------------------------------------------------------------------------- traps


@check(says="The switch plain/deformable looks at the target level; both paths share the weight")
def switch_is_at_target_level() -> Checked:
    """Large offsets in one kernel change exactly the target levels >= 1 that read it."""
    x = pyramid((12, 6, 3), 6)
    changed: dict[str, list[int]] = {}
    for name in ("same", "coarser1", "finer1"):
        pconv = PConv(6, deform=True)
        randomise(pconv)
        before = pconv(x)
        offset = getattr(pconv, name).offset
        nn.init.constant_(offset.bias, 0.7)
        changed[name] = [i for i, (a, b) in enumerate(zip(before, pconv(x), strict=True)) if gap([a], [b]) > 1e-3]
    ok = changed == {"same": [1, 2], "coarser1": [1], "finer1": [1, 2]}
    return Checked(ok, detail=f"levels changed by offsets: {changed}")


@check(says="start_level 0 deforms everywhere, L nowhere; end_level 1 deforms the bottom level only")
def start_and_end_level() -> Checked:
    """Which of four levels of a lite head change with non-zero offsets."""
    x = pyramid((8, 4, 2, 1), 6)
    got = []
    for start, end in ((0, None), (1, None), (2, None), (4, None), (0, 1)):
        conv = LevelConv(6, deform=True, start_level=start, end_level=end)
        randomise(conv, offsets=1.0)
        got.append(
            [
                level
                for level, feature in enumerate(x)
                if gap([conv(feature, level)], [F.conv2d(feature, conv.weight, conv.bias, padding=1)]) > 1e-3
            ]
        )
    ok = got == [[0, 1, 2, 3], [1, 2, 3], [2, 3], [], [0]]
    return Checked(ok, detail=f"deformed levels: {got}")


@check(says="Up-sampling maps corners to corners (align_corners=True), not the default of interpolate")
def upsampling_aligns_corners() -> Checked:
    """A ramp of 2 becomes 0, 1/3, 2/3, 1 in 4."""
    ramp = torch.tensor([[[[0.0, 1.0]]]])
    got = resize(ramp, (1, 4)).flatten()
    pconv = PConv(1)
    with torch.no_grad():
        for parameter in pconv.parameters():
            parameter.zero_()
        pconv.coarser1.weight[0, 0, 1, 1] = 1.0
    through = pconv([torch.zeros(1, 1, 2, 4), ramp])[0][0, 0, 1]
    want = torch.tensor([0.0, 1 / 3, 2 / 3, 1.0])
    return Checked(max(gap([got], [want]), gap([through], [want])) < 1e-6, detail=f"{got.tolist()}")


@check(says="Task convolutions without padding, as released, lose 2 rows and columns; levels of 2x2 vanish")
def padding_zero_shrinks() -> Checked:
    """With padding 1 every level keeps its size."""
    sizes = (12, 6, 3)
    released = [tuple(c.shape[2:]) for c, _ in SEPCHead(4, 3, padding=0)(pyramid(sizes, 4))]
    ours = [tuple(c.shape[2:]) for c, _ in SEPCHead(4, 3)(pyramid(sizes, 4))]
    try:
        SEPCHead(4, 3, padding=0)(pyramid((8, 4, 2), 4))
        vanishes = False
    except ValueError:
        vanishes = True
    ok = released == [(s - 2, s - 2) for s in sizes] and ours == [(s, s) for s in sizes] and vanishes
    return Checked(ok, detail=f"padding 0: {released}, padding 1: {ours}")


@check(says="Sizes that halve up to ceil work, also odd ones and 1x1; a floor-pooled pyramid is refused")
def odd_sizes() -> Checked:
    """Stride 2 with padding 1 gives ceil(H/2)."""
    fits = [(25, 19), (13, 10), (7, 5), (4, 3), (2, 2), (1, 1)]
    shapes = [tuple(c.shape[2:]) for c, _ in SEPCHead(4, 6)(pyramid(fits, 4))]
    try:
        SEPCHead(4, 2)(pyramid((25, 12), 4))
        refused = False
    except RuntimeError:
        refused = True
    return Checked(shapes == fits and refused, detail=f"{shapes}; floor-pooled refused: {refused}")


@check(says="The bias is added once on both paths")
def bias_is_not_doubled() -> Checked:
    """Zero weights and bias 1: every output is 1, plain or deformable."""
    conv = LevelConv(3, deform=True)
    nn.init.zeros_(conv.weight)
    nn.init.ones_(conv.bias)
    x = pyramid((5, 5), 3)
    worst = max(gap([conv(feature, level)], [torch.ones(2, 3, 5, 5)]) for level, feature in enumerate(x))
    return Checked(worst == 0, detail=f"largest difference from 1: {worst:.1e}")


@check(says="No further stacked convolutions: 14 kernels in the head, 3 per PConv and one per task")
def no_stacked_convolutions() -> Checked:
    """Leaving the detector's own stacked convolutions in place would double the head."""
    head = SEPCHead(4, 3, equalize="none", norm="none")
    kernels = sum(isinstance(m, LevelConv) for m in head.modules())
    other = sum(isinstance(m, nn.Conv2d | nn.Linear) for m in head.modules())
    return Checked(kernels == 14 and other == 0, float(kernels), 14.0, f"{kernels} kernels, {other} other layers")


@check(says="Individual BN: running statistics mix the levels, so evaluation differs from training; others do not")
def individual_bn_mixes_levels() -> Checked:
    """Levels with means 0 and 4, many identical batches: how far is evaluation from training?"""
    x = [level + 4.0 * i for i, level in enumerate(pyramid((16, 8), 4, batch=8))]
    shift: dict[str, float] = {}
    for kind in ("individual", "independent", "integrated"):
        norm = PyramidNorm(kind, 4, 2)  # type: ignore[arg-type]
        for _ in range(200):
            trained = norm(x)
        shift[kind] = gap(trained, norm.eval()(x))
    ok = shift["individual"] > 1.0 and max(shift["independent"], shift["integrated"]) < 0.05
    return Checked(ok, detail=", ".join(f"{k} {v:.2g}" for k, v in shift.items()))


@check(says="Placebo of PConv: parameters and MACs equal PConv's exactly, and nothing crosses levels")
def pconv_placebo_is_matched() -> Checked:
    """On exact, odd and tiny pyramids; gradients of one level's output reach that level's input only."""
    same_parameters = parameters(head_on_meta("pconv")) == parameters(head_on_meta("pconv_self"))
    pyramids = (PAPER_SIZES, COCO_SIZES, ((12, 12), (6, 6), (3, 3), (2, 2)), ((5, 3), (3, 2), (2, 1), (1, 1)))
    same_macs = all(head_macs("pconv", s) == head_macs("pconv_self", s) for s in pyramids)
    crossing = {}
    for kind in ("both", "self"):
        pconv = PConv(4, neighbours=kind)  # type: ignore[arg-type]
        x = [level.requires_grad_() for level in pyramid((8, 4, 2), 4)]
        pconv(x)[1].sum().backward()
        crossing[kind] = [level.grad is not None for level in x]
    ok = same_parameters and same_macs and crossing == {"both": [True] * 3, "self": [False, True, False]}
    return Checked(ok, detail=f"parameters {same_parameters}, MACs {same_macs}, level 1 reads {crossing}")


@check(says="Deform placebos: P3-only has SEPC's parameters and more MACs; frozen offsets have both exactly")
def deform_placebos_are_matched() -> Checked:
    """The frozen offset convolutions do not train and do move the samples."""
    full, bottom, frozen = (head_on_meta(n) for n in ("full", "full_bottom", "full_frozen"))
    same = parameters(full) == parameters(bottom) == parameters(frozen)
    cost = [head_macs(n, PAPER_SIZES) for n in ("full", "full_bottom", "full_frozen")]
    head = SEPCHead(8, 3, offsets="frozen")
    plain = SEPCHead(8, 3, equalize="none")
    plain.load_state_dict({k: v for k, v in head.state_dict().items() if ".offset." not in k})
    still = [n for n, p in head.named_parameters() if ".offset." in n and p.requires_grad]
    moved = gap(head(pyramid((8, 4, 2))), plain(pyramid((8, 4, 2)))) > 1e-3
    ok = same and cost[0] == cost[2] and cost[0] < cost[1] and not still and moved
    return Checked(ok, detail=f"parameters equal {same}, MACs {cost[0]:,} {cost[1]:,} {cost[2]:,}")


@check(says="Both forms of the deformable convolution agree, also on levels of 2x2 and 1x1 and outside the map")
def deform_forms_agree() -> Checked:
    """Offsets of several pixels, so that many samples leave the map."""
    worst = 0.0
    for size in (9, 3, 2, 1):
        outputs = []
        for form in ("grid_sample", "torchvision"):
            conv = LevelConv(6, stride=2 if size == 9 else 1, deform=True, form=form)  # type: ignore[arg-type]
            randomise(conv, offsets=3.0)
            outputs.append(conv(pyramid((size,), 6)[0], 1))
        worst = max(worst, gap(outputs[:1], outputs[1:]))
    return Checked(worst < 1e-4, detail=f"largest difference {worst:.1e}")
