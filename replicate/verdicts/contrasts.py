"""Planned contrasts: measure each, correct them together, then say what each shows.

Families (each at the level of this look):

- superiority of the primaries: fixed sequence, each only if the one before it holds;
- superiority of the secondaries that this scale judges: Holm over all of them;
- the opposite direction, the comparison with the placebo, and "the placebo reaches more than half of the gain":
  Holm, the primaries among themselves and the secondaries among themselves. The sequence orders what the paper
  hopes for; a contradiction or a failed control of a later primary does not have to wait for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from replicate.judgement import ContrastResult, Estimate, Word
from replicate.manifest import Contrast
from replicate.stats import (
    equivalence_p,
    equivalence_seeds,
    estimate,
    fixed_sequence,
    holm,
    item_bootstrap,
    outside_p,
    paired_differences,
    seeds_needed,
    smallest_effect,
    smallest_margin,
)
from replicate.verdicts import words
from replicate.verdicts.digests import contrast_digest
from replicate.verdicts.sheet import Column, Sheet

EDITED = "edited after the study: needs unused seeds"


@dataclass
class Measured:
    """One contrast on its way to a result: numbers first, then adjusted p-values, then the word."""

    contrast: Contrast
    columns: Mapping[str, Column]
    word: Word | None = None
    says: str = ""
    effect: Estimate | None = None
    over_placebo: Estimate | None = None
    share: Estimate | None = None
    placebo_note: str = ""
    over_items: tuple[float, float] | None = None
    test_alpha: float = 0.05
    """Level that a power statement about this contrast assumes."""
    note: str = ""
    arms: Mapping[str, Estimate] = field(default_factory=dict)


def judge_contrasts(sheet: Sheet) -> dict[str, ContrastResult]:
    """One result for each contrast of the manifest, in its order."""
    measured = [_measure(sheet, contrast) for contrast in sheet.manifest.contrasts]
    _adjust_primaries(sheet, measured)
    _adjust_secondaries(sheet, measured)
    return {m.contrast.id: _decide(sheet, m) for m in measured}


# ---- measuring ------------------------------------------------------------------------------------------------


def _measure(sheet: Sheet, contrast: Contrast) -> Measured:
    named = [contrast.better, contrast.worse]
    placebo = contrast.placebo if contrast.placebo in sheet.study.keys else None
    arms = dict.fromkeys([*named, *([placebo] if placebo else [])])
    columns = {arm: sheet.column(arm, contrast.metric) for arm in arms}
    m = Measured(contrast, columns, test_alpha=sheet.alpha)
    m.word, m.says = _not_judged(sheet, m)
    if any(columns[arm].problem for arm in columns) or not all(columns[arm].values for arm in named):
        return m
    _estimate(sheet, m, placebo)
    if m.word is None:
        m.word, m.says = _gate(sheet, m)
    return m


def _not_judged(sheet: Sheet, m: Measured) -> tuple[Word | None, str]:
    contrast, study = m.contrast, sheet.study
    reason = _outside_scale(sheet, contrast)
    if reason:
        return Word.NOT_TESTED, reason
    if study.contrasts[contrast.id] != contrast_digest(contrast):
        return Word.PENDING, EDITED
    gated = [a for a in sheet.gated_arms(contrast.better, contrast.worse) if sheet.gate is not None]
    columns = [*m.columns.values(), *(sheet.column(a, sheet.gate.metric) for a in gated if sheet.gate is not None)]
    problems = dict.fromkeys(c.problem for c in columns if c.problem is not None)
    if problems:
        return Word.PENDING, "; ".join(problems)
    mixed = _different_substrates(m)
    return (Word.PENDING, mixed) if mixed else (None, "")


def _outside_scale(sheet: Sheet, contrast: Contrast) -> str:
    """Why this scale does not judge the contrast; empty when it does."""
    scale, study = sheet.scale, sheet.study
    if scale == "smoke":
        return "smoke runs judge no trained claim"
    if scale == "weights":
        return "released weights say nothing about a comparison of trained arms"
    if contrast.id not in study.contrasts:
        return f"not planned in this study at {scale}"
    if scale in ("quick", "long") and scale not in contrast.scales:
        return f"not planned at {scale} (planned: {', '.join(contrast.scales)})"
    if scale == "quick" and contrast.primary is None and sheet.reduced:
        return "quick judges primary contrasts only: run the long scale"
    absent = [arm for arm in (contrast.better, contrast.worse) if arm not in study.keys]
    return f"{' and '.join(absent)} not run at {scale}" if absent else ""


def _different_substrates(m: Measured) -> str:
    """Arms that start from trained substrates must start from the same ones, seed by seed."""
    used: dict[tuple[int, str], str] = {}
    for column in m.columns.values():
        for seed, substrates in column.substrates.items():
            for name, key in substrates.items():
                if used.setdefault((seed, name), key) != key:
                    return f"not comparable: the arms start from different {name!r} at seed {seed}"
    return ""


def _estimate(sheet: Sheet, m: Measured, placebo: str | None) -> None:
    contrast = m.contrast
    sign = 1.0 if sheet.metric(contrast.metric).higher_is_better else -1.0
    better, worse = m.columns[contrast.better].values, m.columns[contrast.worse].values
    gain = paired_differences(better, worse, sign)
    m.effect = estimate(gain)
    m.arms = {arm: sheet.arm_estimate(arm, contrast.metric) for arm in m.columns}
    m.over_items = _items(sheet, contrast, sign)
    if contrast.relation == "equivalent" and contrast.margin is not None:
        m.effect = replace(
            m.effect, p=equivalence_p(m.effect, contrast.margin), p_opposite=outside_p(m.effect, contrast.margin)
        )
    elif placebo is not None:
        control = m.columns[placebo].values
        m.over_placebo = estimate(paired_differences(better, control, sign))
        reached = paired_differences(control, worse, sign)
        m.share = estimate({seed: reached[seed] - gain[seed] / 2 for seed in gain})
        gate = sheet.gate_of(placebo)
        if gate is not None and not gate.passed:
            m.placebo_note = (
                f"the placebo {placebo} is below the gate ({words.number(gate.value)} against a floor of "
                f"{words.number(gate.floor)} {gate.metric}) and certifies nothing"
            )
    elif contrast.placebo is not None:
        m.placebo_note = f"the placebo {contrast.placebo} was not run at {sheet.scale}"


def _items(sheet: Sheet, contrast: Contrast, sign: float) -> tuple[float, float] | None:
    """Interval over test items, when every run of both arms kept its per-item scores of this metric."""
    scores: tuple[dict[int, Sequence[float]], dict[int, Sequence[float]]] = ({}, {})
    clusters: Sequence[float] | None = None
    for seed in sheet.study.seeds[: sheet.study.planned_n]:
        for side, arm in zip(scores, (contrast.better, contrast.worse), strict=True):
            record = sheet.record(arm, seed)
            if record is None or contrast.metric not in record.items:
                return None
            side[seed] = record.items[contrast.metric]
            clusters = record.items.get("cluster", clusters)
    if len({len(s) for side in scores for s in side.values()}) != 1:
        return None
    low, high = item_bootstrap(*scores, clusters)
    return (low, high) if sign > 0 else (-high, -low)


def _gate(sheet: Sheet, m: Measured) -> tuple[Word | None, str]:
    for arm in sheet.gated_arms(m.contrast.better, m.contrast.worse):
        gate = sheet.gate_of(arm)
        if gate is not None and not gate.passed:
            return Word.INCONCLUSIVE_GATE, (
                f"{arm} did not pass the gate: {gate.metric} {words.number(gate.value)} (n = {gate.n}), "
                f"the floor fixed beforehand is {words.number(gate.floor)}"
            )
    worse = sheet.gate_of(m.contrast.worse)
    if worse is not None and not worse.passed:
        m.note = f"{m.contrast.worse} itself is below the gate"
    return None, ""


# ---- correcting for many questions ----------------------------------------------------------------------------


def _p_of(e: Estimate | None) -> float:
    return 1.0 if e is None or e.p is None else e.p


def _opposite_of(e: Estimate | None) -> float:
    return 1.0 if e is None or e.p_opposite is None else e.p_opposite


def _counts(m: Measured) -> bool:
    """Whether the contrast's own numbers may speak; otherwise it keeps its place in the family with p = 1."""
    return m.word is None


