"""What a task, an arm and a trial owe each other: the only engine words that papers and tasks import.

This module imports nothing heavy. It is part of the code closure of every arm, so an edit here makes every
record stale: keep it small and still.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

Scale = Literal["smoke", "quick", "long", "gpu", "full", "weights"]
SCALES: tuple[Scale, ...] = ("smoke", "quick", "long", "gpu", "full", "weights")

_F = TypeVar("_F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Metric:
    """One number a task reports for a trained arm.

    ``worst`` is the score of a run that diverged (chance, or the worst possible value).
    """

    unit: str
    higher_is_better: bool = True
    worst: float = 0.0
    says: str = ""


@dataclass(frozen=True)
class Gate:
    """Validity gate of a profile, fixed before the verdict seeds are run (STATISTICS, "Validity gate").

    An arm passes when its mean ``metric`` over the planned seeds reaches ``floor``. The floor is the larger of
    three times the untrained metric, half of what a long run of the baseline reaches, and any absolute bar.
    """

    metric: str
    floor: float
    untrained: float
    long_run: float
    why: str


@dataclass(frozen=True)
class Profile:
    """What one scale means for one task, versioned: data, sizes, steps, recipe, gate.

    ``settings`` is JSON, goes whole into the trial's key, and is all that ``run_trial`` may depend on beside arm,
    seed, device and threads. Change a value: raise ``version``.
    """

    name: str
    version: int
    data: str | None
    settings: Mapping[str, Any]
    metric: str
    gate: Gate | None = None
    protocol: Literal["reduced", "full"] = "reduced"
    seconds: float = 60.0
    """Rough seconds of one trial on one CPU thread (or one GPU), for plans and the default time limit."""
    threads: int = 1
    """Torch threads of a trial on the CPU: part of the key, since 1 and 2 threads give different weights."""
    exclusive: bool = False
    """True when trials measure time: they run alone on their machine."""


class DataError(Exception):
    """Data that a trial needs is missing or wrong; the message says what and what to do (one line)."""


class Diverged(Exception):
    """Training produced NaN or exploded. A result, not a crash: scored at the metric's worst value."""


@dataclass(frozen=True)
class Arm:
    """A builder with its options resolved: what is trained or measured in one trial."""

    name: str
    build: Callable[..., Any]
    options: Mapping[str, Any]


@dataclass
class Run:
    """What the engine hands to ``run_trial``: where it runs, and where it may report to."""

    arm: Arm
    profile: Profile
    scale: Scale
    seed: int
    device: str = "cpu"
    threads: int = 1
    data_paths: Mapping[str, Path] = field(default_factory=dict)
    """Folders that the user gave with ``--data NAME=PATH``."""
    workdir: Path | None = None
    """Private folder that survives a kill of this trial: resumable checkpoints go here. None: do not write."""
    substrates: Mapping[str, Path] = field(default_factory=dict)
    """Checkpoints of other trials that this one needs, by name."""
    on_log: Callable[[int, Mapping[str, float]], None] | None = None

    @property
    def settings(self) -> Mapping[str, Any]:
        """The profile's settings."""
        return self.profile.settings

    def log(self, step: int, **metrics: float) -> None:
        """Report intermediate metrics at ``step`` (a live display; an adaptive search may stop the trial)."""
        if self.on_log is not None:
            self.on_log(step, metrics)


@dataclass
class Outcome:
    """What one trial measured.

    ``metrics`` holds every metric of the task by name; ``curves`` lists of equal length by name, the first being
    the x axis ``step``; ``cost`` parameters, MACs, seconds, memory (units in the names); ``items`` optional
    per-item scores for item-level intervals; ``checkpoint`` a file to keep for trials that need this substrate.
    """

    metrics: Mapping[str, float]
    curves: Mapping[str, Sequence[float]] = field(default_factory=dict)
    cost: Mapping[str, float] = field(default_factory=dict)
    items: Mapping[str, Sequence[float]] = field(default_factory=dict)
    notes: Sequence[str] = ()
    checkpoint: Path | None = None


class RunTrial(Protocol):
    """A task package exports ``run_trial``; a paper whose experiment is its own exports it from experiment.py."""

    def __call__(self, run: Run) -> Outcome:
        """Run one trial: a pure function of arm, profile, seed, device and threads."""
        ...


def arm(*, version: int = 1) -> Callable[[_F], _F]:
    """Mark a function as an arm builder.

    Keyword-only parameters with literal defaults are the arm's options: each can be set and swept by name. The
    engine reads names, defaults and ``version`` from the source without importing it, so they must be literals.
    Raise ``version`` when the meaning of the arm changes.
    """

    def mark(build: _F) -> _F:
        build.__arm_version__ = version  # type: ignore[attr-defined]
        return build

    return mark


@dataclass(frozen=True)
class Checked:
    """Result of one exact check.

    ``value`` is what was computed, ``expected`` what the paper states (both None for a yes/no property);
    ``detail`` is one line for people: on failure the counterexample.
    """

    ok: bool
    value: float | None = None
    expected: float | None = None
    detail: str = ""


def check(*, says: str = "", needs: str = "") -> Callable[[_F], _F]:
    """Mark a function of checks.py as an exact check: no arguments, no training, seconds on a CPU.

    The function's name is the check's name, which claims of kind ``structural`` refer to by ``check:``. Checks
    that no claim refers to are traps: they guard the implementation and are listed, not counted as claims.
    """

    def mark(function: _F) -> _F:
        function.__check__ = {"says": says, "needs": needs}  # type: ignore[attr-defined]
        return function

    return mark


def close(value: float, expected: float, tolerance: float, detail: str = "") -> Checked:
    """Compare a computed number with the stated one: ok when ``|value - expected| <= tolerance``."""
    ok = abs(value - expected) <= tolerance
    text = detail or f"computed {value:.6g}, stated {expected:.6g}, tolerance {tolerance:.2g}"
    return Checked(ok, value, expected, text)
