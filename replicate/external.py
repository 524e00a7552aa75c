"""Numbers that somebody measured elsewhere, judged by the same rules: ``replicate judge PAPER --metrics FILE``.

A CSV or JSON file of arm, seed, metric. Wide: columns ``arm, seed`` and one column per metric. Long: columns
``arm, seed, metric, value``. JSON: a list of objects with the same names. The word ``diverged`` instead of a number
is a run that diverged.
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from replicate.errors import UserError, unknown
from replicate.judgement import Judgement
from replicate.manifest import Manifest
from replicate.records import Record, Spec
from replicate.study import Study
from replicate.tasks.base import SCALES, Checked, Gate, Metric
from replicate.verdict import claim_digest, contrast_digest, judge

Table = dict[str, dict[int, dict[str, float]]]
"""arm -> seed -> metric -> value; NaN is a diverged run."""
_DIVERGED = "diverged"


@dataclass(frozen=True)
class _Row:
    where: str
    fields: Mapping[str, Any]


def read_metrics(path: Path, manifest: Manifest, metrics: Mapping[str, Metric]) -> Table:
    """Read and check the file; every problem is one line with the row.

    Refused: an unknown arm or metric (with near misses), a seed that is not a whole number, a value that is not a
    number, the same arm, seed and metric twice, a metric missing for some seeds, arms with different seeds.
    """
    rows = _rows(path)
    if not rows:
        raise UserError(f"{path}: no rows; expected arm, seed and metrics")
    table: Table = {}
    for row in rows:
        arm, seed = _arm(row, manifest), _seed(row)
        for metric, value in _cells(row, metrics):
            cell = table.setdefault(arm, {}).setdefault(seed, {})
            if metric in cell:
                raise UserError(f"{row.where}: arm {arm!r}, seed {seed}, metric {metric!r} appears twice")
            cell[metric] = value
    _complete(path, table)
    return table


def _rows(path: Path) -> list[_Row]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}: {error}") from error
    if path.suffix.lower() == ".json":
        return _json_rows(path, text)
    reader = csv.DictReader(text.splitlines(), skipinitialspace=True)
    header = [name.strip() for name in reader.fieldnames or ()]
    reader.fieldnames = header
    for needed in ("arm", "seed"):
        if needed not in header:
            raise UserError(f"{path}: row 1: no column {needed!r} (found: {', '.join(header) or 'nothing'})")
    if len(set(header)) < len(header):
        raise UserError(f"{path}: row 1: a column name appears twice")
    rows = []
    for fields in reader:
        where = f"{path}: row {reader.line_num}"
        if None in fields or any(v is None for v in fields.values()):
            raise UserError(f"{where}: expected {len(header)} columns")
        rows.append(_Row(where, fields))
    return rows


def _json_rows(path: Path, text: str) -> list[_Row]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: row {error.lineno}: not JSON: {error.msg}") from error
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise UserError(f"{path}: expected a list of objects with arm, seed and metrics")
    rows = [_Row(f"{path}: item {i}", item) for i, item in enumerate(value, 1)]
    for row in rows:
        for needed in ("arm", "seed"):
            if needed not in row.fields:
                raise UserError(f"{row.where}: no {needed!r}")
    return rows


def _arm(row: _Row, manifest: Manifest) -> str:
    name = str(row.fields["arm"]).strip()
    if name not in manifest.arms:
        raise UserError(f"{row.where}: {unknown('arm', name, manifest.arms)}")
    return name


def _seed(row: _Row) -> int:
    raw = row.fields["seed"]
    try:
        if isinstance(raw, bool) or (isinstance(raw, float) and not raw.is_integer()):
            raise ValueError
        return int(raw)
    except (ValueError, TypeError) as error:
        raise UserError(f"{row.where}: seed {raw!r} is not a whole number") from error


def _cells(row: _Row, metrics: Mapping[str, Metric]) -> list[tuple[str, float]]:
    fields = row.fields
    if "metric" in fields and "value" in fields:
        cells = [(str(fields["metric"]).strip(), fields["value"])]
    else:
        cells = [(name, raw) for name, raw in fields.items() if name not in ("arm", "seed")]
    if not cells:
        raise UserError(f"{row.where}: no metric beside arm and seed")
    for name, _ in cells:
        if name not in metrics:
            raise UserError(f"{row.where}: {unknown('metric', name, metrics)}")
    return [(name, _value(row, name, raw)) for name, raw in cells]


def _value(row: _Row, name: str, raw: object) -> float:
    text = str(raw).strip()
    if text == "" or raw is None:
        raise UserError(f"{row.where}: metric {name!r} is missing")
    if text.lower() == _DIVERGED:
        return math.nan
    try:
        value = float(text)
    except ValueError as error:
        raise UserError(f"{row.where}: {name} = {text!r} is not a number") from error
    if isinstance(raw, bool) or not math.isfinite(value):
        raise UserError(f"{row.where}: {name} = {text!r} is not finite (write {_DIVERGED!r} for a run that diverged)")
    return value


def _complete(path: Path, table: Table) -> None:
    names = sorted({m for seeds in table.values() for cell in seeds.values() for m in cell})
    for arm, seeds in table.items():
        for seed, cell in seeds.items():
            lacking = [m for m in names if m not in cell]
            if lacking:
                raise UserError(f"{path}: arm {arm!r}, seed {seed}: metric {lacking[0]!r} is missing")
    first, *others = table
    for arm in others:
        odd = sorted(set(table[first]) ^ set(table[arm]))
        if odd:
            raise UserError(
                f"{path}: arms {first!r} and {arm!r} are compared by seed, but seed {odd[0]} is in one of them only"
            )


def records_of(table: Table, manifest: Manifest, scale: str) -> tuple[Study, dict[str, Record]]:
    """A study and its records from measured numbers.

    The study lists the contrasts whose metric was measured. It is written after the numbers, and its note says so.
    """
    task_profile = manifest.scales[scale].profile if scale in manifest.scales else "external"
    seeds = tuple(sorted(next(iter(table.values()))))
    measured = {m for rows in table.values() for cell in rows.values() for m in cell}
    keys: dict[str, dict[str, str]] = {}
    records: dict[str, Record] = {}
    for arm, by_seed in table.items():
        for seed, cell in by_seed.items():
            spec = Spec(f"external:{arm}", 1, {}, manifest.task, task_profile, 1, {}, None, scale, seed, "external")
            bad = any(math.isnan(v) for v in cell.values())
            kept = {m: v for m, v in cell.items() if not math.isnan(v)}
            digest = hashlib.sha256(json.dumps([spec.key, kept], sort_keys=True).encode()).hexdigest()
            keys.setdefault(arm, {})[str(seed)] = digest
            records[digest] = Record(digest, spec, "diverged" if bad else "ok", kept, notes=("measured elsewhere",))
    study = Study(
        slug=manifest.slug,
        scale=scale,
        profile=task_profile,
        profile_version=1,
        manifest_version=manifest.version,
        planned_n=len(seeds),
        seeds=seeds,
        claims={c.id: claim_digest(c) for c in manifest.claims},
        contrasts={c.id: contrast_digest(c) for c in manifest.contrasts if c.metric in measured},
        keys=keys,
        notes=("measured elsewhere and judged afterwards: the numbers were known before this study was written",),
    )
    return study, records


def judge_external(
    manifest: Manifest,
    path: Path,
    *,
    metrics: Mapping[str, Metric],
    scale: str = "full",
    gate: Gate | None = None,
    protocol: str = "full",
    checks: Mapping[str, Checked] | None = None,
    command: str = "",
) -> Judgement:
    """Read FILE and judge the paper's claims on it at ``scale`` (the user vouches for its protocol)."""
    if scale not in SCALES:
        raise unknown("scale", scale, SCALES)
    table = read_metrics(path, manifest, metrics)
    study, records = records_of(table, manifest, scale)
    return judge(
        manifest,
        study,
        records,
        metrics=metrics,
        gate=gate,
        protocol=protocol if scale in ("full", "weights") else "reduced",
        checks=checks,
        command=command or f"replicate judge {manifest.slug} --metrics {path.name} --scale {scale}",
    )