def _controls(family: Sequence[Measured], extra: int) -> None:
    """Holm over the opposite direction, the placebo comparisons and the half-gain tests of one group."""
    opposite = holm([_opposite_of(m.effect) if _counts(m) else 1.0 for m in family] + [1.0] * extra)
    placebos = [m for m in family if m.contrast.placebo is not None and m.contrast.relation == "greater"]
    over = holm([_p_of(m.over_placebo) if _counts(m) else 1.0 for m in placebos] + [1.0] * extra)
    share = holm([_p_of(m.share) if _counts(m) else 1.0 for m in placebos] + [1.0] * extra)
    for m, p in zip(family, opposite, strict=False):
        if m.effect is not None and _counts(m):
            m.effect = replace(m.effect, p_opposite_adjusted=p)
    for m, p_over, p_share in zip(placebos, over, share, strict=False):
        if m.over_placebo is not None and m.share is not None and _counts(m):
            m.over_placebo = replace(m.over_placebo, p_adjusted=p_over)
            m.share = replace(m.share, p_adjusted=p_share)


def _adjust_primaries(sheet: Sheet, measured: Sequence[Measured]) -> None:
    tested = [m for m in measured if m.contrast.primary is not None and m.word != Word.NOT_TESTED]
    tested.sort(key=lambda m: m.contrast.primary or 0)
    adjusted = fixed_sequence([_p_of(m.effect) if _counts(m) else 1.0 for m in tested])
    waits_for = ""
    for m, p in zip(tested, adjusted, strict=True):
        if _counts(m) and waits_for:
            m.word, m.says = Word.PENDING, f"tested only after primary contrast {waits_for}, which is pending"
        elif _counts(m) and m.effect is not None:
            m.effect = replace(m.effect, p_adjusted=p)
            if p > sheet.alpha >= _p_of(m.effect):
                m.note = "; ".join(filter(None, [m.note, "not counted: a primary contrast before it did not hold"]))
        if m.word == Word.PENDING and not waits_for:
            waits_for = m.contrast.id
    _controls(tested, 0)


