"""From a study's objects to a ``PaperReport``: arm summaries, gates, checks, environments."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from replicate.judgement import Estimate, Judgement, Verdict, Word
from replicate.manifest import Manifest
from replicate.records import Record
from replicate.report.model import ArmSummary, CheckLine, ClaimRow, Environment, GateLine, PaperReport
from replicate.study import Study
from replicate.tasks.base import Checked, Gate, Metric


def build(
    manifest: Manifest,
    study: Study,
    judgement: Judgement,
    records: Mapping[str, Record],
    *,
    metrics: Mapping[str, Metric] | None = None,
    gate: Gate | None = None,
    checks: Mapping[str, Checked] | None = None,
    check_says: Mapping[str, str] | None = None,
    stale: Collection[str] = (),
    metric_families: Mapping[str, Sequence[str]] | None = None,
    cost_axis: str | None = None,
    paper_path: str | None = None,
    commands: Mapping[str, str] | None = None,
) -> PaperReport:
    """Put a report together. ``records`` may hold more than the study's; only the study's are kept.

    A claim without a verdict in ``judgement`` is shown as PENDING: the denominator is all registered claims.
    """
    keep = {key for seeds in study.keys.values() for key in seeds.values()}
    kept = {key: records[key] for key in sorted(keep) if key in records}
    verdicts = {v.claim: v for v in judgement.verdicts}
    rows = tuple(
        ClaimRow(c, verdicts.get(c.id) or Verdict(c.id, Word.PENDING, "not judged yet", scale=study.scale))
        for c in manifest.claims
    )
    path = paper_path or f"papers/{manifest.slug}"
    arms = tuple(_summarise(manifest, study, name, kept, metrics or {}) for name in study.keys)
    return PaperReport(
        manifest=manifest,
        study=study,
        rows=rows,
        contrasts=tuple(judgement.contrasts),
        gates=_gate_lines(judgement, gate, study.keys),
        records=kept,
        arms=arms,
        checks=_check_lines(manifest, checks or {}, check_says or {}),
        environments=_environments(kept.values()),
        metrics=dict(metrics or {}),
        stale=frozenset(stale) & frozenset(kept),
        commands={
            "run": f"replicate run {path} --scale {study.scale}",
            "check": f"replicate check {path}",
            "report": f"replicate report {path}",
            **(commands or {}),
        },
        paper_path=path,
        reduced=judgement.reduced,
        alpha=judgement.alpha,
        notes=tuple(judgement.notes),
        metric_families={k: tuple(v) for k, v in (metric_families or {}).items()},
        cost_axis=cost_axis,
    )


def mean_over(per_seed: Mapping[int, float]) -> Estimate:
    """Mean with its Student-t intervals; no p-values, since "greater than zero" is no question here."""
    from replicate.stats import estimate  # scipy: the terminal table imports this module at start-up

    return replace(estimate(per_seed), p=None, p_opposite=None)


def _summarise(
    manifest: Manifest, study: Study, name: str, records: Mapping[str, Record], metrics: Mapping[str, Metric]
) -> ArmSummary:
    seeds = study.keys[name]
    found = {int(seed): records[key] for seed, key in seeds.items() if key in records}
    done = {seed: record for seed, record in sorted(found.items()) if record.done}
    spec = manifest.arms.get(name)
    options = next((r.spec.options for r in done.values()), spec.options if spec else {})
    names = list(dict.fromkeys(m for r in done.values() for m in r.metrics))
    costs = list(dict.fromkeys(c for r in done.values() for c in r.cost))
    return ArmSummary(
        name=name,
        role=spec.role if spec else "variant",
        says=spec.says if spec else "",
        builder=next((r.spec.builder for r in found.values()), spec.builder if spec else ""),
        options=dict(options),
        planned=len(seeds),
        done=len(done),
        diverged=sum(r.status == "diverged" for r in done.values()),
        failed=sum(not r.done for r in found.values()),
        metrics={m: mean_over(v) for m in names if (v := _scores(done, m, metrics.get(m)))},
        cost={c: mean_over(v) for c in costs if (v := {s: r.cost[c] for s, r in done.items() if c in r.cost})},
        seconds=statistics.fmean(r.seconds for r in done.values()) if done else 0.0,
        keys=tuple(r.key for r in done.values()),
    )


def _scores(done: Mapping[int, Record], name: str, metric: Metric | None) -> dict[int, float]:
    scores = {}
    for seed, record in done.items():
        if record.status == "diverged" and metric is not None:
            scores[seed] = metric.worst
        elif name in record.metrics:
            scores[seed] = float(record.metrics[name])
    return scores


def _gate_lines(judgement: Judgement, gate: Gate | None, arms: Iterable[str]) -> tuple[GateLine, ...]:
    """Gates in arm order; an arm whose planned seeds are not all there is pending."""
    why = gate.why if gate else ""
    lines = []
    for arm in arms:
        got = judgement.gates.get(arm)
        if got is not None:
            lines.append(GateLine(arm, got.metric, got.floor, got.value, got.passed, why))
        elif gate is not None:
            lines.append(GateLine(arm, gate.metric, gate.floor, None, None, why))
    return tuple(lines)


def _check_lines(manifest: Manifest, checks: Mapping[str, Checked], says: Mapping[str, str]) -> tuple[CheckLine, ...]:
    used: dict[str, list[str]] = {}
    for claim in manifest.claims:
        if claim.check:
            used.setdefault(claim.check, []).append(claim.id)
    return tuple(
        CheckLine(name, c.ok, c.value, c.expected, c.detail, says.get(name, ""), tuple(used.get(name, ())))
        for name, c in checks.items()
    )


def _environments(records: Iterable[Record]) -> tuple[Environment, ...]:
    seen: dict[str, list[Any]] = {}
    for record in records:
        machine = dict(record.provenance.get("machine") or {})
        versions = dict(record.provenance.get("versions") or {})
        entry = seen.setdefault(repr((sorted(machine.items()), sorted(versions.items()))), [0, machine, versions])
        entry[0] += 1
    return tuple(Environment(*entry) for _, entry in sorted(seen.items(), key=lambda e: (-e[1][0], e[0])))
