"""Smoke runs of the contract: every arm once; same seed -> same record, other seed -> other record for two arms."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from replicate import plan
from replicate.catalog import Paper
from replicate.contract import Line
from replicate.display import reason
from replicate.engines.local import run_local
from replicate.errors import UserError
from replicate.plan import Plan
from replicate.records import Record
from replicate.store import Store
from replicate.tasks.base import DataError


def lines(paper: Paper) -> Iterator[Line]:
    """The smoke lines of the contract."""
    if "smoke" not in paper.manifest.scales:
        return
    first = paper.manifest.scales["smoke"].first_seed
    try:
        every = _make(paper, list(paper.manifest.arms), first)
        records = _run(every)
    except (UserError, DataError) as error:
        yield Line("smoke", False, str(error))
        return
    for arm in every.arms:
        yield _arm_line(every, arm, records.get(_key(every, arm)))
    chosen = two_arms(paper)
    if every.profile.exclusive:
        yield Line("same seed", True, "not compared: trials of this profile measure time")
        return
    again, other = _make(paper, chosen, first), _make(paper, chosen, first + 1)
    repeated, moved = _run(again), _run(other)
    for arm in chosen:
        yield _same_line(arm, records.get(_key(every, arm)), repeated.get(_key(again, arm)))
        yield _other_line(arm, records.get(_key(every, arm)), moved.get(_key(other, arm)))


def two_arms(paper: Paper) -> list[str]:
    """The first baseline and the first method; what there is when a paper has neither."""
    arms = paper.manifest.arms
    ranked = sorted(arms, key=lambda a: ("baseline", "method", "variant", "placebo").index(arms[a].role))
    first = ranked[0]
    second = next((a for a in ranked if arms[a].role != arms[first].role), ranked[-1])
    return list(dict.fromkeys([first, second]))


def _make(paper: Paper, arms: Sequence[str], seed: int) -> Plan:
    return plan.make(paper, "smoke", arms=arms, seeds=1, first_seed=seed)


def _key(made: Plan, arm: str) -> str:
    return next(trial.key for trial in made.trials if trial.arm == arm)


def _run(made: Plan) -> dict[str, Record]:
    """Run the trials in a store of their own that is thrown away."""
    with tempfile.TemporaryDirectory(prefix="replicate-check-") as folder:
        report = run_local(made.trials, Store(Path(folder)))
    if report.interrupted:
        raise KeyboardInterrupt
    return {record.key: record for record in (*report.done, *report.failed)}


def _arm_line(made: Plan, arm: str, record: Record | None) -> Line:
    name = f"smoke {arm}"
    if record is None:
        return Line(name, False, "left no record")
    if record.status != "ok":
        return Line(name, False, f"{record.status}: {reason(record)}")
    if made.profile.metric not in record.metrics:
        return Line(name, False, f"its record has no {made.profile.metric!r}, the profile's metric")
    strange = sorted(set(record.metrics) - set(made.task.metrics))
    if strange:
        return Line(name, False, f"reports {', '.join(strange)}, which METRICS does not state")
    value = record.metrics[made.profile.metric]
    return Line(name, True, f"{made.profile.metric} {value:.4g} in {record.cpu_seconds:.1f} s of CPU")


def _measured(record: Record) -> tuple[object, ...]:
    return record.status, dict(record.metrics), {k: list(v) for k, v in record.curves.items()}


def _same_line(arm: str, a: Record | None, b: Record | None) -> Line:
    name = f"same seed {arm}"
    if a is None or b is None or not (a.done and b.done):
        return Line(name, False, "a run failed")
    if _measured(a) == _measured(b):
        return Line(name, True, "gives the same record")
    differing = [k for k in a.metrics if a.metrics[k] != b.metrics.get(k)] or ["curves"]
    return Line(name, False, f"gives another record ({', '.join(differing)} differ): some randomness has no seed")


def _other_line(arm: str, a: Record | None, b: Record | None) -> Line:
    name = f"other seed {arm}"
    if a is None or b is None or not (a.done and b.done):
        return Line(name, False, "a run failed")
    if _measured(a) != _measured(b):
        return Line(name, True, "gives another record")
    return Line(name, False, "gives the same record: the seed is not used")