def _adjust_secondaries(sheet: Sheet, measured: Sequence[Measured]) -> None:
    tested = [m for m in measured if m.contrast.primary is None and m.word != Word.NOT_TESTED]
    # a contrast that the study planned and the manifest no longer has still counts: dropping it would make the
    # others significant
    known = {m.contrast.id for m in measured}
    dropped = sum(1 for contrast_id in sheet.study.contrasts if contrast_id not in known)
    adjusted = holm([_p_of(m.effect) if _counts(m) else 1.0 for m in tested] + [1.0] * dropped)
    for m, p in zip(tested, adjusted, strict=False):
        m.test_alpha = sheet.alpha / (len(tested) + dropped)
        if m.effect is not None and _counts(m):
            m.effect = replace(m.effect, p_adjusted=p)
    _controls(tested, dropped)


# ---- deciding -------------------------------------------------------------------------------------------------


def _decide(sheet: Sheet, m: Measured) -> ContrastResult:
    smallest: float | None = None
    needed: int | None = None
    e = m.effect
    if e is not None:
        smallest, needed = _reach(m, e)
    if m.word is None and e is not None:
        m.word, m.says = _word(sheet, m, e, smallest, needed)
    keys = dict.fromkeys(key for column in m.columns.values() for key in column.keys)
    return ContrastResult(
        contrast=m.contrast.id,
        word=m.word or Word.PENDING,
        says=m.says,
        primary=m.contrast.primary,
        n=min(len(m.columns[arm].values) for arm in (m.contrast.better, m.contrast.worse)),
        planned_n=sheet.study.planned_n,
        effect=e,
        over_placebo=m.over_placebo,
        placebo_share=m.share,
        arms=m.arms,
        smallest_effect=smallest,
        seeds_needed=needed,
        over_items=m.over_items,
        diverged={arm: c.diverged for arm, c in m.columns.items() if c.diverged},
        keys=tuple(keys),
    )


def _reach(m: Measured, e: Estimate) -> tuple[float | None, int | None]:
    """What this many seeds could have seen, and the seeds that the observed effect would need."""
    margin = m.contrast.margin
    if m.contrast.relation == "equivalent" and margin is not None:
        return smallest_margin(e.n, e.sd, m.test_alpha), equivalence_seeds(e.mean, margin, e.sd, m.test_alpha)
    return smallest_effect(e.n, e.sd, m.test_alpha), seeds_needed(e.mean, e.sd, m.test_alpha)


