"""``PaperReport``: everything that the terminal, Markdown and HTML show about one study, as plain data."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from replicate.judgement import ContrastResult, Estimate, Verdict, Word
from replicate.manifest import Claim, Deviation, Manifest
from replicate.records import Record
from replicate.report.words import JUDGED_TONES, ORDER, look
from replicate.study import Study
from replicate.tasks.base import SCALES, Metric

if TYPE_CHECKING:
    import pandas as pd


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
    reduced: bool = True
    """Trained claims are judged at reduced scale only."""
    alpha: float | None = None
    """Level of each one-sided family of tests at this look."""
    notes: tuple[str, ...] = ()
    """What happened to the plan: extensions, edited claims, an older analysis."""
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
    def deviations(self) -> tuple[Deviation, ...]:
        """Deviations that hold at this scale."""
        return tuple(d for d in self.manifest.deviations if (self.scale in d.scales if d.scales else self.reduced))

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
            "alpha": self.alpha,
            "notes": list(self.notes),
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


def _rank(scale: str) -> int:
    return SCALES.index(scale) if scale in SCALES else -1


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
