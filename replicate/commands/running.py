"""plan, run, rerun, refresh, calibrate."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from replicate.commands.common import (
    Budget,
    emit,
    json_option,
    pairs,
    paper_argument,
    papers_argument,
    plan_options,
    results_option,
    scale_option,
    terminal_width,
    words,
)
from replicate.errors import UserError

if TYPE_CHECKING:
    from replicate.api import Study
    from replicate.display import Display
    from replicate.plan import Plan
    from replicate.upkeep import Comparison


def _plans(papers: Sequence[str], scale: str, options: dict[str, Any], *, with_code: bool = True) -> list[Plan]:
    from replicate import catalog, plan

    options = dict(options)
    arms, data = words(options.pop("arms")), pairs(options.pop("data"), "--data")
    found = catalog.find_all(list(papers))
    return [plan.make(p, scale, arms=arms, data_paths=data, with_code=with_code, **options) for p in found]  # type: ignore[arg-type]


@click.command(epilog="Example: replicate plan papers/sepc --scale long")
@papers_argument()
@scale_option()
@plan_options
@results_option
@json_option
def plan(papers: tuple[str, ...], scale: str, results: Path | None, as_json: bool, **options: Any) -> None:
    """Show trials, hours, and which claims can be decided with that many seeds. Runs nothing."""
    from replicate import api, outlook
    from replicate.engines.local import reusable
    from replicate.store import read_reference

    store = api.open_store(results)
    records = [*store.records(), *read_reference()]
    answers = []
    for made in _plans(papers, scale, options):
        valid = [t.key for t in made.trials if reusable(store.get(t.key), t, store)]
        answers.append((made, outlook.of(made, records, valid)))
    if as_json:
        emit([{"paper": made.paper.slug, "scale": scale, **_facts(made), **found.to_json()} for made, found in answers])
        return
    for i, (made, found) in enumerate(answers):
        click.echo("\n" * (i > 0) + _plan_text(made, found))


def _facts(made: Plan) -> dict[str, Any]:
    return {
        "profile": f"{made.profile.name} v{made.profile.version}",
        "arms": list(made.arms),
        "seeds": list(made.seeds),
        "confirmatory": made.confirmatory,
        "exploratory": list(made.exploratory),
        "partial": list(made.partial),
        "trials": [{"arm": t.arm, "seed": t.spec.seed, "key": t.key} for t in made.trials],
    }


def _plan_text(made: Plan, found: Any) -> str:
    from replicate.tables import columns, duration

    cost = found.estimate
    seeds = f"seeds {made.seeds[0]}-{made.seeds[-1]}" if len(made.seeds) > 1 else f"seed {made.seeds[0]}"
    measured = (
        f"{cost.measured} of {cost.trials - cost.done} times measured here before"
        if cost.measured
        else "times are the profile's own guess"
    )
    lines = [
        f"{made.paper.slug} at {made.scale}: {len(made.arms)} arms x {len(made.seeds)} seeds = {cost.trials} "
        f"trials, {cost.done} done already ({seeds}, profile {made.profile.name} v{made.profile.version})",
        f"about {duration(cost.wall_hours * 3600)} on {cost.workers} worker{'s' * (cost.workers != 1)}, "
        f"{cost.cpu_hours:.2f} core hours ({measured})",
        *_status_lines(made),
        "",
    ]
    rows = []
    for reach in found.reach:
        words_ = " / ".join(word.value for word in reach.words)
        effect = "" if reach.smallest_effect is None else f"sees {reach.smallest_effect:.3g} or more; "
        rows.append((reach.claim, reach.kind, effect + reach.says, words_))
    return "\n".join(lines) + "\n" + columns(rows, ("claim", "kind", "how", "can become"), terminal_width())


def _status_lines(made: Plan) -> list[str]:
    if made.exploratory:
        return [f"exploratory, its verdicts do not count: {'; '.join(made.exploratory)}"]
    if made.partial:
        return [f"a part of the planned study, verdicts stay PENDING: {'; '.join(made.partial)}"]
    return []


@click.command(epilog="Example: replicate run papers/sepc --scale quick --workers 2")
@papers_argument()
@scale_option()
@plan_options
@click.option("--engine", type=click.Choice(["local", "ray"]), default="local", show_default=True)
@click.option("--budget", type=Budget(), help="Start no trial that would end after this: 90s, 15m, 2h.")
@click.option("--timeout", type=Budget(), help="Limit of one trial [default: from its profile].")
@click.option("--looks", help="Seeds at which an extendable study is judged, fixed now: 5,10,20.")
@results_option
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder of the report [reports].")
@click.option("--no-report", is_flag=True, help="Print the table only, write no page.")
@click.option("--quiet", "-q", is_flag=True, help="No progress lines.")
@json_option
def run(
    papers: tuple[str, ...],
    scale: str,
    engine: str,
    budget: float | None,
    timeout: float | None,
    looks: str | None,
    results: Path | None,
    out: Path | None,
    no_report: bool,
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> int:
    """Run papers and judge their claims. The same command resumes; finished trials are never repeated."""
    from replicate import api
    from replicate.plan import share

    api.engine_of(engine)
    options["looks"] = _looks(looks)
    plans = _plans(papers, scale, options)
    store = api.open_store(results)
    trials = share(plans)
    with _display(plans, len(trials), quiet=quiet or as_json) as display:
        for made in plans:
            for line in _status_lines(made):
                display.say(f"{made.paper.slug}: {line}")
        studies = api.execute(
            plans, store, engine=engine, budget_s=budget, timeout_s=timeout, on_event=display.on_event
        )
    pages = {} if no_report or as_json else _write_pages(studies, out)
    if as_json:
        emit([_study_json(study) for study in studies])
    else:
        for study in studies:
            _print_study(study, pages.get(study.paper.slug))
    outcomes = [study.outcome for study in studies if study.outcome is not None]
    if any(outcome.interrupted for outcome in outcomes):
        raise KeyboardInterrupt
    return 1 if any(outcome.failed for outcome in outcomes) else 0


def _looks(text: str | None) -> tuple[int, ...]:
    try:
        found = tuple(int(word) for word in words(text) or ())
    except ValueError:
        found = (0,)
    if any(n < 2 for n in found) or list(found) != sorted(set(found)):
        raise UserError(f"--looks {text!r}: expected growing numbers of seeds, for example 5,10,20")
    return found


def _display(plans: Sequence[Plan], total: int, *, quiet: bool) -> Display:
    from replicate.display import Display

    primary = {made.paper.slug: (made.profile.metric, made.task.metrics[made.profile.metric]) for made in plans}
    return Display(total, primary, quiet=quiet)


def _write_pages(studies: Sequence[Study], out: Path | None) -> dict[str, Path]:
    from replicate.commands.results import write_site

    return write_site(studies, out)


def _study_json(study: Study) -> dict[str, Any]:
    outcome = study.outcome
    made: dict[str, Any] = study.report().to_json()
    made["exploratory"], made["partial"] = list(study.plan.exploratory), list(study.plan.partial)
    if outcome is not None:
        made["run"] = {
            "done": len(outcome.done),
            "failed": [{"key": r.key, "status": r.status, "error": r.error} for r in outcome.failed],
            "reused": len(outcome.skipped),
            "pending": len(outcome.pending),
            "seconds": round(outcome.seconds, 3),
        }
    return made


def _print_study(study: Study, page: Path | None) -> None:
    from rich.console import Console

    from replicate.display import reason
    from replicate.loading import shown
    from replicate.report import terminal

    width = None if sys.stdout.isatty() else 110
    terminal.render(study.report(), Console(file=sys.stdout, highlight=False, width=width))
    for line in _status_lines(study.plan):
        click.echo(line)
    for note in study.file.notes:
        if not note.startswith("exploratory"):
            click.echo(f"note: {note}")
    outcome = study.outcome
    if outcome is not None:
        if outcome.pending:
            click.echo(f"{len(outcome.pending)} trials not started; the same command goes on: {study.command}")
        for record in outcome.failed[:5]:
            click.echo(f"failed: {record.key[:12]} {record.spec.builder} seed {record.spec.seed}: {reason(record)}")
        if len(outcome.failed) > 5:
            click.echo(f"failed: {len(outcome.failed) - 5} more")
    if page is not None:
        click.echo(f"report: {shown(page)}")


@click.command(epilog="Example: replicate rerun 3f9a61c2")
@click.argument("key")
@results_option
@click.option("--folder", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Moved paper folder.")
@click.option("--data", "data", multiple=True, metavar="NAME=PATH", help="Folder of a dataset.")
@click.option("--tolerance", type=float, help="Largest relative difference on another machine.")
@json_option
def rerun(
    key: str,
    results: Path | None,
    folder: Path | None,
    data: tuple[str, ...],
    tolerance: float | None,
    as_json: bool,
) -> int:
    """Run the trial of a record (KEY or its beginning) again and compare: bit-equal, or within tolerance."""
    from replicate import api, upkeep
    from replicate.store import read_reference

    store = api.open_store(results)
    try:
        record = store.find(key)
    except UserError:
        kept = [r for r in read_reference() if r.key.startswith(key)]
        if len(kept) != 1:
            raise
        record = kept[0]
    given = {name: str(path) for name, path in pairs(data, "--data").items()}
    found: Comparison = upkeep.rerun(record, store, folder=folder, data=given or None, tolerance=tolerance)
    if as_json:
        emit({"key": record.key, "ok": found.ok, "identical": found.identical, "says": found.says,
              "difference": found.difference, "metric": found.worst, "was": dict(found.old.metrics),
              "now": dict(found.new.metrics)})  # fmt: skip
    else:
        click.echo(("ok    " if found.ok else "FAIL  ") + found.says)
    return 0 if found.ok else 1


@click.command(epilog="Example: replicate refresh papers/sepc --scale quick")
@papers_argument(required=False)
@scale_option(default=None)
@results_option
@json_option
def refresh(papers: tuple[str, ...], scale: str | None, results: Path | None, as_json: bool) -> int:
    """Run one canary trial per arm whose code changed; if it is bit-equal, keep the arm's records."""
    from replicate import api, catalog, plan, upkeep

    store = api.open_store(results)
    found = catalog.find_all(papers) if papers else [catalog.find(f) for f in catalog.folders()]
    lines = []
    for paper in found:
        scales = [s for s in paper.manifest.scales if scale in (None, s) and store.study(paper.slug, s) is not None]
        plans = [plan.make(paper, s) for s in scales]
        lines += [(paper.slug, line) for line in upkeep.refresh(plan.share(plans), store)]
    if as_json:
        emit([{"paper": slug, "arm": r.arm, "canary": r.canary, "carried": list(r.carried),
               "to_run": list(r.to_run), "says": r.says} for slug, r in lines])  # fmt: skip
    elif not lines:
        click.echo("nothing to refresh: every record was made by today's code")
    else:
        for slug, r in lines:
            click.echo(f"{'ok   ' if not r.to_run else 'stale'} {slug} {r.arm}: {r.says}")
    return 0


