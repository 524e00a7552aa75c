"""Writes the static site: front page, scoreboard, a folder per paper with pages, data and figures."""

from __future__ import annotations

import csv
import io
import json
import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from replicate.errors import UserError
from replicate.judgement import Estimate
from replicate.report import cells, html, markdown
from replicate.report.model import PaperReport
from replicate.report.plots import plots


def write(reports: Sequence[PaperReport], out: Path) -> list[Path]:
    """Write ``index.html``, ``SCOREBOARD.md``, ``scoreboard.json|csv`` and ``<slug>/`` for every paper.

    A paper's ``index.html`` is its strongest scale; other scales are ``<scale>.html`` beside it. For each scale
    there are ``<scale>.json`` (everything), ``<scale>-{claims,contrasts,arms,records}.csv``, ``<scale>.md`` and
    ``figures/<scale>-*.svg``. Returns the paths written, the front page first. Equal reports give equal files.
    """
    made: list[Path] = []
    pages: dict[str, str] = {}
    for group, _, _ in markdown.by_paper(reports):
        slug = group[0].slug
        pages[slug] = f"{slug}/index.html"
        files = {r.scale: "index.html" if r is group[0] else f"{r.scale}.html" for r in group}
        if len(files) != len(group):
            raise UserError(f"{slug}: two reports at the same scale; give one study per paper and scale")
        for report in group:
            others = [(scale, file) for scale, file in files.items() if scale != report.scale]
            made += _paper(report, out / slug, files[report.scale], others)
    board = [_put(out / "index.html", html.index(reports, pages))]
    board.append(_put(out / "SCOREBOARD.md", markdown.scoreboard(reports)))
    lines = _scoreboard(reports)
    board.append(_put(out / "scoreboard.json", _json(lines)))
    board.append(_put(out / "scoreboard.csv", _csv(lines)))
    return board + made


def _paper(report: PaperReport, folder: Path, page: str, others: list[tuple[str, str]]) -> list[Path]:
    drawn = plots(report)
    made = [_put(folder / page, html.paper(report, others, drawn))]
    made.append(_put(folder / f"{report.scale}.md", markdown.paper(report)))
    made.append(_put(folder / f"{report.scale}.json", _json(report.to_json())))
    for name, lines in (("claims", _claims(report)), ("contrasts", _contrasts(report)), ("arms", _arms(report))):
        made.append(_put(folder / f"{report.scale}-{name}.csv", _csv(lines)))
    records = report.frame().to_csv(index=False, lineterminator="\n")
    made.append(_put(folder / f"{report.scale}-records.csv", records))
    for plot in drawn:
        made.append(_put(folder / "figures" / f"{report.scale}-{plot.wide.name}.svg", plot.wide.svg))
    return made


def _put(path: Path, text: str) -> Path:
    """Write at once: a reader (or a killed run) never sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n"


def _csv(lines: list[dict[str, Any]]) -> str:
    buffer = io.StringIO()
    heads = list(dict.fromkeys(k for line in lines for k in line))
    table = csv.DictWriter(buffer, heads, lineterminator="\n")
    table.writeheader()
    table.writerows(lines)
    return buffer.getvalue()


def _estimate(prefix: str, estimate: Estimate | None) -> dict[str, Any]:
    names = ("n", "mean", "sd", "low", "high", "p", "p_adjusted")
    return {f"{prefix}_{n}": getattr(estimate, n) if estimate else None for n in names}


def _claims(report: PaperReport) -> list[dict[str, Any]]:
    return [
        {
            "slug": report.slug,
            "claim": row.claim.id,
            "kind": row.claim.kind,
            "says": row.claim.says,
            "metric": row.claim.metric,
            "unit": row.claim.unit,
            "stated": row.claim.value,
            "stated_low": row.claim.low,
            "stated_high": row.claim.high,
            "locator": row.claim.source.locator,
            "computed": row.verdict.computed,
            **_estimate("ours", row.verdict.ours),
            **_estimate("ours_minus_theirs", row.verdict.against),
            "verdict": row.verdict.word.value,
            "why": row.verdict.says,
            "scale": cells.scale_text(row, report),
            "command": report.command_for(row),
        }
        for row in report.rows
    ]


def _contrasts(report: PaperReport) -> list[dict[str, Any]]:
    return [
        {
            "slug": report.slug,
            "contrast": c.contrast,
            "primary": c.primary,
            "verdict": c.word.value,
            "n": c.n,
            "planned_n": c.planned_n,
            **_estimate("effect", c.effect),
            **_estimate("over_placebo", c.over_placebo),
            "smallest_effect": c.smallest_effect,
            "seeds_needed": c.seeds_needed,
        }
        for c in report.contrasts
    ]


def _arms(report: PaperReport) -> list[dict[str, Any]]:
    return [
        {
            "slug": report.slug,
            "arm": a.name,
            "role": a.role,
            "planned": a.planned,
            "done": a.done,
            "diverged": a.diverged,
            "failed": a.failed,
            "kind": kind,
            "name": name,
            **_estimate("value", value),
        }
        for a in report.arms
        for kind, values in (("metric", a.metrics), ("cost", a.cost))
        for name, value in values.items()
    ]


def _scoreboard(reports: Iterable[PaperReport]) -> list[dict[str, Any]]:
    """One line per claim of every paper: the strongest scale that judged it."""
    return [
        {
            "slug": report.slug,
            "claim": row.claim.id,
            "says": row.claim.says,
            "kind": row.claim.kind,
            "theirs": cells.theirs(row.claim, report),
            "ours": cells.ours_text(row, report),
            "verdict": row.verdict.word.value,
            "scale": row.verdict.scale or report.scale,
            "reduced": row.verdict.reduced,
        }
        for _, rows, _ in markdown.by_paper(reports)
        for row, report in rows
    ]
