"""Python's way in: ``replicate.run("papers/sepc", scale="quick")`` gives a study with records and verdicts.

The command line is a thin layer over this module.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from replicate import catalog, exact, machine, plan, register
from replicate.catalog import Paper
from replicate.engines.base import Engine, OnEvent, RunReport, Trial
from replicate.engines.local import reusable
from replicate.errors import UserError, unknown
from replicate.plan import Plan
from replicate.records import Record
from replicate.store import Store, read_reference, reference_root
from replicate.study import Study as StudyFile
from replicate.tasks.base import Checked, Scale

if TYPE_CHECKING:
    import pandas as pd

    from replicate.judgement import Judgement, Verdict
    from replicate.report.model import PaperReport

ENGINES = ("local", "ray")


@dataclass
class Study:
    """One paper at one scale: what was planned, its records, and what they let us say."""

    plan: Plan
    file: StudyFile
    """What was fixed before the run."""
    store: Store | None
    """Where its records are; None: the reference records only."""
    outcome: RunReport | None = None
    """What this run did; None for a study that was only opened."""
    given_checks: tuple[Mapping[str, Checked], Mapping[str, str]] | None = None

    @property
    def paper(self) -> Paper:
        """The paper."""
        return self.plan.paper

    @property
    def path(self) -> str:
        """What to type for PAPER in a command."""
        return f"papers/{self.paper.slug}" if self.paper.inside else str(self.paper.folder)

    @property
    def command(self) -> str:
        """The command that repeats this study."""
        return f"replicate run {self.path} --scale {self.plan.scale}"

    @cached_property
    def records(self) -> dict[str, Record]:
        """Records of the study by key: the store's, else the reference ones that come with the suite."""
        keys = [key for by_seed in self.file.keys.values() for key in by_seed.values()]
        store = self.store
        found = {key: r for key in keys if store is not None and (r := store.get(key)) is not None}
        missing = [key for key in keys if key not in found or not found[key].done]
        if missing:
            kept = {record.key: record for record in read_reference(scale=self.plan.scale)}
            found.update({key: kept[key] for key in missing if key in kept})
        return found

    @cached_property
    def stale(self) -> frozenset[str]:
        """Keys of records that other code made: shown, but run again by the next run."""
        trials = {trial.key: trial for trial in self.plan.trials}
        return frozenset(
            key for key, r in self.records.items() if r.done and key in trials and not reusable(r, trials[key])
        )

    @cached_property
    def checks(self) -> tuple[Mapping[str, Checked], Mapping[str, str]]:
        """Results of the exact checks by name, and what each says."""
        if self.given_checks is not None:
            return self.given_checks
        return exact.results(self.paper) if self.store is None else exact.remembered(self.paper, self.store.root)

    @cached_property
    def judgement(self) -> Judgement:
        """Everything that the records say."""
        from replicate.verdict import judge

        return judge(
            self.plan.manifest,
            self.file,
            self.records,
            metrics=self.plan.task.metrics,
            gate=self.plan.profile.gate,
            protocol=self.plan.profile.protocol,
            checks=self.checks[0],
            command=self.command,
        )

    def verdicts(self) -> list[Verdict]:
        """One verdict per registered claim, in the manifest's order."""
        return list(self.judgement.verdicts)

    def frame(self) -> pd.DataFrame:
        """Tidy pandas table: one row per arm, seed and measured number."""
        return self.report().frame()

    def report(self) -> PaperReport:
        """The study as the report shows it."""
        from replicate.report import build

        profile = self.plan.profile
        return build(
            self.plan.manifest,
            self.file,
            self.judgement,
            self.records,
            metrics=self.plan.task.metrics,
            gate=profile.gate,
            checks=self.checks[0],
            check_says=self.checks[1],
            stale=self.stale,
            metric_families=self.plan.task.families,
            paper_path=self.path,
            commands={"run": self.command},
        )

    def text(self, width: int = 100) -> str:
        """The terminal table as plain text."""
        from replicate.report import terminal

        return terminal.text(self.report(), width=width)

    def _repr_html_(self) -> str:
        return f"<pre>{self.text()}</pre>"


def open_store(results: str | Path | None) -> Store:
    """The store in ``results`` (default: the checkout's ``results/`` or ``./results``)."""
    return Store(machine.default_results() if results is None else Path(results).expanduser())


def engine_of(name: str) -> Engine:
    """``local``, or ``ray`` where that engine is installed."""
    if name not in ENGINES:
        raise unknown("engine", name, ENGINES)
    if name == "local":
        from replicate.engines.local import run_local

        return cast("Engine", run_local)
    for module in ("ray", "replicate.engines.ray"):
        if importlib.util.find_spec(module) is None:
            raise UserError(f"--engine ray needs the module {module}, which is not here; use --engine local")
    return cast("Engine", importlib.import_module("replicate.engines.ray").run_ray)


