"""Looking after records: run one again and compare, carry records over a harmless edit, merge stores."""

from __future__ import annotations

import hashlib
import math
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from replicate import modules, provenance
from replicate.engines.base import OnEvent, Trial
from replicate.errors import UserError
from replicate.records import Record, canonical
from replicate.reference import export_reference
from replicate.store import Store
from replicate.tasks.base import Profile

TOLERANCE = 0.05
"""Relative difference allowed between machines or library versions, where bit-equality cannot be expected."""
TOLERANCE_TIMED = 0.25
"""The same for trials that measure time."""

_MEASURED = ("seconds", "_s", "_ms", "_us", "_mb", "_per_second")
"""Endings of curve names that hold clock or memory readings, which no two runs share."""


@dataclass(frozen=True)
class Comparison:
    """Two runs of one trial: ``identical`` (bit-equal) or ``within`` tolerance, and the largest difference."""

    old: Record
    new: Record
    identical: bool
    within: bool
    same_machine: bool
    """Same processor, platform and library versions: then bit-equality is expected."""
    tolerance: float
    worst: str = ""
    """Name of the metric that differs most."""
    difference: float = 0.0
    """Its relative difference."""

    @property
    def ok(self) -> bool:
        """What may be asked of this pair of runs holds."""
        timed = bool(self.old.provenance.get("trial", {}).get("exclusive"))
        return self.identical or (self.within and (timed or not self.same_machine))

    @property
    def says(self) -> str:
        """One line for people."""
        if self.identical:
            return f"{self.old.key[:12]}: bit-equal"
        where = "the same machine and versions" if self.same_machine else "another machine or other versions"
        if self.old.status != self.new.status:
            return f"{self.old.key[:12]}: was {self.old.status}, now {self.new.status}, on {where}"
        verdict = "within" if self.within else "beyond"
        return (
            f"{self.old.key[:12]}: differs by at most {self.difference:.2g} (relative, {self.worst or 'curves'}), "
            f"{verdict} the tolerance {self.tolerance:g}, on {where}"
        )


def compare(old: Record, new: Record, tolerance: float | None = None) -> Comparison:
    """Compare what two runs of one trial measured: status, metrics, items, curves; not time and memory."""
    timed = bool(old.provenance.get("trial", {}).get("exclusive"))
    tolerance = tolerance if tolerance is not None else (TOLERANCE_TIMED if timed else TOLERANCE)
    worst, difference = "", 0.0
    for name in sorted(set(old.metrics) | set(new.metrics)):
        if name in old.metrics and name in new.metrics:
            gap = _relative(old.metrics[name], new.metrics[name])
        else:
            gap = math.inf
        if gap > difference:
            worst, difference = name, gap
    return Comparison(
        old=old,
        new=new,
        identical=_measured(old, new) == _measured(new, old),
        within=old.status == new.status and difference <= tolerance,
        same_machine=_machine(old) == _machine(new),
        tolerance=tolerance,
        worst=worst,
        difference=difference,
    )


def _relative(a: float, b: float) -> float:
    return 0.0 if a == b else abs(a - b) / max(abs(a), abs(b))


def _measured(record: Record, other: Record) -> str:
    """What must be bit-equal. A reference record's curves are thinned: then ``other``'s are not compared."""
    value: dict[str, Any] = {"status": record.status, "metrics": dict(record.metrics), "items": dict(record.items)}
    if "reference" not in record.provenance and "reference" not in other.provenance:
        value["curves"] = {n: list(c) for n, c in record.curves.items() if not n.endswith(_MEASURED)}
    return canonical(value)


def _machine(record: Record) -> tuple[Any, ...]:
    machine = record.provenance.get("machine", {})
    named = {name: machine.get(name) for name in ("platform", "cpu", "gpu", "cuda")}
    return canonical(named), canonical(record.provenance.get("versions", {}))


def trial_of(record: Record, *, folder: Path | None = None, data: Mapping[str, str] | None = None) -> Trial:
    """The trial that made a record, from the record alone.

    ``folder`` replaces the paper's folder (for a paper outside the suite that has moved), ``data`` the data
    folders. Raises ``UserError`` when a source that the trial needs is not there.
    """
    about = dict(record.provenance.get("trial", {}))
    spec = record.spec
    builder = spec.builder.partition(":")[0]
    module = about.get("module") or _full_name(builder)
    task_module = about.get("task_module") or _task_module(spec.task)
    at = str(folder) if folder is not None else about.get("folder")
    for name in (module, task_module):
        if modules.source_of(name, at) is None:
            hint = f" in {at}" if at else ""
            raise UserError(f"record {record.key[:12]}: its module {name} is not there{hint}; give the paper's folder")
    return Trial(
        spec=spec,
        slug=about.get("slug", builder.split(".")[-2] if "." in builder else builder),
        arm=about.get("arm", spec.builder.partition(":")[2]),
        module=module,
        task_module=task_module,
        profile=Profile(
            name=spec.profile,
            version=spec.profile_version,
            data=spec.data,
            settings=spec.settings,
            metric=about.get("metric", next(iter(record.metrics), "")),
            protocol=about.get("protocol", "reduced"),
            threads=spec.threads,
            exclusive=bool(about.get("exclusive", False)),
        ),
        folder=at,
        timeout_s=max(float(about.get("timeout_s", 3600.0)), 4.0 * record.seconds),
        seconds=record.seconds or 60.0,
        exclusive=bool(about.get("exclusive", False)),
        data_paths=dict(data or about.get("data_paths", {})),
        code=provenance.trial_code(module, task_module, at, spec.data),
    )


