"""Intervals that are not a t interval over seeds: rates, clusters, test items."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence

import numpy as np
from scipy.special import betaincinv

from replicate.stats.estimates import t_quantile


def clopper_pearson(hits: int, trials: int, level: float = 0.95) -> tuple[float, float]:
    """Exact two-sided interval of a rate; (0, 1) without trials."""
    if trials == 0:
        return 0.0, 1.0
    tail = (1 - level) / 2
    low = 0.0 if hits == 0 else float(betaincinv(hits, trials - hits + 1, tail))
    high = 1.0 if hits == trials else float(betaincinv(hits + 1, trials - hits, 1 - tail))
    return low, high


def cluster_interval(
    values: Sequence[float], clusters: Sequence[Hashable], level: float = 0.95
) -> tuple[float, float, float]:
    """Mean over claims or papers, with an interval that treats those sharing a cluster (a baseline) as dependent.

    Returns (mean, low, high). Cluster-robust variance with the G/(G - 1) correction and Student t on G - 1 degrees
    of freedom, G clusters; a single cluster has an unbounded interval.
    """
    if len(values) != len(clusters) or not values:
        raise ValueError("give one cluster for each of at least one value")
    mean = math.fsum(values) / len(values)
    sums: dict[Hashable, float] = {}
    for value, cluster in zip(values, clusters, strict=True):
        sums[cluster] = sums.get(cluster, 0.0) + value - mean
    groups = len(sums)
    if groups < 2:
        return mean, -math.inf, math.inf
    variance = groups / (groups - 1) * math.fsum(s * s for s in sums.values()) / len(values) ** 2
    half = t_quantile((1 + level) / 2, groups - 1) * math.sqrt(variance)
    return mean, mean - half, mean + half


def item_bootstrap(
    better: Mapping[int, Sequence[float]],
    worse: Mapping[int, Sequence[float]],
    clusters: Sequence[Hashable] | None = None,
    *,
    draws: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile interval of the mean paired difference over test items, seeds held fixed.

    ``better`` and ``worse`` map seed -> scores of the same items in the same order. Items of one cluster (an
    image, a patient) are drawn together, and the same draw serves both arms and all seeds. It shows the error that
    comes from the test set being finite, beside the error over seeds. Unbounded below two clusters.
    """
    seeds = [s for s in better if s in worse]
    if not seeds:
        raise ValueError("the two arms share no seed")
    difference = np.mean([np.asarray(better[s], float) - np.asarray(worse[s], float) for s in seeds], axis=0)
    names = list(range(len(difference))) if clusters is None else list(clusters)
    if len(names) != len(difference):
        raise ValueError("give one cluster for each item")
    index = {name: i for i, name in enumerate(dict.fromkeys(names))}
    groups = len(index)
    if groups < 2:
        return -math.inf, math.inf
    member = np.fromiter((index[name] for name in names), int, len(names))
    sums = np.bincount(member, difference, groups)
    sizes = np.bincount(member, minlength=groups)
    counts = np.random.default_rng(seed).multinomial(groups, np.full(groups, 1 / groups), size=draws)
    means = counts @ sums / (counts @ sizes)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
