"""From results to claims: one verdict for each registered claim, none dropped, the first rule that matches."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from replicate.judgement import ContrastResult, Estimate, Verdict, Word
from replicate.manifest import Claim
from replicate.stats import estimate
from replicate.tasks.base import Checked
from replicate.verdicts import sizes, words
from replicate.verdicts.contrasts import EDITED
from replicate.verdicts.digests import claim_digest
from replicate.verdicts.sheet import Sheet

_WEAKEST_FIRST = (
    Word.NOT_TESTED,
    Word.PENDING,
    Word.INCONCLUSIVE_GATE,
    Word.CONTRADICTED,
    Word.OPPOSITE,
    Word.INCONCLUSIVE,
    Word.NOT_SPECIFIC,
    Word.SPECIFICITY_OPEN,
    Word.SUPPORTED,
)
"""A claim over several contrasts holds when each holds: it takes the first of these words among them."""


@dataclass(frozen=True)
class Found:
    """A word with its sentence and numbers, before it becomes a Verdict."""

    word: Word
    says: str
    ours: Estimate | None = None
    against: Estimate | None = None
    keys: tuple[str, ...] = ()
    computed: float | None = None


def judge_claims(
    sheet: Sheet, results: Mapping[str, ContrastResult], checks: Mapping[str, Checked], command: str
) -> list[Verdict]:
    """One verdict per claim, in the manifest's order."""
    judged = _sizes(sheet, results)
    verdicts = []
    for claim in sheet.manifest.claims:
        structural = claim.kind == "structural"
        found = _structural(claim, checks) if structural else _trained(sheet, results, judged, claim)
        if claim.blocked is not None:
            found = Found(Word.BLOCKED, f"{claim.blocked.why}: {claim.blocked.says}")
        verdicts.append(
            Verdict(
                claim=claim.id,
                word=found.word,
                says=found.says,
                scale=None if structural or claim.blocked else sheet.scale,
                reduced=sheet.reduced and not structural and claim.blocked is None,
                ours=found.ours,
                against=found.against,
                computed=found.computed,
                contrasts=claim.contrasts,
                keys=found.keys,
                command=f"replicate check {sheet.manifest.slug}" if structural else command,
            )
        )
    return verdicts


def _structural(claim: Claim, checks: Mapping[str, Checked]) -> Found:
    checked = checks.get(claim.check or "")
    if checked is None:
        return Found(Word.PENDING, f"check {claim.check!r} has not been run: replicate check")
    detail, ok = checked.detail or ("holds" if checked.ok else "does not hold"), checked.ok
    stated, value = claim.value, checked.value
    # the claim's own tolerance binds when the check speaks in the claim's unit
    same_unit = stated is not None and checked.expected is not None and math.isclose(stated, checked.expected)
    if ok and same_unit and stated is not None and value is not None and claim.tolerance is not None:
        ok = abs(value - stated) <= claim.tolerance
        if not ok:
            detail = f"computed {value:.6g}, stated {stated:g}, tolerance {claim.tolerance:g}; {detail}"
    return Found(Word.EXACT if ok else Word.REFUTED, detail, computed=value)


def _trained(
    sheet: Sheet, results: Mapping[str, ContrastResult], judged: Mapping[str, sizes.Size], claim: Claim
) -> Found:
    scale = sheet.scale
    if claim.kind == "qualitative":
        return Found(Word.NOT_TESTED, "qualitative: shown for a person to sign, never counted in a rate")
    if scale == "smoke":
        return Found(Word.NOT_TESTED, "smoke runs judge no trained claim")
    if scale == "weights" and claim.kind != "absolute":
        return Found(Word.NOT_TESTED, "released weights say nothing about a comparison of trained arms")
    if claim.kind in ("gain", "absolute") and sheet.reduced:
        return _shown_only(sheet, results, claim)
    if _is_size(sheet, claim):
        found = _size_verdict(sheet, results, judged, claim)
    else:
        found = _combined(sheet, results, claim)
    if found.word != Word.NOT_TESTED and sheet.study.claims.get(claim.id) != claim_digest(claim):
        known = claim.id in sheet.study.claims
        return Found(Word.PENDING, EDITED if known else "added after the study: needs unused seeds", keys=found.keys)
    return found