def _full_name(builder: str) -> str:
    return builder if builder.split(".")[0] in ("replicate", modules.OUTSIDE) else f"replicate.{builder}"


def _task_module(task: str) -> str:
    """``detection`` is a task of the suite, ``papers.sepc`` a paper whose experiment is its own."""
    if "." in task:
        return f"{_full_name(task)}.experiment"
    return f"replicate.tasks.{task}"


def run_again(trials: Sequence[Trial], store: Store, *, on_event: OnEvent | None = None) -> dict[str, Record]:
    """Run trials in a store of their own that is thrown away; records by key. ``store`` lends its checkpoints."""
    from replicate.engines.local import run_local

    with tempfile.TemporaryDirectory(prefix="replicate-") as folder:
        scratch = Store(folder)
        for key in sorted({key for trial in trials for key in trial.spec.substrates.values()}):
            _lend(store, scratch, key)
        report = run_local(trials, scratch, on_event=on_event)
    return {record.key: record for record in (*report.done, *report.failed)}


def _lend(store: Store, scratch: Store, key: str) -> None:
    record = store.get(key)
    if record is None or record.checkpoint is None:
        raise UserError(f"the substrate {key[:12]} has no checkpoint in {store.root}; run the arm that trains it")
    copy = scratch.workdir(key) / "lent"
    shutil.copyfile(store.checkpoint(record.checkpoint), copy)
    scratch.keep_checkpoint(copy, record.checkpoint)
    scratch.put(record)


def rerun(
    record: Record,
    store: Store,
    *,
    folder: Path | None = None,
    data: Mapping[str, str] | None = None,
    tolerance: float | None = None,
    on_event: OnEvent | None = None,
) -> Comparison:
    """Run a record's trial again from the record alone, and compare. The record itself is not touched."""
    trial = trial_of(record, folder=folder, data=data)
    new = run_again([trial], store, on_event=on_event).get(trial.key)
    if new is None:
        raise UserError(f"trial {trial.key[:12]} was interrupted: nothing to compare")
    return compare(record, new, tolerance)


@dataclass(frozen=True)
class Refreshed:
    """What became of one arm's stale records."""

    arm: str
    canary: str
    """Key of the trial that was run again."""
    carried: tuple[str, ...]
    """Keys that now count as made by today's code."""
    to_run: tuple[str, ...]
    """Keys to run again: the canary differed."""
    says: str


def refresh(trials: Sequence[Trial], store: Store, *, on_event: OnEvent | None = None) -> list[Refreshed]:
    """For each arm with stale records run one canary, and carry the arm's records forward when it is bit-equal.

    An arm here is a builder with its options at one profile and scale; its canary is the smallest seed. Records
    are carried only over one step of code: records of different older code are different groups, each with its
    canary. What cannot be carried stays stale, so the next run makes it anew.
    """
    groups: dict[str, list[tuple[Trial, Record]]] = {}
    for trial in trials:
        record = store.get(trial.key)
        if record is not None and record.done and _stale(record, trial):
            groups.setdefault(_group(trial, record), []).append((trial, record))
    canaries = {name: min(group, key=lambda pair: pair[0].spec.seed) for name, group in groups.items()}
    fresh = run_again([trial for trial, _ in canaries.values()], store, on_event=on_event) if canaries else {}
    return [_carry(groups[name], canaries[name], fresh, store) for name in groups]


def _stale(record: Record, trial: Trial) -> bool:
    code = record.provenance.get("code")
    return trial.code != code and trial.code not in record.provenance.get("carried", ())


def _group(trial: Trial, record: Record) -> str:
    spec = trial.spec
    value = [spec.builder, dict(spec.options), spec.task, spec.profile, spec.scale, spec.device, spec.threads]
    named = canonical([*value, sorted(spec.substrates), record.provenance.get("code", "")])
    return hashlib.sha256(named.encode()).hexdigest()


def _carry(
    group: list[tuple[Trial, Record]], canary: tuple[Trial, Record], fresh: Mapping[str, Record], store: Store
) -> Refreshed:
    trial, old = canary
    new = fresh.get(trial.key)
    keys = tuple(member.key for member, _ in sorted(group, key=lambda pair: pair[0].spec.seed))
    if new is None:
        return Refreshed(trial.arm, trial.key, (), keys, "interrupted: the records stay stale")
    comparison = compare(old, new)
    if not comparison.identical:
        return Refreshed(trial.arm, trial.key, (), keys, f"the canary differs, to be run again: {comparison.says}")
    for member, record in group:
        with store.lock(member.key):
            if store.get(member.key) == record:
                store.put(record.with_(provenance=_carried(record, member.code)))
    return Refreshed(trial.arm, trial.key, keys, (), f"canary bit-equal: {len(keys)} records carried forward")


def _carried(record: Record, code: str) -> dict[str, Any]:
    """Today's digest becomes the record's own; the older ones stay valid too, for whoever goes back to them."""
    known = [*record.provenance.get("carried", ()), record.provenance.get("code", "")]
    return {**record.provenance, "code": code, "carried": [c for c in dict.fromkeys(known) if c and c != code]}


def merge(into: Path, other: Path) -> tuple[int, int]:
    """Take the records of the store ``other`` over into the store ``into``; (taken, left)."""
    for path in (into, other):
        if not path.is_dir():
            raise UserError(f"{path}: no such results folder")
    if into.resolve() == other.resolve():
        raise UserError(f"{into}: is the same results folder twice")
    return Store(into).merge_from(Store(other))


def publish(records: Iterable[Record], root: Path) -> list[Path]:
    """Write records as reference results (``results/reference``); the files written."""
    return export_reference(records, root)