@click.command(epilog="Example: replicate calibrate papers/sepc --scale quick --seeds 40")
@paper_argument
@scale_option()
@click.option("--arm", help="Arm to compare with itself [default: the first baseline].")
@click.option("--seeds", type=click.IntRange(4), default=20, show_default=True, help="Seeds of its own block.")
@click.option("--first-seed", type=click.IntRange(0), default=500, show_default=True, help="Start of that block.")
@click.option("--block", type=click.IntRange(2), default=5, show_default=True, help="Seeds of one comparison.")
@click.option("--workers", type=click.IntRange(1), help="Trials at once.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--data", "data", multiple=True, metavar="NAME=PATH", help="Folder of a dataset.")
@results_option
@json_option
def calibrate(
    paper: str,
    scale: str,
    arm: str | None,
    seeds: int,
    first_seed: int,
    block: int,
    workers: int | None,
    device: str,
    data: tuple[str, ...],
    results: Path | None,
    as_json: bool,
) -> int:
    """A/A test: compare an arm with itself on disjoint seed blocks, and print the rate of false alarms."""
    from replicate import api, catalog
    from replicate import calibrate as controls
    from replicate import plan as planner

    found = catalog.find(paper)
    manifest = found.manifest
    name = arm or next((a for a, spec in manifest.arms.items() if spec.role == "baseline"), next(iter(manifest.arms)))
    used = manifest.scales.get(scale)  # type: ignore[call-overload]
    reserved = 0 if used is None else used.first_seed + 4 * max(used.seeds, 1)
    if first_seed < reserved:
        raise UserError(f"--first-seed {first_seed}: verdicts may use seeds up to {reserved - 1}; take others")
    made = planner.make(
        found,
        scale,  # type: ignore[arg-type]
        arms=[name],
        seeds=seeds,
        first_seed=first_seed,
        device=device,
        workers=workers,
        data_paths=pairs(data, "--data"),
    )
    store = api.open_store(results)
    with _display([made], len(made.trials), quiet=as_json) as display:
        study = api.execute([made], store, on_event=display.on_event)[0]
    metric = made.profile.metric
    mine = [r for r in study.records.values() if r.key in set(study.file.keys[name].values())]
    values = controls.values_of(mine, metric, made.task.metrics[metric].worst)
    answer = controls.calibrate(values, block)
    positive = controls.positive_control(values, block)
    if as_json:
        emit({"paper": found.slug, "arm": name, "scale": scale, "metric": metric, **answer.to_json(),
              "positive": {"passed": positive.passed, "says": positive.says}})  # fmt: skip
    else:
        click.echo(f"{'ok   ' if answer.passed else 'FAIL '} A/A of {name} on {metric}: {answer.says}")
        click.echo(f"{'FAIL ' if positive.passed is False else 'ok   '} {positive.says}")
    failed = study.outcome is not None and bool(study.outcome.failed)
    return 0 if answer.passed and positive.passed is not False and not failed else 1
