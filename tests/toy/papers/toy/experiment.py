"""Arms of the toy paper and its own measurement.

Every arm takes ``level``, ``sleep_s`` (seconds that a trial lasts) and ``fault``, one of:

``none``; ``diverge`` (raises Diverged); ``nan`` (a metric is not a number); ``error`` (raises ValueError);
``data`` (raises DataError); ``exit`` (the process ends at once, always); ``exit-once`` (ends the process on the
first attempt, works on the next).

When the environment variable ``REPLICATE_TOY_LOG`` names a file, each trial appends the lines
``start <arm> <seed> <pid>`` and ``end <arm> <seed> <pid>`` to it.
"""

from __future__ import annotations

import json
import os
import random
import time
from pathlib import Path

from replicate.tasks.base import DataError, Diverged, Outcome, Run, arm

from .model import Toy


@arm()
def baseline(*, level: float = 0.0, sleep_s: float = 0.0, fault: str = "none") -> Toy:
    """The score without the mechanism."""
    return Toy(level, 1, sleep_s=sleep_s, fault=fault)


@arm()
def method(*, level: float = 0.1, sleep_s: float = 0.0, fault: str = "none") -> Toy:
    """The score with the mechanism."""
    return Toy(level, 3, sleep_s=sleep_s, fault=fault)


@arm()
def placebo(*, level: float = 0.0, sleep_s: float = 0.0, fault: str = "none") -> Toy:
    """As many parameters as the method, without the mechanism."""
    return Toy(level, 3, sleep_s=sleep_s, fault=fault)


@arm()
def tuned(*, level: float = 0.1, sleep_s: float = 0.0, fault: str = "none") -> Toy:
    """The method, started from a trained baseline: half of what that learned is kept on top."""
    return Toy(level, 3, sleep_s=sleep_s, fault=fault)


def run_trial(run: Run) -> Outcome:
    """Base + level + noise of the seed (shared by all arms) + a smaller noise of the arm's own."""
    _log("start", run)
    toy: Toy = run.arm.build(**run.arm.options)
    _misbehave(toy.fault, run)
    settings = run.settings
    shared = random.Random(f"shared {run.seed}").gauss(0.0, settings["noise"])
    own = random.Random(f"{toy.parameters} {toy.level} {run.seed}").gauss(0.0, toy.own_noise)
    target = settings["base"] + toy.level + shared + own
    if "start" in run.substrates:
        target += 0.5 * json.loads(run.substrates["start"].read_text())["learned"]
    steps, scores = settings["steps"], []
    for step in range(1, steps + 1):
        time.sleep(toy.sleep_s / steps)
        scores.append(target * step / steps)
        run.log(step, score=scores[-1])
    score = float("nan") if toy.fault == "nan" else scores[-1]
    _log("end", run)
    return Outcome(
        metrics={"score": score, "loss": 1.0 - score},
        curves={"step": list(range(1, steps + 1)), "score": scores},
        cost={"parameters": float(toy.parameters)},
        checkpoint=_keep(toy, run.workdir, scores[-1] - settings["base"]),
    )


def _keep(toy: Toy, workdir: Path | None, learned: float) -> Path | None:
    if workdir is None or toy.parameters != 1:  # only the baseline is a substrate
        return None
    path = workdir / "weights.json"
    path.write_text(json.dumps({"learned": learned}))
    return path


def _misbehave(fault: str, run: Run) -> None:
    if fault == "diverge":
        raise Diverged("loss is not finite at step 1")
    if fault == "error":
        raise ValueError("this toy was told to fail")
    if fault == "data":
        raise DataError("the folder 'toys' is missing; give it with --data toys=PATH")
    if fault == "exit":
        os._exit(3)
    if fault == "exit-once" and run.workdir is not None:
        mark = run.workdir / "been-here"
        if not mark.exists():
            mark.touch()
            os._exit(3)


def _log(word: str, run: Run) -> None:
    path = os.environ.get("REPLICATE_TOY_LOG")
    if path:
        line = f"{word} {run.arm.name} {run.seed} {os.getpid()}\n"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(descriptor, line.encode())
        os.close(descriptor)
