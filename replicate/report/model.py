"""``PaperReport``: everything that the terminal, Markdown and HTML show about one study, as plain data."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from replicate.judgement import ContrastResult, Estimate, Verdict, Word
from replicate.manifest import Claim, Deviation, Manifest
from replicate.records import Record
from replicate.report.words import JUDGED_TONES, ORDER, look
from replicate.study import Study
from replicate.tasks.base import SCALES, Checked, Gate, Metric

if TYPE_CHECKING:
    import pandas as pd


class JudgementLike(Protocol):
    """What ``build`` needs of a judgement: each part a mapping by id, or a sequence of results."""

    @property
    def contrasts(self) -> Mapping[str, ContrastResult] | Sequence[ContrastResult]:
        """Results of the planned contrasts."""
        ...

    @property
    def verdicts(self) -> Mapping[str, Verdict] | Sequence[Verdict]:
        """One verdict per registered claim."""
        ...

    @property
    def gates(self) -> Any:
        """Gate results: objects (or mappings) with arm, metric, floor, value or mean, and passed or ok."""
        ...


@dataclass(frozen=True)
class ArmSummary:
    """One arm at this scale: how many of the planned trials are there, and what they measured.

    ``metrics`` and ``cost`` are means over seeds with Student-t intervals; a diverged run is scored at the
    metric's worst value.
    """

    name: str
    role: str
    says: str
    builder: str
    options: Mapping[str, Any]
    planned: int
    done: int
    diverged: int
    failed: int
    metrics: Mapping[str, Estimate]
    cost: Mapping[str, Estimate]
    seconds: float
    """Mean wall seconds of a trial."""
    keys: tuple[str, ...]
    """Keys of the finished trials."""


@dataclass(frozen=True)
class GateLine:
    """One arm against the validity gate of its profile; ``passed`` None: not yet measured."""

    arm: str
    metric: str
    floor: float
    value: float | None
    passed: bool | None
    why: str = ""


@dataclass(frozen=True)
class CheckLine:
    """One exact check; ``claims`` empty: a trap that guards the implementation."""

    name: str
    ok: bool
    value: float | None
    expected: float | None
    detail: str
    says: str
    claims: tuple[str, ...]


@dataclass(frozen=True)
class Environment:
    """One machine with one set of library versions, and how many records it made."""

    records: int
    machine: Mapping[str, Any]
    versions: Mapping[str, Any]


@dataclass(frozen=True)
class ClaimRow:
    """A claim with its verdict."""

    claim: Claim
    verdict: Verdict


@dataclass(frozen=True)
class PaperReport:
    """One paper at one scale: what was planned, what was measured, what may be said."""

    manifest: Manifest
    study: Study
    rows: tuple[ClaimRow, ...]
    """Every registered claim, in the manifest's order."""
    contrasts: tuple[ContrastResult, ...]
    gates: tuple[GateLine, ...]
    records: Mapping[str, Record]
    arms: tuple[ArmSummary, ...]
    checks: tuple[CheckLine, ...] = ()
    environments: tuple[Environment, ...] = ()
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    stale: frozenset[str] = frozenset()
    """Keys of records whose provenance differs from today's code."""
    commands: Mapping[str, str] = field(default_factory=dict)
    paper_path: str = ""
    """What to type for PAPER in a command."""
    metric_families: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Title -> metrics that belong in one figure, for instance AP by object size."""
    cost_axis: str | None = None
    """Cost shown against quality; None: chosen from what the records have."""

    @property
    def slug(self) -> str:
        """The paper's slug."""
        return self.manifest.slug

    @property
    def scale(self) -> str:
        """The study's scale."""
        return self.study.scale

    @property
    def reduced(self) -> bool:
        """True when trained claims are judged at reduced scale only."""
        if any(row.verdict.reduced for row in self.rows):
            return True
        return self.scale not in ("full", "weights")

    @property
    def deviations(self) -> tuple[Deviation, ...]:
        """Deviations that hold at this scale."""
        full = self.scale in ("full", "weights")
        return tuple(
            d for d in self.manifest.deviations if (self.scale in d.scales if d.scales else not full)
        )

    @property
    def counts(self) -> dict[Word, int]:
        """How many claims have each verdict, in report order; the sum is all registered claims."""
        found = Counter(row.verdict.word for row in self.rows)
        return {word: found[word] for word in ORDER if found[word]}

    @property
    def judged(self) -> int:
        """Claims that were decided, one way or the other."""
        return sum(n for word, n in self.counts.items() if look(word).tone in JUDGED_TONES)

    @property
    def planned_trials(self) -> int:
        """Trials of the study."""
        return len({key for seeds in self.study.keys.values() for key in seeds.values()})

    @property
    def done_trials(self) -> int:
        """Trials of the study with a result."""
        keys = {key for seeds in self.study.keys.values() for key in seeds.values()}
        return sum(1 for k in keys if k in self.records and self.records[k].done)

    def arm(self, name: str) -> ArmSummary | None:
        """The summary of one arm, None when this scale does not run it."""
        return next((a for a in self.arms if a.name == name), None)

    def contrast(self, contrast_id: str) -> ContrastResult | None:
        """The result of one contrast, None when this study does not hold it."""
        return next((c for c in self.contrasts if c.contrast == contrast_id), None)

    def keys_of(self, row: ClaimRow) -> tuple[str, ...]:
        """Keys behind a claim: the verdict's own, else those of its contrasts or its arm."""
        if row.verdict.keys:
            return tuple(row.verdict.keys)
        found: dict[str, None] = {}
        for contrast_id in row.verdict.contrasts or row.claim.contrasts:
            result = self.contrast(contrast_id)
            found.update(dict.fromkeys(result.keys if result else ()))
        arm = self.arm(row.claim.arm) if row.claim.arm else None
        found.update(dict.fromkeys(arm.keys if arm else ()))
        return tuple(found)

    def command_for(self, row: ClaimRow) -> str:
        """The command that repeats a claim's verdict."""
        if row.verdict.command:
            return row.verdict.command
        return self.commands["check" if row.claim.kind == "structural" else "run"]

    def to_json(self) -> dict[str, Any]:
        """Everything as JSON-ready data; floats that JSON has no word for become null."""
        full = {
            "paper": self.manifest.model_dump(mode="json", by_alias=True),
            "study": self.study.to_json(),
            "scale": self.scale,
            "reduced": self.reduced,
            "claims": {
                row.claim.id: {
                    **row.verdict.to_json(),
                    "command": self.command_for(row),
                    "keys": list(self.keys_of(row)),
                    "stated": row.claim.model_dump(mode="json"),
                }
                for row in self.rows
            },
            "contrasts": {c.contrast: asdict(c) for c in self.contrasts},
            "gates": {g.arm: asdict(g) for g in self.gates},
            "arms": {a.name: asdict(a) for a in self.arms},
            "checks": {c.name: asdict(c) for c in self.checks},
            "deviations": [d.model_dump(mode="json") for d in self.deviations],
            "environments": [asdict(e) for e in self.environments],
            "metrics": {name: asdict(m) for name, m in self.metrics.items()},
            "commands": dict(self.commands),
            "stale": sorted(self.stale),
            "summary": {
                "claims": len(self.rows),
                "judged": self.judged,
                "by_verdict": {word.value: n for word, n in self.counts.items()},
                "trials_planned": self.planned_trials,
                "trials_done": self.done_trials,
            },
            "records": {key: self.records[key].to_json() for key in sorted(self.records)},
        }
        clean: dict[str, Any] = _plain(full)
        return clean

    def frame(self) -> pd.DataFrame:
        """Tidy table of the records: one row per arm, seed and measured number (kind metric or cost)."""
        import pandas as pd

        columns = ["slug", "scale", "arm", "seed", "key", "status", "stale", "kind", "name", "value"]
        lines = [
            (self.slug, record.spec.scale, arm, record.spec.seed, key, record.status, key in self.stale, kind, n, v)
            for arm, key, record in self.trials()
            for kind, values in (("metric", record.metrics), ("cost", record.cost))
            for n, v in values.items()
        ]
        return pd.DataFrame(lines, columns=columns)

    def trials(self) -> list[tuple[str, str, Record]]:
        """(arm, key, record) of every trial of the study that has a record, arms and seeds in order."""
        return [
            (arm, key, self.records[key])
            for arm, seeds in self.study.keys.items()
            for _, key in sorted(seeds.items(), key=lambda item: int(item[0]))
            if key in self.records
        ]


