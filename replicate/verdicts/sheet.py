"""The records of one study as columns of numbers: arm and metric -> value by seed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from replicate.errors import UserError
from replicate.judgement import Estimate, GateResult
from replicate.manifest import Manifest
from replicate.records import Record
from replicate.stats import Prior, estimate
from replicate.study import Study
from replicate.tasks.base import Gate, Metric

FULL_STRENGTH = frozenset({"full", "weights"})
"""Scales whose verdicts are not "at reduced scale"."""


@dataclass(frozen=True)
class Column:
    """One metric of one arm over the planned seeds.

    ``values`` has every finished seed, a diverged one at the metric's worst; ``problem`` says why the column is not
    complete (None when it is).
    """

    arm: str
    values: Mapping[int, float]
    diverged: int = 0
    problem: str | None = None
    keys: tuple[str, ...] = ()
    substrates: Mapping[int, Mapping[str, str]] = field(default_factory=dict)
    """seed -> name -> key of the trained substrate that the run started from; empty when it started from none."""


@dataclass
class Sheet:
    """What ``judge`` was given, with columns made on demand."""

    manifest: Manifest
    study: Study
    records: Mapping[str, Record]
    metrics: Mapping[str, Metric]
    gate: Gate | None
    protocol: str
    alpha: float
    prior: Prior | None = None
    _columns: dict[tuple[str, str], Column] = field(default_factory=dict)
    _estimates: dict[tuple[str, str], Estimate] = field(default_factory=dict)
    _gates: dict[str, GateResult] = field(default_factory=dict)

    @property
    def scale(self) -> str:
        """The study's scale."""
        return self.study.scale

    @property
    def reduced(self) -> bool:
        """True when verdicts of trained claims hold at reduced scale only."""
        return self.scale not in FULL_STRENGTH and self.protocol != "full"

    def metric(self, name: str) -> Metric:
        """The task's metric; a measured cost that the task does not list counts as lower is better."""
        if name in self.metrics:
            return self.metrics[name]
        done = [r for r in self.records.values() if r.done]
        if any(name in r.cost for r in done):
            return Metric(unit="", higher_is_better=False, worst=math.inf)
        return Metric(unit="", worst=math.nan)

    def record(self, arm: str, seed: int) -> Record | None:
        """The record of a planned trial, None when there is none yet."""
        key = self.study.keys.get(arm, {}).get(str(seed))
        return self.records.get(key) if key is not None else None

    def column(self, arm: str, metric: str) -> Column:
        """Values of one arm's metric over the planned seeds."""
        found = self._columns.get((arm, metric))
        if found is None:
            found = self._columns[arm, metric] = self._read(arm, metric)
        return found

    def _read(self, arm: str, metric: str) -> Column:
        study, records, worst = self.study, self.records, self.metric(metric).worst
        planned = study.keys.get(arm, {})
        values: dict[int, float] = {}
        keys: list[str] = []
        lacking: list[str] = []
        substrates: dict[int, Mapping[str, str]] = {}
        diverged = 0
        for seed in study.seeds[: study.planned_n]:
            key = planned.get(str(seed))
            record = records.get(key) if key is not None else None
            if key is None or record is None:
                lacking.append(f"seed {seed} not run")
                continue
            keys.append(key)
            if not record.done:
                lacking.append(f"seed {seed} {'timed out' if record.status == 'timeout' else record.status}")
                continue
            self._same_profile(record)
            if record.spec.substrates:
                substrates[seed] = record.spec.substrates
            value = record.metrics.get(metric, record.cost.get(metric, math.nan))
            if record.status == "diverged" or (metric in record.metrics and not math.isfinite(value)):
                diverged += 1
                value = worst
            if math.isfinite(value):
                values[seed] = float(value)
            else:
                lacking.append(f"seed {seed} has no {metric!r}")
        problem = None
        if len(values) < study.planned_n:
            shown = "; ".join(lacking[:3]) + ("; ..." if len(lacking) > 3 else "")
            problem = f"{arm}: {len(values)} of {study.planned_n} seeds" + (f" ({shown})" if shown else "")
        return Column(arm, values, diverged, problem, tuple(keys), substrates)

    def _same_profile(self, record: Record) -> None:
        spec, study = record.spec, self.study
        if (spec.profile, spec.profile_version) != (study.profile, study.profile_version):
            theirs = f"{spec.profile!r} version {spec.profile_version}"
            raise UserError(
                f"record {record.key[:12]} is of profile {theirs}, the study of {study.profile!r} version "
                f"{study.profile_version}: records of different profiles are not compared"
            )

    def arm_estimate(self, arm: str, metric: str) -> Estimate:
        """Mean and interval of one arm's metric (not oriented)."""
        found = self._estimates.get((arm, metric))
        if found is None:
            found = self._estimates[arm, metric] = estimate(self.column(arm, metric).values)
        return found

    def gate_of(self, arm: str) -> GateResult | None:
        """The validity gate of one arm; None without a gate, or before all planned seeds are there."""
        if self.gate is None:
            return None
        if arm not in self._gates:
            column = self.column(arm, self.gate.metric)
            if column.problem is not None or not column.values:
                return None
            value = math.fsum(column.values.values()) / len(column.values)
            higher = self.metric(self.gate.metric).higher_is_better
            passed = value >= self.gate.floor if higher else value <= self.gate.floor
            self._gates[arm] = GateResult(arm, self.gate.metric, len(column.values), value, self.gate.floor, passed)
        return self._gates[arm]

    def gated_arms(self, *compared: str) -> tuple[str, ...]:
        """Arms that must have trained before a comparison means anything.

        The baselines among the compared arms; when there is none (a step between two variants) the paper's
        baselines that this study runs; in a manifest without baselines the last compared arm. A method or a variant
        below the gate is a result, not a gate: "this variant collapses" must stay sayable.
        """
        if self.gate is None:
            return ()
        arms = self.manifest.arms
        own = [a for a in compared if arms[a].role == "baseline"]
        if own:
            return tuple(own)
        general = [a for a in arms if arms[a].role == "baseline" and a in self.study.keys]
        return tuple(general) or compared[-1:]
