"""Tables for the terminal: coloured by rich, and equally clear as plain text (pipe, NO_COLOR, narrow)."""

from __future__ import annotations

import io

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from replicate.judgement import ContrastResult, Word
from replicate.report import cells
from replicate.report.model import ClaimRow, PaperReport
from replicate.report.numbers import interval, number, p_value, plural
from replicate.report.words import Tone, look

COLOURS: dict[Tone, str] = {
    "good": "bold green",
    "part": "bold yellow",
    "bad": "bold red",
    "open": "cyan",
    "none": "dim",
}
_NARROW = 78
"""Below this width a table of five columns cannot be read: claims are listed one under the other."""


def render(report: PaperReport, console: Console | None = None, *, contrasts: bool = True) -> None:
    """Print claims, contrasts and the summary line to ``console`` (default: standard output)."""
    out = console or Console(highlight=False)
    out.print(Text(f"{report.slug}: {report.manifest.title}", style="bold"))
    _claims(report, out)
    if contrasts and report.contrasts:
        out.print()
        _contrasts(report, out)
    out.print()
    out.print(Text(summary(report)))
    if report.stale:
        out.print(Text(f"{plural(len(report.stale), 'record')} stale: made by other code; see replicate refresh"))


def text(report: PaperReport, *, width: int = 100, contrasts: bool = True) -> str:
    """The same as plain text of at most ``width`` columns."""
    buffer = io.StringIO()
    render(report, Console(file=buffer, width=width, color_system=None, highlight=False), contrasts=contrasts)
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"


def summary(report: PaperReport) -> str:
    """One line: every registered claim by verdict, then the trials behind them."""
    parts = "; ".join(f"{n} {word}" for word, n in report.counts.items())
    trials = f"{report.done_trials} of {plural(report.planned_trials, 'trial')} done"
    where = f" at {report.scale}" + (" (reduced scale)" if report.reduced else "")
    judged = f"{report.judged} of {plural(len(report.rows), 'claim')} decided"
    return f"{report.slug}{where}: {judged}: {parts or 'no claims'}; {trials}"


def pending_line(report: PaperReport) -> str:
    """One line during a run: trials done, failed and still to come; verdicts stay PENDING."""
    failed = sum(a.failed for a in report.arms)
    pending = report.counts.get(Word.PENDING, 0)
    line = f"{report.done_trials}/{report.planned_trials} trials done"
    if failed:
        line += f", {failed} failed (run again next time)"
    if pending:
        line += f"; {plural(pending, 'verdict')} PENDING until {report.study.planned_n} seeds are there"
    return line


def verdict_text(word: Word, *, ascii_only: bool = False) -> Text:
    """Symbol, word and colour: each alone is enough."""
    style = look(word)
    return Text(f"{style.ascii if ascii_only else style.symbol} {word}", style=COLOURS[style.tone])


def _ascii(out: Console) -> bool:
    return out.options.ascii_only


def _safe(value: str, out: Console) -> str:
    if not _ascii(out):
        return value
    return value.translate({0x2212: "-", 0x2013: "-", 0x00B1: "+-", 0x2248: "~", 0x221E: "inf", 0x2026: "..."})


def _claims(report: PaperReport, out: Console) -> None:
    if out.width < _NARROW:
        for row in report.rows:
            _claim_block(row, report, out)
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, expand=False)
    table.add_column("claim", ratio=3, overflow="fold", min_width=14)
    table.add_column("theirs", ratio=2, overflow="fold")
    table.add_column("ours [95 %]", ratio=3, overflow="fold", min_width=11)
    table.add_column("verdict", ratio=2, overflow="fold", min_width=14)
    table.add_column("scale", overflow="fold")
    for row in report.rows:
        ours = cells.ours_text(row, report)
        table.add_row(
            Text(row.claim.id),
            Text(_safe(cells.theirs(row.claim, report), out)),
            Text(_safe(ours, out), style="dim" if ours.startswith("(") else ""),
            verdict_text(row.verdict.word, ascii_only=_ascii(out)),
            Text(cells.scale_text(row, report)),
        )
    out.print(table)
    if any(cells.ours_text(row, report).startswith("(") for row in report.rows):
        out.print(Text("(in brackets: not judged at this scale, for orientation only)", style="dim"))


def _claim_block(row: ClaimRow, report: PaperReport, out: Console) -> None:
    out.print(Text(row.claim.id, style="bold"))
    out.print(Text("  ").append_text(verdict_text(row.verdict.word, ascii_only=_ascii(out))))
    for label, value in (
        ("theirs", cells.theirs(row.claim, report)),
        ("ours", cells.ours_text(row, report)),
        ("scale", cells.scale_text(row, report)),
    ):
        out.print(Text(f"  {label:<7}{_safe(value, out)}"))


def _contrasts(report: PaperReport, out: Console) -> None:
    if out.width < _NARROW:
        for c in report.contrasts:
            out.print(Text(_order(c, report), style="bold"))
            out.print(Text("  ").append_text(verdict_text(c.word, ascii_only=_ascii(out))))
            out.print(Text(_safe(f"  effect {interval(c.effect, signed=True)}, {c.n}/{c.planned_n} seeds", out)))
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("contrast", overflow="fold", ratio=3)
    table.add_column("effect [95 %]", overflow="fold", ratio=3)
    table.add_column("over placebo", overflow="fold", ratio=3)
    table.add_column("p adj.", overflow="fold")
    table.add_column("seeds", justify="right")
    table.add_column("verdict", overflow="fold", ratio=2, min_width=14)
    for c in report.contrasts:
        table.add_row(
            Text(_safe(_order(c, report), out)),
            Text(_safe(interval(c.effect, signed=True), out)),
            Text(_safe(interval(c.over_placebo, signed=True), out)),
            Text(_safe(p_value(c.effect.p_adjusted if c.effect else None), out)),
            Text(f"{c.n}/{c.planned_n}"),
            verdict_text(c.word, ascii_only=_ascii(out)),
        )
    out.print(table)
    for c in report.contrasts:
        if c.word is Word.INCONCLUSIVE and c.smallest_effect is not None:
            needed = f"; {c.seeds_needed} seeds would be needed for the effect seen" if c.seeds_needed else ""
            seen = number(c.smallest_effect)
            out.print(Text(f"{c.contrast}: {c.n} seeds could have seen an effect of {seen}{needed}"))


def _order(c: ContrastResult, report: PaperReport) -> str:
    planned = next((k for k in report.manifest.contrasts if k.id == c.contrast), None)
    order = cells.order(planned) if planned else c.contrast
    return f"{order} (primary {c.primary})" if c.primary else order
