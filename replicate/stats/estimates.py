"""Student-t summaries of numbers paired by seed.

Three cases where the t test says too much or nothing are treated apart:

- one seed: the mean is known, its spread is not; the intervals are unbounded and there is no p-value;
- no spread (all values equal, n >= 2): t would be infinite and p zero, although equal values may only mean a
  coarse metric. The exact sign-flip bound is used: if the values were symmetric around a hypothesised centre, all
  n of them fall on one side of it with probability 2^-n. The intervals are the inversion of that test: a point when
  n is large enough for the level (6 for 95 %, 5 for 90 %), unbounded below that;
- differences that are rounding noise of the floating-point subtraction count as zero.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache

from scipy.special import stdtr, stdtrit

from replicate.judgement import Estimate

ALPHA = 0.05
"""Level of every one-sided test, and of the two one-sided tests behind a 90 % interval."""
_FLAT = 1e-9
"""A spread smaller than this share of the largest value is no spread."""
_NOISE = 1e-12
"""A difference smaller than this share of its operands is no difference."""


@lru_cache(maxsize=4096)
def t_quantile(level: float, df: float) -> float:
    """Quantile of Student's t: ``P(T <= t) = level``."""
    return float(stdtrit(df, level))


def paired_differences(better: Mapping[int, float], worse: Mapping[int, float], sign: float = 1.0) -> dict[int, float]:
    """``sign * (better - worse)`` for the seeds that both have; floating-point noise becomes an exact zero."""
    out: dict[int, float] = {}
    for seed, a in better.items():
        if seed in worse:
            b = worse[seed]
            out[seed] = 0.0 if abs(a - b) <= _NOISE * max(abs(a), abs(b)) else sign * (a - b)
    return out


def p_greater(n: int, mean: float, sd: float, null: float = 0.0) -> float:
    """One-sided p-value against "the true mean is at most ``null``".

    With no spread (``sd == 0``) the sign-flip bound ``2^-n`` stands in for the t test; 1 when the mean is not
    above ``null``. Needs n >= 2.
    """
    if sd == 0.0:
        return 0.5**n if mean > null else 1.0
    return float(stdtr(n - 1, -(mean - null) * math.sqrt(n) / sd))


def estimate(per_seed: Mapping[int, float]) -> Estimate:
    """Mean, sd, 95 % and 90 % Student-t intervals, and both one-sided p-values against zero.

    ``per_seed`` holds at least one finite number. With one number sd is NaN, the intervals are unbounded and
    the p-values None (module docstring).
    """
    values = list(per_seed.values())
    n = len(values)
    if n == 0:
        raise ValueError("an estimate needs at least one value")
    mean = math.fsum(values) / n
    inf = math.inf
    if n == 1:
        return Estimate(1, mean, math.nan, -inf, inf, -inf, inf, per_seed=per_seed)
    sd = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1))
    if sd <= _FLAT * max(abs(v) for v in values):
        half95, half90 = (0.0 if 2 * 0.5**n <= level else inf for level in (0.05, 0.10))
        sd = 0.0
    else:
        error = sd / math.sqrt(n)
        half95, half90 = t_quantile(0.975, n - 1) * error, t_quantile(0.95, n - 1) * error
    return Estimate(
        n,
        mean,
        sd,
        mean - half95,
        mean + half95,
        mean - half90,
        mean + half90,
        p=p_greater(n, mean, sd),
        p_opposite=p_greater(n, -mean, sd),
        per_seed=per_seed,
    )


def equivalence_p(e: Estimate, margin: float) -> float | None:
    """Two one-sided tests (TOST): p-value against "the true mean lies outside (-margin, margin)"."""
    if e.n < 2:
        return None
    return max(p_greater(e.n, e.mean, e.sd, -margin), p_greater(e.n, -e.mean, e.sd, -margin))


def outside_p(e: Estimate, margin: float) -> float | None:
    """Two-sided p-value against "the true mean lies inside [-margin, margin]".

    At most 0.05 exactly when the 95 % interval lies wholly beyond the margin on one side.
    """
    if e.n < 2:
        return None
    return min(1.0, 2 * min(p_greater(e.n, e.mean, e.sd, margin), p_greater(e.n, -e.mean, e.sd, margin)))