def build(
    manifest: Manifest,
    study: Study,
    judgement: JudgementLike,
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
    verdicts = {v.claim: v for v in _values(judgement.verdicts)}
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
        contrasts=tuple(_values(judgement.contrasts)),
        gates=_gate_lines(judgement.gates, gate),
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
        metric_families={k: tuple(v) for k, v in (metric_families or {}).items()},
        cost_axis=cost_axis,
    )


def strongest(reports: Sequence[PaperReport]) -> list[tuple[ClaimRow, PaperReport]]:
    """For each claim of one paper, the row of the strongest scale that judged it.

    Scales are taken in their fixed order (weights, full, gpu, long, quick, smoke), never by outcome; a scale
    that left the claim PENDING, NOT TESTED or BLOCKED is passed over when another one did not.
    """
    silent = {Word.PENDING, Word.NOT_TESTED, Word.BLOCKED}
    order = by_strength(reports)
    chosen = []
    for claim in order[0].manifest.claims if order else ():
        found = [(row, report) for report in order for row in report.rows if row.claim.id == claim.id]
        spoken = [pair for pair in found if pair[0].verdict.word not in silent]
        chosen.append((spoken or found)[0])
    return chosen


def by_strength(reports: Iterable[PaperReport]) -> list[PaperReport]:
    """Reports of one paper, strongest scale first."""
    return sorted(reports, key=lambda r: -_rank(r.scale))