def _combined(sheet: Sheet, results: Mapping[str, ContrastResult], claim: Claim) -> Found:
    parts = [results[c] for c in claim.contrasts]
    if not parts:
        return Found(Word.NOT_TESTED, "names no contrast that could be run")
    keys = tuple(dict.fromkeys(key for part in parts for key in part.keys))
    ours = parts[0].effect if len(parts) == 1 else None
    word = min((part.word for part in parts), key=_WEAKEST_FIRST.index)
    if claim.kind == "efficiency" and word != Word.NOT_TESTED:
        refusal = _machines(sheet, claim)
        if refusal is not None:
            return Found(refusal[0], refusal[1], ours, keys=keys)
    if len(parts) == 1:
        return Found(word, parts[0].says, ours, keys=keys)
    deciding = [p for p in parts if p.word == word]
    held = sum(p.word == Word.SUPPORTED for p in parts)
    says = f"{held} of {len(parts)} contrasts supported; " + " | ".join(f"{p.contrast}: {p.says}" for p in deciding)
    return Found(word, says, ours, keys=keys)


def _machines(sheet: Sheet, claim: Claim) -> tuple[Word, str] | None:
    """An efficiency ratio is measured on one machine in one run; a CPU never judges a GPU's time."""
    for contrast_id in claim.contrasts:
        contrast = sheet.manifest.contrast(contrast_id)
        for seed in sheet.study.seeds[: sheet.study.planned_n]:
            pair = [sheet.record(arm, seed) for arm in (contrast.better, contrast.worse)]
            devices = {r.spec.device.split(":")[0] for r in pair if r is not None}
            if claim.device is not None and devices - {claim.device}:
                return (
                    Word.NOT_TESTED,
                    f"the paper timed a {claim.device} device, these records are of another kind",
                )
            machines = {repr(r.provenance.get("machine")) for r in pair if r is not None}
            if len(machines) > 1 or len(devices) > 1:
                return Word.PENDING, f"measured on different machines at seed {seed}: run both arms on one"
    return None


def _is_size(sheet: Sheet, claim: Claim) -> bool:
    """Whether the claim is compared with its printed number at this scale (sheet not reduced, or weights)."""
    if sheet.reduced or not sizes.states_number(claim):
        return False
    if claim.kind == "efficiency":
        margin = claim.margin is not None or claim.value is None
        return margin and len(claim.contrasts) == 1
    return claim.kind in ("gain", "absolute")


def _shown_only(sheet: Sheet, results: Mapping[str, ContrastResult], claim: Claim) -> Found:
    """Size at reduced scale: NOT TESTED, ours beside theirs, and the sign of a gain in words."""
    if claim.kind == "absolute" and claim.arm is not None:
        column = sheet.column(claim.arm, claim.metric)
        if column.problem or not column.values:
            return Found(Word.NOT_TESTED, "absolute value: judged at full scale only", keys=column.keys)
        ours = sheet.arm_estimate(claim.arm, claim.metric)
        shown = words.measured(ours, sheet.metric(claim.metric).unit, signed=False)
        return Found(
            Word.NOT_TESTED, f"absolute value: judged at full scale only; ours here {shown}", ours, keys=column.keys
        )
    parts = [results[c] for c in claim.contrasts]
    keys = tuple(dict.fromkeys(key for part in parts for key in part.keys))
    sign = " | ".join(f"{p.word.value} ({p.says})" for p in parts)
    says = "size of the gain: judged at full scale only" + (f"; its sign here: {sign}" if sign else "")
    return Found(Word.NOT_TESTED, says, parts[0].effect if parts else None, keys=keys)


def _sizes(sheet: Sheet, results: Mapping[str, ContrastResult]) -> dict[str, sizes.Size]:
    """Sizes of every claim that is judged against its number, Holm-corrected together."""
    found: dict[str, sizes.Size] = {}
    pending = 0
    for claim in sheet.manifest.claims:
        if claim.blocked is not None or sheet.scale == "weights" or not _is_size(sheet, claim):
            continue
        obstacle = _size_obstacle(sheet, results, claim)
        if obstacle is not None:
            pending += obstacle.word == Word.PENDING
            continue
        if claim.kind == "absolute" and claim.arm is not None:
            values = sheet.column(claim.arm, claim.metric).values
            found[claim.id] = sizes.size_of_value(claim, values, sheet.prior)
            continue
        contrast = sheet.manifest.contrast(claim.contrasts[0])
        better, worse = (sheet.column(a, contrast.metric).values for a in (contrast.better, contrast.worse))
        if claim.kind == "gain":
            found[claim.id] = sizes.size_of_gain(claim, better, worse, sheet.prior)
        else:
            found[claim.id] = sizes.size_of_value(claim, _ratios(claim, better, worse), None)
    return sizes.correct(found, pending)


