"""list, show, new, check, schema."""

from __future__ import annotations

from pathlib import Path

import click

from replicate.commands.common import emit, json_option, paper_argument, papers_argument, terminal_width
from replicate.errors import UserError, near_misses


@click.command("list", epilog="Example: replicate list --family detection")
@click.option("--family", help="Only this family of papers.")
@json_option
def list_(family: str | None, as_json: bool) -> None:
    """All papers of the suite, by slug."""
    from replicate import catalog
    from replicate.tables import columns

    entries = catalog.index()
    if family is not None:
        known = sorted({entry.family for entry in entries})
        if family not in known:
            close = near_misses(family, known)
            hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known) or 'none'}"
            raise UserError(f"unknown family {family!r}; {hint}")
        entries = [entry for entry in entries if entry.family == family]
    if as_json:
        emit([{"slug": e.slug, "title": e.title, "year": e.year, "family": e.family, "claims": e.claims,
               "folder": str(e.folder)} for e in entries])  # fmt: skip
        return
    if not entries:
        click.echo(f"no papers in {catalog.root()}")
        return
    rows = [(e.slug, e.year, e.family, e.claims, e.title) for e in entries]
    click.echo(columns(rows, ("slug", "year", "family", "claims", "title"), terminal_width()))
    click.echo(f"{len(entries)} papers, {sum(e.claims for e in entries)} claims")


@click.command(epilog="Example: replicate show papers/sepc")
@paper_argument
@json_option
def show(paper: str, as_json: bool) -> None:
    """What one paper claims and how it is tested."""
    from replicate import catalog
    from replicate.loading import shown
    from replicate.tables import columns

    found = catalog.find(paper)
    m = found.manifest
    if as_json:
        emit({"folder": str(found.folder), **m.model_dump(mode="json", by_alias=True)})
        return
    width = terminal_width()
    lines = [f"{m.title} ({m.venue} {m.year})", *_wrapped(m.summary, width), ""]
    facts = {"slug": m.slug, "folder": shown(found.folder), "family": m.family, "task": m.task,
             "arXiv": m.arxiv, "code": m.code, "licence": m.licence}  # fmt: skip
    lines += [f"{name:8} {value}" for name, value in facts.items() if value]
    claims = [(c.id, c.kind, _stated(c), f"{c.source.where}, {c.source.locator}", _says(c)) for c in m.claims]
    lines += ["", columns(claims, ("claim", "kind", "stated", "source", "says"), width)]
    arms = [(name, a.role, a.builder, a.says) for name, a in m.arms.items()]
    lines += ["", columns(arms, ("arm", "role", "builder", "says"), width)]
    contrasts = [(c.id, f"{c.better} {'>' if c.relation == 'greater' else '='} {c.worse}", c.metric,
                  f"primary {c.primary}" if c.primary else "secondary", c.placebo or "none")
                 for c in m.contrasts]  # fmt: skip
    if contrasts:
        lines += ["", columns(contrasts, ("contrast", "order", "metric", "rank", "placebo"), width)]
    scales = [(s, spec.profile, spec.seeds, len(m.arms_at(s))) for s, spec in m.scales.items()]
    lines += ["", columns(scales, ("scale", "profile", "seeds", "arms"), width)]
    click.echo("\n".join(lines))


def _wrapped(text: str, width: int | None) -> list[str]:
    import textwrap

    return textwrap.wrap(" ".join(text.split()), min(width or 100, 100))


def _stated(claim: object) -> str:
    from replicate.manifest import Claim

    assert isinstance(claim, Claim)
    unit = "" if claim.unit in ("none", "") else f" {claim.unit}"
    if claim.value is not None:
        return f"{claim.value:g}{unit}"
    if claim.low is not None or claim.high is not None:
        ends = [f"{end:g}" for end in (claim.low, claim.high) if end is not None]
        word = "" if len(ends) == 2 else "at least " if claim.low is not None else "at most "
        return word + " to ".join(ends) + unit
    return "order" if claim.kind == "ordering" else "property"


def _says(claim: object) -> str:
    from replicate.manifest import Claim

    assert isinstance(claim, Claim)
    return claim.says + (f" [blocked: {claim.blocked.why}]" if claim.blocked else "")


@click.command(epilog="Example: replicate new my_paper")
@click.argument("slug")
@click.option("--into", type=click.Path(file_okay=False, path_type=Path), help="Parent folder [papers].")
def new(slug: str, into: Path | None) -> None:
    """Make a paper folder with a tiny real experiment that passes `replicate check` at once."""
    from replicate import scaffold
    from replicate.loading import shown

    folder = scaffold.create(slug, into)
    for path in sorted(folder.iterdir()):
        click.echo(shown(path))
    click.echo(f"next: replicate check {shown(folder)}, then replicate run {shown(folder)}")


@click.command(epilog="Example: replicate check papers/sepc")
@papers_argument()
@click.option("--no-smoke", is_flag=True, help="Skip the smoke runs of the arms.")
@json_option
def check(papers: tuple[str, ...], no_smoke: bool, as_json: bool) -> int:
    """Contract suite and exact claims of paper folders, inside the repository or not."""
    from replicate import catalog, contract

    everything = []
    for paper in catalog.find_all(papers):
        lines = []
        if not as_json:
            click.echo(f"{paper.slug}: {paper.folder}")
        for line in contract.check(paper, smoke=not no_smoke):
            lines.append(line)
            if not as_json:
                click.echo(line.text)
        everything.append((paper, lines))
    if as_json:
        emit([{"paper": p.slug, "lines": [line.to_json() for line in lines]} for p, lines in everything])
    failed = sum(not line.ok for _, lines in everything for line in lines)
    if failed and not as_json:
        click.echo(f"{failed} of {sum(len(lines) for _, lines in everything)} checks failed")
    return 1 if failed else 0


@click.command(epilog="Example: replicate schema --out docs/paper.schema.json")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write to a file.")
def schema(out: Path | None) -> None:
    """JSON schema of paper.yaml, for editors that complete and check YAML."""
    from replicate.loading import schema_text

    if out is None:
        click.echo(schema_text(), nl=False)
    else:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(schema_text(), encoding="utf-8")
        click.echo(str(out))
