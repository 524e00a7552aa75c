"""What a number of seeds can see: power of the paired t test through the noncentral t distribution."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

from scipy.optimize import brentq
from scipy.special import nctdtr, ndtri

from replicate.stats.estimates import ALPHA, t_quantile

POWER = 0.80
MOST_SEEDS = 10_000
"""More seeds than this is not a plan: ``seeds_needed`` says None."""


def power_of(effect: float, sd: float, n: int, alpha: float = ALPHA) -> float:
    """Chance that n paired seeds find a true mean difference ``effect`` (one-sided t test at ``alpha``)."""
    return 1.0 - float(nctdtr(n - 1, effect / sd * math.sqrt(n), t_quantile(1 - alpha, n - 1)))


@lru_cache(maxsize=4096)
def _standard_effect(n: int, alpha: float, power: float) -> float:
    """Smallest effect in units of the sd of the differences."""
    df = n - 1
    critical = t_quantile(1 - alpha, df)
    if df > 200:  # the normal limit is within 0.3 % here, and nctdtr grows slow
        return (critical + float(ndtri(power))) / math.sqrt(n)

    def missing(shift: float) -> float:
        return 1.0 - power - float(nctdtr(df, shift, critical))

    return float(brentq(missing, 0.0, 2 * critical + 10.0, xtol=1e-6)) / math.sqrt(n)


@lru_cache(maxsize=4096)
def _standard_margin(n: int, alpha: float, power: float) -> float:
    return (t_quantile(1 - alpha, n - 1) + t_quantile((1 + power) / 2, n - 1)) / math.sqrt(n)


def smallest_effect(n: int, sd: float, alpha: float = ALPHA, power: float = POWER) -> float | None:
    """Smallest true effect that n paired seeds find with this power; None when the spread is unknown or zero."""
    if n < 2 or not sd > 0:
        return None
    return sd * _standard_effect(n, alpha, power)


def smallest_margin(n: int, sd: float, alpha: float = ALPHA, power: float = POWER) -> float | None:
    """Smallest margin within which n seeds show a truly equal pair equivalent with this power (t approximation)."""
    if n < 2 or not sd > 0:
        return None
    return sd * _standard_margin(n, alpha, power)


def _first_n(standard: Callable[[int, float, float], float], target: float, alpha: float, power: float) -> int | None:
    if standard(MOST_SEEDS, alpha, power) > target:
        return None
    low, high = 1, MOST_SEEDS
    while high - low > 1:
        middle = (low + high) // 2
        if standard(middle, alpha, power) <= target:
            high = middle
        else:
            low = middle
    return high


def seeds_needed(effect: float, sd: float, alpha: float = ALPHA, power: float = POWER) -> int | None:
    """Seeds that find ``effect`` with this power; None for a wrong sign, no spread, or more than MOST_SEEDS."""
    if not effect > 0 or not sd > 0:
        return None
    return _first_n(_standard_effect, effect / sd, alpha, power)


def equivalence_seeds(mean: float, margin: float, sd: float, alpha: float = ALPHA, power: float = POWER) -> int | None:
    """Seeds that show a true difference ``mean`` to lie within ``margin``; None when it does not, or too many."""
    if abs(mean) >= margin or not sd > 0:
        return None
    return _first_n(_standard_margin, (margin - abs(mean)) / sd, alpha, power)
