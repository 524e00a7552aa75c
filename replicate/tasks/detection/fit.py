"""Training loop: optimiser, schedule, clipping, mixed precision, resumable checkpoints, divergence."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import torch
from torch import Tensor, nn

from replicate.tasks.base import Diverged
from replicate.tasks.detection.assign import assign
from replicate.tasks.detection.feeds import Batch, Feed
from replicate.tasks.detection.losses import detection_loss
from replicate.tasks.detection.model import Detector

_EXPLODED = 1e4
"""A loss above this is an explosion: it starts near 2."""


@dataclass
class Fitted:
    """What training left: the curve's points and the time it took."""

    steps: list[int] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    seconds: float = 0.0
    cpu_seconds: float = 0.0


def learning_rate(step: int, steps: int, schedule: Mapping[str, Any]) -> float:
    """Factor on the peak learning rate at ``step`` of ``steps``.

    ``onecycle``: linear warm-up over the fraction ``warmup``, then a cosine to 0. ``steps``: warm-up over
    ``warmup`` steps from a third, then a tenth after each of the fractions ``drops`` of the run.
    """
    if schedule["name"] == "onecycle":
        start = max(1.0, schedule["warmup"] * steps)
        if step < start:
            return float((step + 1) / (start + 1))
        return 0.5 * (1 + math.cos(math.pi * (step - start) / max(1.0, steps - start)))
    factor = 0.1 ** sum(step >= round(drop * steps) for drop in schedule["drops"])
    if step < schedule["warmup"]:
        factor *= 1 / 3 + (2 / 3) * step / schedule["warmup"]
    return float(factor)


def make_optimizer(model: nn.Module, settings: Mapping[str, Any]) -> torch.optim.Optimizer:
    """SGD or AdamW over the parameters that learn, from ``{"name", "lr", "weight_decay", ...}``."""
    learned = [p for p in model.parameters() if p.requires_grad]
    options = {k: v for k, v in settings.items() if k != "name"}
    if settings["name"] == "sgd":
        return torch.optim.SGD(learned, **options, fused=True)
    return torch.optim.AdamW(learned, **{**options, "betas": tuple(options.get("betas", (0.9, 0.999)))}, fused=True)


class Trainer:
    """Trains one detector; :meth:`fit` goes on from the checkpoint in ``workdir`` where there is one."""

    def __init__(
        self,
        model: Detector,
        settings: Mapping[str, Any],
        steps: int,
        *,
        device: str,
        workdir: Path | None,
    ) -> None:
        self.model, self.settings, self.steps, self.device = model, settings, steps, device
        self.optimizer = make_optimizer(model, settings["optimizer"])
        self.amp = bool(settings["amp"]) and device.startswith("cuda")
        self.scaler = torch.amp.GradScaler("cuda", enabled=self.amp)
        self.file = None if workdir is None else workdir / "resume.pt"
        self.done, self.fitted = 0, Fitted()
        self._sum = torch.zeros((), device=device)
        if self.file is not None and self.file.exists():
            self._restore()

    def fit(self, feed: Feed, score: Callable[[Detector], float], log: Callable[..., None]) -> Fitted:
        """Train to the last step. ``score`` rates the detector at the points of the curve.

        Raises Diverged on a loss that is not finite or exploded.
        """
        points = {
            round(self.steps * (k + 1) / self.settings["curve_points"]) for k in range(self.settings["curve_points"])
        }
        every = int(self.settings["checkpoint_every"])
        self.model.train()
        last = self.fitted.steps[-1] if self.fitted.steps else 0
        wall, cpu = perf_counter(), process_time()
        for batch in feed.train(self.done, self.steps):
            self._sum += self._step(batch.to(self.device))
            self.done += 1
            if self.done in points:
                mean = float(self._sum) / (self.done - last)
                self._sum.zero_()
                last = self.done
                self._check(mean)
                self._note_time(wall, cpu)
                self.fitted.steps.append(self.done)
                self.fitted.loss.append(mean)
                self.fitted.scores.append(score(self.model))
                log(self.done, loss=mean, AP50=self.fitted.scores[-1])
                self.model.train()
                wall, cpu = perf_counter(), process_time()
            if self.file is not None and self.done % every == 0 and self.done < self.steps:
                self._note_time(wall, cpu)
                self._save()
                wall, cpu = perf_counter(), process_time()
        self._note_time(wall, cpu)
        return self.fitted

    def _note_time(self, wall: float, cpu: float) -> None:
        if self.device.startswith("cuda"):
            torch.cuda.synchronize()
        self.fitted.seconds += perf_counter() - wall
        self.fitted.cpu_seconds += process_time() - cpu

    def _check(self, loss: float) -> None:
        if not math.isfinite(loss) or loss > _EXPLODED:
            raise Diverged(f"loss {loss:g} at step {self.done} of {self.steps}")

    def _step(self, batch: Batch) -> Tensor:
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings["optimizer"]["lr"] * learning_rate(
                self.done, self.steps, self.settings["schedule"]
            )
        with torch.autocast("cuda", dtype=torch.float16, enabled=self.amp):
            out = self.model(batch.images)
        targets = assign(out.grid, batch.boxes, batch.labels, self.model.num_classes, self.settings["assign"])
        loss = detection_loss(out, targets, self.settings["loss"])
        if self.device == "cpu":
            self._check(float(loss.detach()))
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self.scaler.unscale_(self.optimizer)
        learned = [p for p in self.model.parameters() if p.requires_grad]
        nn.utils.clip_grad_norm_(learned, self.settings["clip"])
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss.detach()

    def _save(self) -> None:
        assert self.file is not None
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "done": self.done,
            "sum": self._sum,
            "fitted": vars(self.fitted),
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state_all() if self.device.startswith("cuda") else [],
        }
        self.file.parent.mkdir(parents=True, exist_ok=True)
        partial = self.file.with_suffix(".part")
        with partial.open("wb") as stream:
            torch.save(state, stream)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(self.file)

    def _restore(self) -> None:
        assert self.file is not None
        state = torch.load(self.file, map_location=self.device, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.done, self._sum = state["done"], state["sum"]
        self.fitted = Fitted(**state["fitted"])
        torch.set_rng_state(state["random"].cpu())
        if state["random_cuda"]:
            torch.cuda.set_rng_state_all([s.cpu() for s in state["random_cuda"]])