def run(
    paper: str | Path,
    scale: Scale = "quick",
    *,
    arms: Sequence[str] | None = None,
    seeds: int | None = None,
    sets: Mapping[str, Any] | Sequence[str] = (),
    engine: str = "local",
    workers: int | None = None,
    device: str = "auto",
    threads: int | None = None,
    results: str | Path | None = None,
    data: Mapping[str, str | Path] | None = None,
    budget_s: float | None = None,
    looks: Sequence[int] = (),
    first_seed: int | None = None,
    on_event: OnEvent | None = None,
) -> Study:
    """Run one paper at one scale, or go on with it, and return its study.

    ``paper`` is a slug or a folder; ``sets`` maps ``"arm.option"`` to a value; ``data`` maps a dataset to a folder;
    ``budget_s`` is wall seconds. Trials with a valid record are not run again. Raises ``UserError`` for a request
    that cannot be met; a trial that fails is in ``study.outcome.failed``.
    """
    made = plan.make(
        catalog.find(paper),
        scale,
        arms=arms,
        seeds=seeds,
        sets=[f"{k}={v!r}" for k, v in sets.items()] if isinstance(sets, Mapping) else sets,
        device=device,
        threads=threads,
        data_paths={name: Path(path) for name, path in (data or {}).items()},
        workers=workers,
        first_seed=first_seed,
        looks=looks,
    )
    return execute([made], open_store(results), engine=engine, budget_s=budget_s, on_event=on_event)[0]


def execute(
    plans: Sequence[Plan],
    store: Store,
    *,
    engine: str = "local",
    budget_s: float | None = None,
    timeout_s: float | None = None,
    on_event: OnEvent | None = None,
) -> list[Study]:
    """Write the study files, run the trials of all plans (equal ones once), and return a study for each plan."""
    runner = engine_of(engine)
    files = [register.write(store, each) for each in plans]
    outcome = runner(
        plan.share(plans),
        store,
        workers=plans[0].workers if plans else None,
        on_event=on_event,
        budget_s=budget_s,
        timeout_s=timeout_s,
    )
    return [Study(each, file, store, _part(outcome, each)) for each, file in zip(plans, files, strict=True)]


def _part(outcome: RunReport, made: Plan) -> RunReport:
    """What of a run belongs to one plan."""
    keys = {trial.key for trial in made.trials}

    def own(records: Sequence[Record]) -> tuple[Record, ...]:
        return tuple(record for record in records if record.key in keys)

    pending: tuple[Trial, ...] = tuple(trial for trial in outcome.pending if trial.key in keys)
    return RunReport(
        own(outcome.done), own(outcome.failed), own(outcome.skipped), pending, outcome.interrupted, outcome.seconds
    )


def load(paper: str | Path | Paper, scale: Scale, results: str | Path | Store | None = None) -> Study:
    """Open the study of a paper at a scale without running anything.

    The study file is the store's, else the one that comes with the reference records, else today's plan (whose
    verdicts are then PENDING).
    """
    found = paper if isinstance(paper, Paper) else catalog.find(paper)
    store = results if isinstance(results, Store) else open_store(results)
    made = plan.make(found, scale, for_show=True)
    file = store.study(found.slug, scale) or reference_study(found.slug, scale) or made.study
    return Study(made, file, store)


def reference_study(slug: str, scale: str) -> StudyFile | None:
    """The study file beside the reference records."""
    root = reference_root()
    path = root / scale / f"{slug}.study.json" if root is not None else None
    return StudyFile.load(path) if path is not None and path.is_file() else None


def reference_studies(paper: Paper) -> list[Study]:
    """The studies that the reference results hold, read without any working store: what a README shows.

    Without reference results it is the plan of the first judged scale: exact claims judged, the rest PENDING.
    """
    checks = exact.results(paper)
    scales = paper.manifest.scales
    found = []
    for scale in scales:
        file = reference_study(paper.slug, scale) if paper.inside else None
        if file is not None:
            found.append(Study(plan.make(paper, scale, for_show=True), file, None, given_checks=checks))
    if not found:
        made = plan.make(paper, next((s for s in scales if s != "smoke"), "smoke"), for_show=True)
        found.append(Study(made, made.study, None, given_checks=checks))
    return found


def studies_of(paper: Paper, store: Store) -> list[Study]:
    """Every scale at which the paper has a study, here or in the reference results, in the manifest's order."""
    return [
        load(paper, scale, store)
        for scale in paper.manifest.scales
        if store.study(paper.slug, scale) is not None or reference_study(paper.slug, scale) is not None
    ]
