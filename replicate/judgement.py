"""The words of a verdict: plain data that verdict.py makes and the report shows. Imports nothing heavy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any


class Word(StrEnum):
    """Every verdict that the suite can give (STATISTICS, "Verdicts")."""

    BLOCKED = "BLOCKED"
    NOT_TESTED = "NOT TESTED"
    PENDING = "PENDING"
    EXACT = "EXACT"
    REFUTED = "REFUTED"
    INCONCLUSIVE_GATE = "INCONCLUSIVE (gate)"
    REPRODUCED = "REPRODUCED"
    EXCEEDED = "EXCEEDED"
    NOT_REPRODUCED = "NOT REPRODUCED"
    DIFFERS = "DIFFERS"
    SUPPORTED = "SUPPORTED"
    NOT_SPECIFIC = "EFFECT NOT SPECIFIC"
    SPECIFICITY_OPEN = "SUPPORTED, SPECIFICITY OPEN"
    CONTRADICTED = "CONTRADICTED"
    OPPOSITE = "OPPOSITE AT REDUCED SCALE"
    INCONCLUSIVE = "INCONCLUSIVE"


def _plain(value: Any) -> Any:
    """The same value with infinities and NaN as None: strict JSON has neither."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value


@dataclass(frozen=True)
class Estimate:
    """A paired mean difference (or a mean) over seeds, with Student-t intervals.

    With one seed ``sd`` is NaN and the bounds are infinite; in JSON both are null.
    """

    n: int
    mean: float
    sd: float
    low: float
    high: float
    """95 % interval."""
    low90: float
    high90: float
    p: float | None = None
    """One-sided, in the claimed direction."""
    p_adjusted: float | None = None
    p_opposite: float | None = None
    p_opposite_adjusted: float | None = None
    per_seed: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class ContrastResult:
    """What the records say about one planned contrast, before it is turned into a claim's verdict."""

    contrast: str
    word: Word
    says: str
    """One line for people: why this verdict."""
    primary: int | None
    n: int
    planned_n: int
    effect: Estimate | None = None
    """better - worse, oriented so that positive is better."""
    over_placebo: Estimate | None = None
    """better - placebo."""
    placebo_share: Estimate | None = None
    """(placebo - worse) - half of (better - worse): positive when the placebo reaches more than half."""
    arms: Mapping[str, Estimate] = field(default_factory=dict)
    """Mean and interval of each arm's own metric."""
    smallest_effect: float | None = None
    """Smallest true effect this many seeds find with 80 % power."""
    seeds_needed: int | None = None
    """Seeds with which the observed effect would be found with 80 % power; None when it has the wrong sign."""
    over_items: tuple[float, float] | None = None
    """95 % interval of the effect over test items, seeds held fixed: the second source of error."""
    diverged: Mapping[str, int] = field(default_factory=dict)
    keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class GateResult:
    """Whether an arm trained at all: its mean against the profile's floor, fixed beforehand."""

    arm: str
    metric: str
    n: int
    value: float
    floor: float
    passed: bool


@dataclass(frozen=True)
class Verdict:
    """What the records let us say about one claim."""

    claim: str
    word: Word
    says: str
    scale: str | None = None
    reduced: bool = False
    """True when the verdict holds "at reduced scale" only."""
    ours: Estimate | None = None
    """Our own number: the arm's mean, the gain, or the first contrast's effect."""
    against: Estimate | None = None
    """ours - theirs, oriented so that positive is better; ``sd`` is one run's, the bounds hold both errors."""
    computed: float | None = None
    """structural: the number we computed."""
    contrasts: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    command: str = ""

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dict."""
        plain: dict[str, Any] = _plain(asdict(self))
        return plain


@dataclass(frozen=True)
class Judgement:
    """Everything that one study's records say: a verdict for each registered claim, in the manifest's order."""

    slug: str
    scale: str
    reduced: bool
    alpha: float
    """Level of each one-sided family of tests at this look (0.05, or its share in a planned extension)."""
    contrasts: list[ContrastResult]
    verdicts: list[Verdict]
    gates: dict[str, GateResult]
    notes: tuple[str, ...] = ()

    def verdict(self, claim_id: str) -> Verdict:
        """The verdict on this claim."""
        return next(v for v in self.verdicts if v.claim == claim_id)

    def contrast(self, contrast_id: str) -> ContrastResult:
        """The result of this contrast."""
        return next(c for c in self.contrasts if c.contrast == contrast_id)

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dict."""
        plain: dict[str, Any] = _plain(asdict(self))
        return plain
