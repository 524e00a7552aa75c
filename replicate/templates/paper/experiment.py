"""Arms and measurement: does a skip connection help a deep network to fit two spirals?

A paper that fits a shared task (``task: detection`` in paper.yaml) needs no ``run_trial`` and no profiles.py: then
its arms are all that stands here.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from replicate.tasks.base import Diverged, Outcome, Run, arm

from .model import Net

# An arm is a function marked @arm(). Its keyword-only parameters are options: `--set method.depth=12` changes one.
# Defaults are literals, since the planner reads them without importing this file.


@arm()
def plain(*, depth: int = 8, width: int = 16) -> Net:
    """Baseline: no skip connection."""
    return Net(depth=depth, width=width, skip="none")


@arm()
def residual(*, depth: int = 8, width: int = 16) -> Net:
    """Method: each block adds its input to its output."""
    return Net(depth=depth, width=width, skip="identity")


@arm()
def doubled(*, depth: int = 8, width: int = 16) -> Net:
    """Placebo: each block adds its output to itself, equal in parameters and FLOPs."""
    return Net(depth=depth, width=width, skip="doubled")


def spirals(n: int, turns: float, noise: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Two interleaved spirals: points ``(n, 2)`` and classes ``(n,)``."""
    label = torch.arange(n) % 2
    radius = torch.rand(n, generator=generator).sqrt()
    angle = 2 * math.pi * turns * radius + math.pi * label
    points = torch.stack([radius * angle.cos(), radius * angle.sin()], dim=1)
    return points + noise * torch.randn(n, 2, generator=generator), label


def run_trial(run: Run) -> Outcome:
    """Train one arm and measure it: a pure function of arm, settings, seed, device and threads.

    The engine has seeded torch's own generator with ``run.seed``, so initial weights follow the seed; data have a
    generator of their own, so that all arms of a seed see the same points in the same order (paired by seed).
    """
    s = run.settings
    data = torch.Generator().manual_seed(run.seed)
    train_x, train_y = spirals(s["points"], s["turns"], s["noise"], data)
    test_x, test_y = spirals(s["points"], s["turns"], s["noise"], data)
    net: Net = run.arm.build(**run.arm.options).to(run.device)
    optimizer = torch.optim.Adam(net.parameters(), lr=s["lr"])
    curve: dict[str, list[float]] = {"step": [], "loss": []}
    for step in range(1, s["steps"] + 1):
        chosen = torch.randint(len(train_x), (s["batch"],), generator=data)
        loss = nn.functional.cross_entropy(net(train_x[chosen].to(run.device)), train_y[chosen].to(run.device))
        if not math.isfinite(loss.item()):
            raise Diverged(f"loss is {loss.item()} at step {step}")  # a result, scored at the metric's worst
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        if step % max(1, s["steps"] // 20) == 0:
            curve["step"].append(step)
            curve["loss"].append(loss.item())
            run.log(step, loss=loss.item())
    with torch.no_grad():
        right = (net(test_x.to(run.device)).argmax(1).cpu() == test_y).float().mean().item()
    return Outcome(
        metrics={"accuracy": 100 * right},
        curves=curve,
        cost={"parameters": float(sum(p.numel() for p in net.parameters()))},
    )