def estimate(per_seed: Mapping[int, float]) -> Estimate:
    """Mean over seeds with 90 % and 95 % Student-t intervals; one seed has infinite ones."""
    values = list(per_seed.values())
    n, mean = len(values), statistics.fmean(values)
    if n < 2:
        return Estimate(n, mean, math.nan, -math.inf, math.inf, -math.inf, math.inf, per_seed=dict(per_seed))
    sd = statistics.stdev(values) if all(map(math.isfinite, values)) else math.nan
    half95, half90 = (_t_quantile(q, n - 1) * sd / math.sqrt(n) for q in (0.975, 0.95))
    return Estimate(
        n, mean, sd, mean - half95, mean + half95, mean - half90, mean + half90, per_seed=dict(per_seed)
    )


_T: dict[tuple[float, int], float] = {}


def _t_quantile(q: float, df: int) -> float:
    if (q, df) not in _T:
        from scipy import stats

        _T[q, df] = float(stats.t.ppf(q, df))
    return _T[q, df]


def _rank(scale: str) -> int:
    return SCALES.index(scale) if scale in SCALES else -1  # type: ignore[arg-type]


def _values(items: Any) -> list[Any]:
    return list(items.values() if isinstance(items, Mapping) else items)


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
        metrics={m: estimate(v) for m in names if (v := _scores(done, m, metrics.get(m)))},
        cost={c: estimate(v) for c in costs if (v := {s: r.cost[c] for s, r in done.items() if c in r.cost})},
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


def _gate_lines(gates: Any, gate: Gate | None) -> tuple[GateLine, ...]:
    """Gate results as lines, whatever fields their class has beside arm and outcome."""
    items = gates.items() if isinstance(gates, Mapping) else ((None, g) for g in gates or ())
    lines = []
    for name, item in items:
        got = item if isinstance(item, Mapping) else {k: getattr(item, k) for k in dir(item) if k[0] != "_"}
        value = next((got[k] for k in ("value", "mean", "ours") if got.get(k) is not None), None)
        value = value.mean if isinstance(value, Estimate) else value
        passed = next((got[k] for k in ("passed", "ok") if k in got), None)
        lines.append(
            GateLine(
                arm=str(got.get("arm", name)),
                metric=str(got.get("metric", gate.metric if gate else "")),
                floor=float(got["floor"] if "floor" in got else gate.floor if gate else math.nan),
                value=None if value is None else float(value),
                passed=None if passed is None else bool(passed),
                why=str(got.get("why") or got.get("says") or (gate.why if gate else "")),
            )
        )
    return tuple(lines)


def _check_lines(
    manifest: Manifest, checks: Mapping[str, Checked], says: Mapping[str, str]
) -> tuple[CheckLine, ...]:
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


def _plain(value: Any) -> Any:
    """JSON-ready: string keys, lists, and no NaN or infinity."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, (str, int, bool)) or value is None:
        return str(value) if isinstance(value, Word) else value
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return str(value)
