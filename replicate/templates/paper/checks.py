"""Exact checks: no training, seconds on a CPU. Structural claims rest on them; the others are traps."""

from __future__ import annotations

import torch

from replicate.tasks.base import Checked, check, close

from .experiment import plain, residual, doubled


@check(says="a skip connection adds no parameter")
def no_extra_parameters() -> Checked:
    """Count the difference between method and baseline."""
    counts = [sum(p.numel() for p in build().parameters()) for build in (residual, plain)]
    return close(counts[0] - counts[1], 0, 0)


@check(says="the placebo has as many parameters as the method")
def placebo_is_fair() -> Checked:
    """A trap: a placebo of another size would control for nothing."""
    counts = [sum(p.numel() for p in build().parameters()) for build in (residual, doubled)]
    return close(counts[0], counts[1], 0)


@check(says="with all weights zero the residual trunk is the identity, the plain one is not")
def zero_weights_give_identity() -> Checked:
    """A trap: it holds for the mechanism and for nothing else here."""
    x = torch.linspace(-1, 1, 32).reshape(2, 16)
    outputs = {}
    for build in (residual, plain, doubled):
        trunk = build().blocks
        for parameter in trunk.parameters():
            torch.nn.init.zeros_(parameter)
        outputs[build] = torch.equal(trunk(x), x)
    return Checked(outputs == {residual: True, plain: False, doubled: False}, detail=str(list(outputs.values())))