def _ratios(claim: Claim, better: Mapping[int, float], worse: Mapping[int, float]) -> dict[int, float]:
    """better / worse by seed; as a change in percent when the claim's unit says percent."""
    percent = claim.unit.strip().lower().startswith(("percent", "%"))
    ratio = {s: better[s] / worse[s] for s in better if s in worse and worse[s] != 0}
    return {s: 100 * (r - 1) if percent else r for s, r in ratio.items()}


def _size_obstacle(sheet: Sheet, results: Mapping[str, ContrastResult], claim: Claim) -> Found | None:
    """Why the number cannot be compared yet: scale, missing records, gate, or several contrasts."""
    if claim.kind == "absolute":
        return _absolute_obstacle(sheet, claim)
    parts = [results[c] for c in claim.contrasts]
    if not parts:
        return Found(Word.NOT_TESTED, "names no contrast that could be run")
    if len(parts) > 1:
        return Found(Word.NOT_TESTED, "a size over several contrasts is ambiguous: split the claim")
    part = parts[0]
    if part.word in (Word.NOT_TESTED, Word.PENDING, Word.INCONCLUSIVE_GATE) and not _complete(sheet, claim, part):
        return Found(part.word, part.says, part.effect, keys=part.keys)
    if claim.kind == "efficiency":
        refusal = _machines(sheet, claim)
        if refusal is not None:
            return Found(refusal[0], refusal[1], part.effect, keys=part.keys)
    return None


def _complete(sheet: Sheet, claim: Claim, part: ContrastResult) -> bool:
    """A size does not wait for an earlier primary or for the placebo: only for its own two arms and the gate."""
    contrast = sheet.manifest.contrast(part.contrast)
    if part.word != Word.PENDING or part.says == EDITED:
        return False
    arms = (contrast.better, contrast.worse)
    gates = [sheet.gate_of(a) for a in sheet.gated_arms(*arms)]
    own = all(sheet.column(a, contrast.metric).problem is None for a in arms)
    return own and all(g is not None and g.passed for g in gates) and not part.says.startswith("not comparable")


def _absolute_obstacle(sheet: Sheet, claim: Claim) -> Found | None:
    arm = claim.arm
    if arm is None or arm not in sheet.study.keys:
        return Found(Word.NOT_TESTED, f"{arm} not run at {sheet.scale}")
    column = sheet.column(arm, claim.metric)
    gated = () if sheet.scale == "weights" or sheet.gate is None else sheet.gated_arms(arm)
    columns = [column, *(sheet.column(a, sheet.gate.metric) for a in gated if sheet.gate is not None)]
    problems = dict.fromkeys(c.problem for c in columns if c.problem is not None)
    if problems:
        return Found(Word.PENDING, "; ".join(problems), keys=column.keys)
    for name in gated:
        gate = sheet.gate_of(name)
        if gate is not None and not gate.passed:
            says = f"{name} did not pass the gate: {gate.metric} {words.number(gate.value)}, floor {gate.floor:g}"
            return Found(Word.INCONCLUSIVE_GATE, says, estimate(column.values), keys=column.keys)
    return None


def _size_verdict(
    sheet: Sheet, results: Mapping[str, ContrastResult], judged: Mapping[str, sizes.Size], claim: Claim
) -> Found:
    obstacle = _size_obstacle(sheet, results, claim)
    if obstacle is not None:
        return obstacle
    unit = claim.unit
    if claim.kind == "absolute" and claim.arm is not None:
        keys = sheet.column(claim.arm, claim.metric).keys
        if sheet.scale == "weights":
            ours = sheet.arm_estimate(claim.arm, claim.metric)
            word, says = sizes.word_of_weights(claim, ours, unit)
            return Found(word, says, ours, keys=keys)
    else:
        keys = results[claim.contrasts[0]].keys
    size = judged[claim.id]
    word, says = sizes.word_of(size, unit, sheet.alpha)
    return Found(word, says, size.ours, size.against, keys)
