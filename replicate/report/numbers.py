"""Numbers as text: digits follow the uncertainty, minus signs are real, nothing is rounded twice."""

from __future__ import annotations

import math

from replicate.judgement import Estimate

MINUS = "−"


def decimals(scale: float, significant: int = 2) -> int:
    """Decimal places that show ``significant`` digits of a quantity of size ``scale`` (0 to 6)."""
    if not math.isfinite(scale) or scale == 0:
        return 2
    return max(0, min(6, significant - 1 - math.floor(math.log10(abs(scale)))))


def number(value: float | None, places: int | None = None, *, signed: bool = False) -> str:
    """``1234.5`` as ``1,234.5``; without ``places``, about four significant digits. None is a dash."""
    if value is None:
        return "–"
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else f"{MINUS}∞"
    if places is None:
        text = _short(value)
    else:
        text = f"{abs(value):,.{places}f}"
    negative = value < 0 and any(c in "123456789" for c in text)
    sign = MINUS if negative else "+" if signed and value > 0 else ""
    return sign + text


def _short(value: float) -> str:
    size = abs(value)
    if size == int(size) and size < 1e7:
        return f"{int(size):,}"
    if size >= 1e7 or (0 < size < 1e-4):
        return f"{size:.3g}".replace("e+0", "e").replace("e-0", "e-").replace("e+", "e")
    text = f"{size:,.{decimals(size, 5 if size < 10 else 4)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def large(value: float) -> str:
    """``9.1 M``, ``13.2 G``: counts such as parameters and MACs, four digits."""
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{number(float(f'{value / size:.4g}'))} {letter}"
    return number(float(f"{value:.4g}"))


def places_for(estimate: Estimate) -> int:
    """Decimal places for an estimate: two digits of the half-width of its 95 % interval."""
    half = (estimate.high - estimate.low) / 2
    if not math.isfinite(half) or half <= 0:
        return decimals(estimate.mean, 3)
    return decimals(half)


def interval(estimate: Estimate | None, *, signed: bool = False, places: int | None = None) -> str:
    """``+1.42 [+0.80, +2.04]``; with one seed there is no interval, and the text says so."""
    if estimate is None:
        return "–"
    digits = places_for(estimate) if places is None else places
    mean = number(estimate.mean, digits, signed=signed)
    if not bounded(estimate):
        return f"{mean} (n = {estimate.n}, no interval)"
    low, high = (number(v, digits, signed=signed) for v in (estimate.low, estimate.high))
    return f"{mean} [{low}, {high}]"


def bounded(estimate: Estimate) -> bool:
    """True when the estimate has a finite interval (two seeds or more)."""
    return estimate.n > 1 and math.isfinite(estimate.low) and math.isfinite(estimate.high)


def p_value(value: float | None) -> str:
    """``0.012``, ``< 0.0001``, or a dash."""
    if value is None:
        return "–"
    if value < 1e-4:
        return "< 0.0001"
    return f"{value:.4f}" if value < 0.01 else f"{value:.3f}"


def duration(seconds: float) -> str:
    """``42 s``, ``3 min 20 s``, ``2 h 05 min``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def plural(count: int, noun: str) -> str:
    """``1 claim``, ``2 claims``."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")
