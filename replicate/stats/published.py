"""Our runs against a number in a paper, which is itself one draw (or a mean of a few) with an error of its own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.special import digamma, ndtr, ndtri, polygamma, stdtr

from replicate.stats.estimates import ALPHA, t_quantile

UNDECIDABLE = float(ndtri(1 - ALPHA) + ndtri(0.90))
"""2.93: a 90 % interval lies inside +-margin with 80 % power, with no error of our own left, from this many
standard errors of the published number on (TOST at a true difference of zero)."""
FEWEST_GROUPS = 10
"""A/A groups from which a prior may be estimated."""


@dataclass(frozen=True)
class Difference:
    """``ours - theirs`` with its standard error (same unit) and degrees of freedom."""

    mean: float
    se: float
    df: float

    def interval(self, level: float) -> tuple[float, float]:
        """Two-sided Student-t interval, ``level`` such as 0.95."""
        half = t_quantile((1 + level) / 2, self.df) * self.se
        return self.mean - half, self.mean + half

    def p_above(self, bound: float) -> float:
        """One-sided p-value against "the true difference is at most ``bound``"."""
        return float(stdtr(self.df, -(self.mean - bound) / self.se)) if math.isfinite(bound) else 1.0

    def p_below(self, bound: float) -> float:
        """One-sided p-value against "the true difference is at least ``bound``"."""
        return float(stdtr(self.df, (self.mean - bound) / self.se)) if math.isfinite(bound) else 1.0


@dataclass(frozen=True)
class Prior:
    """What A/A groups of one domain and scale say about a variance: ``df`` is its weight in degrees of freedom."""

    df: float
    variance: float
    groups: int


@lru_cache(maxsize=256)
def best_of(k: int) -> float:
    """Expected maximum of k independent standard normals: 0 for 1, 0.56 for 2, 0.85 for 3, 1.16 for 5."""
    if k < 1:
        raise ValueError("k must be at least 1")
    if k == 1:
        return 0.0

    def integrand(x: float) -> float:
        return x * k * math.exp(-x * x / 2) / math.sqrt(2 * math.pi) * float(ndtr(x)) ** (k - 1)

    return float(quad(integrand, -12.0, 12.0, epsabs=1e-10, points=(0.0, 3.0))[0])


def _trigamma(x: float) -> float:
    return float(polygamma(1, x))


def fit_prior(variances: Sequence[float], dfs: Sequence[float]) -> Prior | None:
    """Moderated variances (Smyth 2004): prior weight and variance from the spread of log sample variances.

    None below ten groups with a positive variance. The weight is capped at the degrees of freedom that the groups
    hold together: a prior cannot know more than what it was estimated from.
    """
    usable = [(v, f) for v, f in zip(variances, dfs, strict=True) if v > 0 and f > 0]
    if len(usable) < FEWEST_GROUPS:
        return None
    logs = [math.log(v) - float(digamma(f / 2)) + math.log(f / 2) for v, f in usable]
    centre = math.fsum(logs) / len(logs)
    spread = math.fsum((x - centre) ** 2 for x in logs) / (len(logs) - 1)
    excess = spread - math.fsum(_trigamma(f / 2) for _, f in usable) / len(usable)
    cap = math.fsum(f for _, f in usable)
    if excess <= _trigamma(cap / 2):
        weight = cap
    else:
        weight = 2 * float(brentq(lambda x: _trigamma(x) - excess, 1e-6, cap / 2))
    variance = math.exp(centre + float(digamma(weight / 2)) - math.log(weight / 2))
    return Prior(weight, variance, len(usable))


def shrink(variance: float, df: float, prior: Prior | None) -> tuple[float, float]:
    """Moderated variance and its degrees of freedom; unchanged without a prior."""
    if prior is None:
        return variance, df
    if df <= 0:
        return prior.variance, prior.df
    total = df + prior.df
    return (df * variance + prior.df * prior.variance) / total, total


def _moments(values: Sequence[float]) -> tuple[float, float]:
    n = len(values)
    mean = math.fsum(values) / n
    return mean, (math.fsum((v - mean) ** 2 for v in values) / (n - 1) if n > 1 else 0.0)


def against_absolute(
    values: Sequence[float], theirs: float, m: int = 1, rounding: float = 0.0, prior: Prior | None = None
) -> tuple[Difference, float] | None:
    """``mean(values) - theirs`` with SE^2 = s^2/n + s^2/m, and s; None when no spread is known.

    The last printed digit adds rounding^2/12 to SE^2. Values without any spread take the spread of their rounding.
    """
    n = len(values)
    mean, raw = _moments(values)
    variance, df = shrink(raw, n - 1, prior)
    variance = max(variance, rounding**2 / 12)
    if df <= 0 or variance <= (1e-9 * abs(mean)) ** 2:
        return None
    return Difference(mean - theirs, math.sqrt(variance * (1 / n + 1 / m) + rounding**2 / 12), df), math.sqrt(variance)


def against_gain(
    better: Mapping[int, float],
    worse: Mapping[int, float],
    theirs: float,
    m: int = 1,
    rounding: float = 0.0,
    prior: Prior | None = None,
) -> tuple[Difference, float] | None:
    """Our paired gain minus a published gain: SE^2 = s_D^2/n + 2 s_arm^2/m, and s_arm; None without spread.

    s_arm^2 is the mean variance of the two arms. Both terms come from the same runs, so the degrees of freedom are
    Satterthwaite's for the quadratic form tr(CS), S the 2 x 2 sample covariance of the arms and
    C = [[1, -1], [-1, 1]]/n + I/m:  (n - 1) tr(CS)^2 / tr(CSCS), between n - 1 and 2 (n - 1).
    With a prior, s_arm^2 is moderated and the two terms are combined by Welch-Satterthwaite.
    """
    seeds = [s for s in better if s in worse]
    n = len(seeds)
    if n < 2:
        return None
    a, b = [better[s] for s in seeds], [worse[s] for s in seeds]
    (mean_a, s11), (mean_b, s22) = _moments(a), _moments(b)
    s12 = math.fsum((x - mean_a) * (y - mean_b) for x, y in zip(a, b, strict=True)) / (n - 1)
    floor = rounding**2 / 12
    s11, s22 = max(s11, floor), max(s22, floor)
    if s11 + s22 <= (1e-9 * max(abs(mean_a), abs(mean_b))) ** 2:
        return None
    own, arm = max(s11 + s22 - 2 * s12, 0.0) / n, (s11 + s22) / 2
    if prior is None:
        c1, c2 = 1 / n + 1 / m, -1 / n
        m11, m12 = c1 * s11 + c2 * s12, c1 * s12 + c2 * s22
        m21, m22 = c2 * s11 + c1 * s12, c2 * s12 + c1 * s22
        variance = m11 + m22
        df = (n - 1) * variance**2 / (m11**2 + 2 * m12 * m21 + m22**2)
    else:
        arm_df = (n - 1) * (s11 + s22) ** 2 / (s11**2 + 2 * s12**2 + s22**2)
        arm, arm_df = shrink(arm, arm_df, prior)
        variance = own + 2 * arm / m
        df = variance**2 / (own**2 / (n - 1) + (2 * arm / m) ** 2 / arm_df)
    # a gain is the difference of two printed numbers, each with its own rounding
    return Difference(mean_a - mean_b - theirs, math.sqrt(variance + 2 * floor), df), math.sqrt(arm)


def is_undecidable(margin: float, sd: float, m: int = 1, *, gain: bool = False) -> bool:
    """True when no number of our seeds could show equivalence within ``margin``: theirs is too noisy.

    ``sd`` is one arm's; the published number has standard error sd * sqrt(1/m), a gain sd * sqrt(2/m).
    """
    return margin < UNDECIDABLE * sd * math.sqrt((2 if gain else 1) / m)
