"""What may be concluded: a study and its records in, one verdict per registered claim out (STATISTICS).

The parts live in ``replicate.verdicts``; this module is the door.
"""

from __future__ import annotations

from collections.abc import Mapping

from replicate.errors import UserError
from replicate.judgement import Judgement
from replicate.manifest import Manifest
from replicate.records import Record
from replicate.stats import ALPHA, Prior, stage_alphas
from replicate.study import ANALYSIS_VERSION, Study
from replicate.tasks.base import Checked, Gate, Metric
from replicate.verdicts.claims import judge_claims
from replicate.verdicts.contrasts import judge_contrasts
from replicate.verdicts.digests import claim_digest, contrast_digest
from replicate.verdicts.sheet import Sheet

__all__ = ["claim_digest", "contrast_digest", "judge", "look_alpha"]


def look_alpha(study: Study) -> float:
    """Level of each one-sided family at this look: the whole 0.05, or this look's share of a planned extension."""
    if not study.looks:
        return ALPHA
    if study.planned_n not in study.looks:
        raise UserError(
            f"study of {study.slug} plans looks at {', '.join(map(str, study.looks))} seeds, "
            f"not at {study.planned_n}: extend it to the next planned number"
        )
    return stage_alphas(study.looks)[study.looks.index(study.planned_n)]


def judge(
    manifest: Manifest,
    study: Study,
    records: Mapping[str, Record],
    *,
    metrics: Mapping[str, Metric],
    gate: Gate | None = None,
    protocol: str = "reduced",
    checks: Mapping[str, Checked] | None = None,
    command: str = "",
    prior: Prior | None = None,
) -> Judgement:
    """Judge every claim of ``manifest`` on the records that ``study`` planned.

    ``records`` maps key -> record and may hold more than the study names. ``metrics`` are the task's, ``gate`` and
    ``protocol`` the profile's. ``checks`` are results of checks.py by name. ``prior`` is what A/A groups of this
    domain and scale say about the variance of one arm (``stats.fit_prior``); without it the own sd is used.
    Raises UserError when records of another profile are mixed in, or the study is at no planned look.
    """
    sheet = Sheet(manifest, study, records, metrics, gate, protocol, look_alpha(study), prior)
    results = judge_contrasts(sheet)
    verdicts = judge_claims(sheet, results, checks or {}, command)
    gates = {arm: result for arm in study.keys if arm in manifest.arms and (result := sheet.gate_of(arm)) is not None}
    notes = list(study.notes)
    if study.analysis_version != ANALYSIS_VERSION:
        notes.append(
            f"planned under analysis version {study.analysis_version}, judged by version {ANALYSIS_VERSION}: "
            "confirmatory only on seeds unused before the change"
        )
    return Judgement(
        slug=manifest.slug,
        scale=study.scale,
        reduced=sheet.reduced,
        alpha=sheet.alpha,
        contrasts=list(results.values()),
        verdicts=verdicts,
        gates=gates,
        notes=tuple(notes),
    )
