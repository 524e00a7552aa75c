"""The words of a verdict: plain data that verdict.py makes and the report shows. Imports nothing heavy."""

from __future__ import annotations

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


@dataclass(frozen=True)
class Estimate:
    """A paired mean difference (or a mean) over seeds, with Student-t intervals."""

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
    diverged: Mapping[str, int] = field(default_factory=dict)
    keys: tuple[str, ...] = ()


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
    computed: float | None = None
    """structural: the number we computed."""
    contrasts: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    command: str = ""

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dict."""
        return asdict(self)