def _word(sheet: Sheet, m: Measured, e: Estimate, smallest: float | None, needed: int | None) -> tuple[Word, str]:
    alpha, line = sheet.alpha, _sentence(sheet, m, e)
    opposite = Word.OPPOSITE if sheet.reduced else Word.CONTRADICTED
    if e.p_adjusted is not None and e.p_adjusted <= alpha:
        word, more = _specificity(sheet, m)
        return word, _join(line, more, m.note)
    if e.p_opposite_adjusted is not None and e.p_opposite_adjusted <= alpha:
        against = f"the opposite is significant ({words.p_value(e.p_opposite_adjusted)} corrected)"
        return opposite, _join(line, against, m.note)
    return Word.INCONCLUSIVE, _join(line, m.note, _could_see(sheet, m, e, smallest, needed))


def _specificity(sheet: Sheet, m: Measured) -> tuple[Word, str]:
    """The verdict once better beats worse: does it beat its placebo, or does the placebo do as well?"""
    contrast, unit = m.contrast, sheet.metric(m.contrast.metric).unit
    if contrast.relation == "equivalent":
        return Word.SUPPORTED, ""
    if contrast.placebo is None:
        return Word.SUPPORTED, f"no placebo: {contrast.placebo_reason}"
    if m.placebo_note or m.over_placebo is None or m.share is None:
        return Word.SPECIFICITY_OPEN, m.placebo_note
    over, share = m.over_placebo, m.share
    corrected = f"{words.p_value(over.p_adjusted)} corrected"
    line = f"over its placebo ({contrast.placebo}): {words.measured(over, unit)}, {corrected}"
    if over.p_adjusted is not None and over.p_adjusted <= sheet.alpha:
        return Word.SUPPORTED, line
    if share.p_adjusted is not None and share.p_adjusted <= sheet.alpha:
        more = f"the placebo reaches more than half of the gain ({words.p_value(share.p_adjusted)} corrected)"
        return Word.NOT_SPECIFIC, f"{line}; {more}"
    return Word.SPECIFICITY_OPEN, line


def _could_see(sheet: Sheet, m: Measured, e: Estimate, smallest: float | None, needed: int | None) -> str:
    if e.n < 2:
        return "one seed has no spread: at least two are needed"
    if smallest is None:
        return f"no spread over {e.n} seeds: the smallest possible p is {0.5**e.n:.2g}"
    unit = sheet.metric(m.contrast.metric).unit
    equivalent = m.contrast.relation == "equivalent"
    what = "margin these seeds could show" if equivalent else "effect these seeds could see"
    seeds = f"about {needed} seeds needed for the observed one"
    if needed is None:
        seeds = "no number of seeds would show the observed one"
    return f"smallest {what}: {words.with_unit(smallest, unit)} (80 % power); {seeds}"


def _sentence(sheet: Sheet, m: Measured, e: Estimate) -> str:
    """``pconv - plain = +2.1 AP [0.9, 3.3], p = 0.003 (n = 5)``; positive is better whatever the metric."""
    metric, contrast = sheet.metric(m.contrast.metric), m.contrast
    names = (contrast.better, contrast.worse) if metric.higher_is_better else (contrast.worse, contrast.better)
    line = f"{names[0]} - {names[1]} = {words.measured(e, metric.unit)}, {words.p_value(e.p)}"
    if e.p is not None and e.p_adjusted is not None and e.p_adjusted != e.p:
        line += f", corrected {words.p_value(e.p_adjusted)}"
    line += f" (n = {e.n})"
    if contrast.relation == "equivalent" and contrast.margin is not None:
        line += f", equivalence margin {words.with_unit(contrast.margin, metric.unit)}"
    lost = [f"{c.diverged} of {len(c.values)} runs of {arm}" for arm, c in m.columns.items() if c.diverged]
    if lost:
        line += f"; diverged, scored {words.number(metric.worst)}: {', '.join(lost)}"
    return line


def _join(*parts: str) -> str:
    return "; ".join(part for part in parts if part)


__all__ = ["EDITED", "judge_contrasts"]
