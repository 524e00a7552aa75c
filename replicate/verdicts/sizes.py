"""Sizes: our number against the number that the paper prints (values, gains, ratios) at full strength.

Everything is oriented so that positive is better. A claim gives a region [low, high] of acceptable numbers: its
value plus and minus the margin, or its stated range widened by the margin, open on one side for a bound ("more
than 4"). In a planned extension every level is this look's share (0.05 below stands for it).

- REPRODUCED: the 90 % interval of ours - theirs keeps ours inside the region;
- EXCEEDED, NOT REPRODUCED: ours lies beyond the region; two-sided p at the 95 % level, Holm over the size claims of
  the paper that this study judges (those still pending count);
- DIFFERS: the 95 % interval excludes the stated value (or range) itself.

A best-of-k value is first lowered by E[max of k] sd. For a best-of-k gain the paper does not say whether its
baseline was also the best of k, when the bias would cancel: both readings must agree.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from replicate.judgement import Estimate, Word
from replicate.manifest import Claim
from replicate.stats import (
    ALPHA,
    Difference,
    Prior,
    against_absolute,
    against_gain,
    best_of,
    estimate,
    holm,
    is_undecidable,
)
from replicate.verdicts import words


@dataclass(frozen=True)
class Reference:
    """What the paper states, oriented, relative to its own centre: acceptable region and bare statement."""

    low: float
    high: float
    stated_low: float
    stated_high: float
    judged: bool
    """False when the claim has neither a margin nor a range: then only DIFFERS can be said."""


@dataclass(frozen=True)
class Size:
    """Our number against theirs: ``d`` is ours - centre, both oriented."""

    claim: Claim
    ours: Estimate
    d: Difference | None
    sd: float
    n: int
    runs: int
    reference: Reference
    p_low: float = 1.0
    p_high: float = 1.0
    adjusted: float = 1.0

    @property
    def against(self) -> Estimate | None:
        """ours - theirs as an Estimate for the report."""
        if self.d is None:
            return None
        (low, high), (low90, high90) = self.d.interval(0.95), self.d.interval(0.90)
        raw = min(1.0, 2 * min(self.p_low, self.p_high))
        return Estimate(self.n, self.d.mean, self.sd, low, high, low90, high90, p=raw, p_adjusted=self.adjusted)


def centre_of(claim: Claim) -> float:
    """The stated number, the middle of a range, or the bound."""
    if claim.value is not None:
        return claim.value
    ends = [x for x in (claim.low, claim.high) if x is not None]
    if not ends:
        raise ValueError(f"claim {claim.id} states no number")
    return math.fsum(ends) / len(ends)


def states_number(claim: Claim) -> bool:
    """Whether there is a number to compare with."""
    return claim.value is not None or claim.low is not None or claim.high is not None


def reference_of(claim: Claim, sd: float) -> Reference:
    """Acceptable region around the centre, with the best-of-k correction in units of ``sd`` (one arm's)."""
    sign = -1.0 if claim.direction == "lower" else 1.0
    centre, margin = centre_of(claim), claim.margin or 0.0
    low = high = 0.0
    if claim.value is None:
        ends = (
            -math.inf if claim.low is None else claim.low - centre,
            math.inf if claim.high is None else claim.high - centre,
        )
        low, high = sorted(sign * end for end in ends)
    judged = claim.value is None or claim.margin is not None
    bias = best_of(claim.k or 1) * sd if claim.reporting == "best-of-k" else 0.0
    if bias and claim.kind == "gain":
        # inside both readings for REPRODUCED, outside both for the rest
        return Reference(low - margin, high + margin - bias, low - bias, high, judged)
    return Reference(low - margin - bias, high + margin - bias, low - bias, high - bias, judged)


def runs_behind(claim: Claim) -> int:
    """Number of runs whose mean the paper prints; 1 when single, unknown, or the best of several."""
    return max(1, claim.n or 1) if claim.reporting == "mean" else 1


def size_of_value(claim: Claim, values: Mapping[int, float], prior: Prior | None) -> Size:
    """An absolute value, or a ratio measured per seed."""
    sign = -1.0 if claim.direction == "lower" else 1.0
    oriented = [sign * v for v in values.values()]
    compared = against_absolute(oriented, sign * centre_of(claim), runs_behind(claim), claim.rounding or 0.0, prior)
    return _size(claim, estimate(values), compared, len(oriented))


def size_of_gain(claim: Claim, better: Mapping[int, float], worse: Mapping[int, float], prior: Prior | None) -> Size:
    """A gain B - A, both arms ours, paired by seed."""
    sign = -1.0 if claim.direction == "lower" else 1.0
    compared = against_gain(
        {s: sign * v for s, v in better.items()},
        {s: sign * v for s, v in worse.items()},
        sign * centre_of(claim),
        runs_behind(claim),
        claim.rounding or 0.0,
        prior,
    )
    gain = estimate({s: better[s] - worse[s] for s in better if s in worse})
    return _size(claim, gain, compared, gain.n)


def _size(claim: Claim, ours: Estimate, compared: tuple[Difference, float] | None, n: int) -> Size:
    runs = runs_behind(claim)
    if compared is None:
        return Size(claim, ours, None, math.nan, n, runs, reference_of(claim, 0.0))
    d, sd = compared
    reference = reference_of(claim, sd)
    if not reference.judged:
        return Size(claim, ours, d, sd, n, runs, reference)
    # for a best-of-k gain "beyond" means beyond both readings
    beyond_low = d.p_below(min(reference.low, reference.stated_low - (claim.margin or 0.0)))
    beyond_high = d.p_above(max(reference.high, reference.stated_high + (claim.margin or 0.0)))
    return Size(claim, ours, d, sd, n, runs, reference, beyond_low, beyond_high)


def correct(sizes: Mapping[str, Size], pending: int = 0) -> dict[str, Size]:
    """Holm over the two-sided p-values of "beyond the margin"; ``pending`` more claims will join the family."""
    adjusted = holm([min(1.0, 2 * min(s.p_low, s.p_high)) for s in sizes.values()] + [1.0] * pending)
    return {name: Size(**{**s.__dict__, "adjusted": p}) for (name, s), p in zip(sizes.items(), adjusted, strict=False)}


def word_of(size: Size, unit: str, alpha: float = ALPHA) -> tuple[Word, str]:
    """First rule that matches, and the sentence; intervals at 1 - 2 alpha and 1 - alpha (90 % and 95 %)."""
    claim, d, reference = size.claim, size.d, size.reference
    if d is None:
        why = "one seed has no spread" if size.n < 2 else f"no spread over {size.n} seeds"
        return (
            Word.INCONCLUSIVE,
            f"ours {words.measured(size.ours, unit, signed=False)}; {why}: the size is not judged",
        )
    line = _line(size, d, unit)
    low90, high90 = d.interval(1 - 2 * alpha)
    low95, high95 = d.interval(1 - alpha)
    if reference.judged and low90 >= reference.low and high90 <= reference.high:
        return Word.REPRODUCED, line
    if size.adjusted <= alpha:
        good = size.p_high < size.p_low and claim.direction != "none"
        return (Word.EXCEEDED if good else Word.NOT_REPRODUCED), line
    if low95 > reference.stated_high or high95 < reference.stated_low:
        return Word.DIFFERS, line
    if not reference.judged:
        return Word.INCONCLUSIVE, f"{line}; no margin is stated, so equivalence is not judged"
    half = (reference.high - reference.low) / 2
    if is_undecidable(half, size.sd, size.runs, gain=claim.kind == "gain"):
        name = "single-run claim" if size.runs == 1 else f"claim from {size.runs} runs"
        return Word.INCONCLUSIVE, f"{line}; undecidable: {name}, its own error is larger than the margin allows"
    return Word.INCONCLUSIVE, f"{line}; neither inside nor beyond the margin"


def word_of_weights(claim: Claim, ours: Estimate, unit: str) -> tuple[Word, str]:
    """Released weights evaluated again: the same model and test set, so only printing rounds the difference."""
    sign = -1.0 if claim.direction == "lower" else 1.0
    reference, slack = reference_of(claim, 0.0), (claim.rounding or 0.0) / 2 + 1e-12
    d = sign * (ours.mean - centre_of(claim))
    line = f"evaluation of the released weights: ours {ours.mean:.6g}, theirs {_stated(claim)}"
    if reference.low - slack <= d <= reference.high + slack:
        return Word.REPRODUCED, f"{line}; evaluation reproduced"
    if not reference.judged:
        return Word.DIFFERS, f"{line}; no margin is stated"
    good = d > 0 and claim.direction != "none"
    return (Word.EXCEEDED if good else Word.NOT_REPRODUCED), line


def _stated(claim: Claim) -> str:
    if claim.value is not None:
        return f"{claim.value:g}"
    if claim.low is not None and claim.high is not None:
        return f"{claim.low:g} to {claim.high:g}"
    return f"at least {claim.low:g}" if claim.low is not None else f"at most {claim.high:g}"


def _line(size: Size, d: Difference, unit: str) -> str:
    claim = size.claim
    low, high = d.interval(0.95)
    half = (high - low) / 2
    better = "" if claim.direction == "none" else ", positive is better"
    text = (
        f"ours {words.measured(size.ours, unit, signed=claim.kind == 'gain')} (n = {size.n}), "
        f"theirs {_stated(claim)}; "
        f"difference {words.number(d.mean, half, signed=True)} {words.interval(low, high, half)}{better}"
    )
    if claim.reporting == "best-of-k" and claim.k:
        text += f"; theirs is the best of {claim.k}, {words.number(best_of(claim.k) * size.sd, half)} of it chance"
    if claim.margin is not None:
        text += f"; margin {words.with_unit(claim.margin, unit)}"
    return text
