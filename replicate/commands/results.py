"""report, results merge and export, judge."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from replicate.commands.common import (
    emit,
    json_option,
    paper_argument,
    papers_argument,
    results_option,
    scale_option,
)
from replicate.errors import UserError

if TYPE_CHECKING:
    from replicate.api import Study
    from replicate.report.model import PaperReport
    from replicate.store import Store


def default_out() -> Path:
    """``reports/`` of the checkout when the working folder is inside it, else ``./reports``."""
    from replicate import machine

    return machine.default_results().parent / "reports"


def write_site(studies: Sequence[Study], out: Path | None) -> dict[str, Path]:
    """Write the site of everything that has a study, with these studies as they are now; page by slug."""
    from replicate import api, catalog
    from replicate.report import write

    folder = out or default_out()
    reports: dict[tuple[str, str], PaperReport] = {}
    store = studies[0].store or api.open_store(None)
    papers = {study.paper.slug: study.paper for study in studies}
    for path in catalog.folders():
        papers.setdefault(path.name, catalog.find(path))
    for paper in papers.values():
        for found in _known(paper, store):
            reports[found.paper.slug, found.plan.scale] = found.report()
    for study in studies:
        if not study.plan.exploratory:
            reports[study.paper.slug, study.plan.scale] = study.report()
    write(list(reports.values()), folder)
    return {study.paper.slug: folder / study.paper.slug / "index.html" for study in studies}


def _known(paper: object, store: Store) -> list[Study]:
    """Studies of a paper that can be shown; one that is broken is named, and does not hide the others."""
    from replicate import api
    from replicate.catalog import Paper
    from replicate.tasks.base import DataError

    assert isinstance(paper, Paper)
    try:
        return api.studies_of(paper, store)
    except (UserError, DataError) as error:
        click.echo(f"note: {paper.slug} is left out: {error}", err=True)
        return []


@click.command(epilog="Example: replicate report papers/sepc --out reports")
@papers_argument(required=False)
@scale_option(default=None)
@results_option
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder of the site [reports].")
@click.option("--readme", is_flag=True, help="Also put the table into each paper's README.")
@json_option
def report(
    papers: tuple[str, ...], scale: str | None, results: Path | None, out: Path | None, readme: bool, as_json: bool
) -> None:
    """Write tables and a static site of what the records say. Trains nothing."""
    from replicate import api, catalog
    from replicate.loading import shown
    from replicate.report import markdown, terminal, write

    store = api.open_store(results)
    chosen = catalog.find_all(papers) if papers else [catalog.find(f) for f in catalog.folders()]
    groups: dict[str, list[PaperReport]] = {}
    for paper in chosen:
        studies = [s for s in _known(paper, store) if scale in (None, s.plan.scale)]
        if not studies and papers:
            # nothing was run: today's plan says which claims are structural, and that the rest is PENDING
            first = scale or next((s for s in paper.manifest.scales if s != "smoke"), "smoke")
            studies = [api.load(paper, first, store)]  # type: ignore[arg-type]
        if studies:
            groups[paper.slug] = [study.report() for study in studies]
        if readme:
            shown_there = [study.report() for study in api.reference_studies(paper)]
            markdown.update_readme(paper.folder / "README.md", *shown_there)
    reports = [each for group in groups.values() for each in group]
    if as_json:
        emit([each.to_json() for each in reports])
        return
    if not reports:
        raise UserError(f"no studies in {shown(store.root)} yet; `replicate run PAPER` makes one")
    made = write(reports, out or default_out())
    for each in reports:
        click.echo(terminal.summary(each))
    click.echo(f"report: {shown(made[0])}")


@click.group(epilog="Example: replicate results merge results other/results")
def results() -> None:
    """Merge stores, export reference records."""


@results.command(epilog="Example: replicate results merge results /mnt/other/results")
@click.argument("into", type=click.Path(file_okay=False, path_type=Path))
@click.argument("other", type=click.Path(file_okay=False, path_type=Path))
@json_option
def merge(into: Path, other: Path, as_json: bool) -> None:
    """Take the records of the store OTHER over into the store INTO."""
    from replicate import upkeep

    taken, left = upkeep.merge(into, other)
    if as_json:
        emit({"taken": taken, "left": left})
    else:
        click.echo(f"{taken} records taken over, {left} were there already")


@results.command(epilog="Example: replicate results export papers/sepc --scale long")
@papers_argument()
@scale_option(default=None)
@results_option
@click.option("--to", type=click.Path(file_okay=False, path_type=Path), help="Folder [results/reference].")
def export(papers: tuple[str, ...], scale: str | None, results: Path | None, to: Path | None) -> None:
    """Write the records and study files of papers as reference results, small enough for git."""
    from replicate import api, catalog, upkeep
    from replicate.loading import shown
    from replicate.store import reference_root

    store = api.open_store(results)
    root = to or reference_root()
    if root is None:
        raise UserError("there is no results/reference here; say where with --to")
    for paper in catalog.find_all(papers):
        scales = [s for s in paper.manifest.scales if scale in (None, s) and store.study(paper.slug, s) is not None]
        if not scales:
            raise UserError(f"{paper.slug}: no study in {shown(store.root)}; `replicate run {paper.slug}` makes one")
        for name in scales:
            study = api.load(paper, name, store)
            if study.stale:
                raise UserError(
                    f"{paper.slug} at {name}: {len(study.stale)} records are stale; run `replicate refresh` first"
                )
            written = upkeep.publish([r for r in study.records.values() if r.done], root)
            path = root / name / f"{paper.slug}.study.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(study.file.to_json(), indent=1, sort_keys=True) + "\n", encoding="utf-8")
            for each in [*written, path]:
                click.echo(shown(each))


@click.command(epilog="Example: replicate judge papers/sepc --metrics measured.csv --scale full")
@paper_argument
@click.option(
    "--metrics", "file", required=True, type=click.Path(path_type=Path), help="CSV or JSON of arm, seed, metric."
)
@scale_option(default="full")
@json_option
def judge(paper: str, file: Path, scale: str, as_json: bool) -> None:
    """Verdicts on numbers that you measured elsewhere, by the same rules."""
    from replicate import catalog, exact, machine, profiles
    from replicate.external import judge_external
    from replicate.tables import columns

    found = catalog.find(paper)
    task = profiles.of(found)
    spec = found.manifest.scales.get(scale)  # type: ignore[call-overload]
    gate = task.profile(spec.profile).gate if spec is not None else None
    protocol = task.profile(spec.profile).protocol if spec is not None else "full"
    made = judge_external(
        found.manifest,
        file,
        metrics=task.metrics,
        scale=scale,
        gate=gate,
        protocol=protocol if scale not in ("full", "weights") else "full",
        checks=exact.remembered(found, machine.default_results())[0],
    )
    if as_json:
        emit(made.to_json())
        return
    rows: list[tuple[str, ...]] = [(v.claim, v.word.value, v.says) for v in made.verdicts]
    click.echo(columns(rows, ("claim", "verdict", "why")))
    for note in made.notes:
        click.echo(f"note: {note}")
