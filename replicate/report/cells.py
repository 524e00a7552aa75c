"""The words of a claim's cells (theirs, ours, scale), shared by terminal, Markdown and HTML."""

from __future__ import annotations

from dataclasses import dataclass

from replicate.judgement import Estimate, Word
from replicate.manifest import Claim, Contrast
from replicate.report.model import ClaimRow, PaperReport
from replicate.report.numbers import bounded, interval, large, number, places_for


@dataclass(frozen=True)
class Ours:
    """Our side of a claim: text, the number behind it, and whether it only orients (an untested size)."""

    text: str
    value: float | None = None
    path: str = ""
    """Where the number stands in the report's JSON (a JSON pointer)."""
    grey: bool = False


def theirs(claim: Claim, report: PaperReport) -> str:
    """What the paper states, with its unit; for an ordering, the order of the arms."""
    unit = f" {claim.unit}" if claim.unit and claim.unit.lower() not in ("none", "ordering") else ""
    signed = claim.kind == "gain"
    if claim.value is not None:
        text = number(claim.value, signed=signed) + unit
    elif claim.low is not None and claim.high is not None:
        text = f"{number(claim.low, signed=signed)} to {number(claim.high, signed=signed)}{unit}"
    elif claim.low is not None:
        text = f"> {number(claim.low, signed=signed)}{unit}"
    elif claim.high is not None:
        text = f"< {number(claim.high, signed=signed)}{unit}"
    elif claim.contrasts:
        text = "; ".join(order(report.manifest.contrast(c)) for c in claim.contrasts)
    else:
        text = "holds" if claim.kind == "structural" else "stated"
    return text if claim.source.sure else f"{text} (number unsure)"


def order(contrast: Contrast) -> str:
    """``sepc > plain``, or ``a = b`` for an equivalence."""
    sign = ">" if contrast.relation == "greater" else "≈"
    return f"{contrast.better} {sign} {contrast.worse}"


def ours(row: ClaimRow, report: PaperReport) -> list[Ours]:
    """What we measured: a computed number, an estimate, or the effect of each contrast; empty when nothing."""
    claim, verdict = row.claim, row.verdict
    grey = verdict.word in (Word.NOT_TESTED, Word.PENDING, Word.INCONCLUSIVE_GATE)
    if verdict.computed is not None:
        return [Ours(number(verdict.computed), verdict.computed, pointer("claims", claim.id, "computed"))]
    if verdict.ours is not None:
        text = interval(verdict.ours, signed=claim.kind in ("gain", "ordering"))
        return [Ours(text, verdict.ours.mean, pointer("claims", claim.id, "ours", "mean"), grey)]
    found = []
    for contrast_id in verdict.contrasts or claim.contrasts:
        result = report.contrast(contrast_id)
        if result is not None and result.effect is not None:
            text = interval(result.effect, signed=True)
            found.append(Ours(text, result.effect.mean, pointer("contrasts", contrast_id, "effect", "mean"), grey))
    if found or claim.arm is None:
        return found
    arm = report.arm(claim.arm)
    mean = arm.metrics.get(claim.metric) if arm else None
    if mean is None:
        return []
    return [Ours(interval(mean), mean.mean, pointer("arms", claim.arm, "metrics", claim.metric, "mean"), True)]


def pointer(*parts: str) -> str:
    """A JSON pointer (RFC 6901) into ``PaperReport.to_json()``."""
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in parts)


def ours_text(row: ClaimRow, report: PaperReport) -> str:
    """``ours`` in one line."""
    cells = ours(row, report)
    if not cells:
        if row.claim.kind == "structural" and row.verdict.word in (Word.EXACT, Word.REFUTED):
            return "holds" if row.verdict.word is Word.EXACT else "fails"
        return "–"
    text = "; ".join(cell.text for cell in cells)
    return f"({text})" if all(c.grey for c in cells) else text


def scale_text(row: ClaimRow, report: PaperReport) -> str:
    """``quick``, marked when the verdict holds at reduced scale only; exact claims hold at any scale."""
    if row.claim.kind == "structural":
        return "exact"
    scale = row.verdict.scale or report.scale
    judged = row.verdict.word not in (Word.NOT_TESTED, Word.PENDING, Word.BLOCKED)
    return f"{scale}, reduced" if row.verdict.reduced and judged else scale


def theirs_note(claim: Claim) -> str:
    """Where the paper says it, and what kind of number it is."""
    source = "" if claim.source.where == "paper" else f"{claim.source.where}: "
    kind = "" if claim.reporting == "unknown" or claim.kind == "structural" else f", {claim.reporting}"
    runs = f", n = {claim.n}" if claim.n else ""
    return f"{source}{claim.source.locator}{kind}{runs}"


def spread(estimate: Estimate) -> str:
    """Mean and half-width for a compact cell: ``12.3 ± 0.4``."""
    digits = places_for(estimate)
    if not bounded(estimate) or estimate.high == estimate.low:
        return large(estimate.mean) if abs(estimate.mean) >= 1e5 else number(estimate.mean)
    if abs(estimate.mean) >= 1e5:
        return f"{large(estimate.mean)} ± {large((estimate.high - estimate.low) / 2)}"
    return f"{number(estimate.mean, digits)} ± {number((estimate.high - estimate.low) / 2, digits)}"
