"""Numbers in sentences."""

from __future__ import annotations

import math

from replicate.judgement import Estimate


def number(value: float, error: float | None = None, *, signed: bool = False) -> str:
    """A number with as many decimals as its error justifies (two significant digits of the error)."""
    if not math.isfinite(value):
        return "unbounded"
    plus = "+" if signed else ""
    if error is None or not math.isfinite(error) or error <= 0:
        return f"{value:{plus}.4g}"
    decimals = min(8, max(0, 1 - math.floor(math.log10(error))))
    return f"{value:{plus}.{decimals}f}"


def p_value(p: float | None) -> str:
    """``p = 0.012``, or a bound below one in ten thousand."""
    if p is None:
        return "no p-value"
    return "p < 0.0001" if p < 0.0001 else f"p = {p:.2g}"


def interval(low: float, high: float, error: float | None = None) -> str:
    """``[0.9, 3.3]``; says so when there is no bound."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return "[no interval]"
    return f"[{number(low, error)}, {number(high, error)}]"


def measured(e: Estimate, unit: str, *, signed: bool = True) -> str:
    """``+2.1 AP [0.9, 3.3]`` with the 95 % interval."""
    half = (e.high - e.low) / 2
    return f"{number(e.mean, half, signed=signed)}{_unit(unit)} {interval(e.low, e.high, half)}"


def with_unit(value: float, unit: str) -> str:
    """``1.1 AP`` with two significant digits."""
    return f"{value:.2g}{_unit(unit)}"


def _unit(unit: str) -> str:
    return f" {unit}" if unit and unit != "none" else ""
