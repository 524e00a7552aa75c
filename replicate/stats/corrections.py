"""Adjusted p-values for many questions: compare each with the same level as a single one."""

from __future__ import annotations

from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down: controls the chance of any false alarm, whatever the dependence. Order is kept."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted = [0.0] * len(p_values)
    running = 0.0
    for rank, i in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = running
    return adjusted


def fixed_sequence(p_values: Sequence[float]) -> list[float]:
    """Tests in a fixed order, each at the full level but only if all before it hold: a running maximum."""
    adjusted: list[float] = []
    running = 0.0
    for p in p_values:
        running = max(running, p)
        adjusted.append(running)
    return adjusted


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Benjamini and Hochberg (1995): controls the expected share of false alarms in a list. Order is kept."""
    m = len(p_values)
    order = sorted(range(m), key=p_values.__getitem__, reverse=True)
    adjusted = [0.0] * m
    running = 1.0
    for place, i in enumerate(order):
        running = min(running, p_values[i] * m / (m - place))
        adjusted[i] = running
    return adjusted
