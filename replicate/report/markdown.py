"""Markdown: a paper's report, the generated table of its README, and the scoreboard of the suite.

Nothing here depends on the clock, so regenerating from equal records gives equal files.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

from replicate.errors import UserError
from replicate.judgement import Word
from replicate.report import cells
from replicate.report.model import ClaimRow, PaperReport, by_strength, strongest
from replicate.report.numbers import duration, interval, number, p_value, plural
from replicate.report.terminal import summary
from replicate.report.words import ORDER, look

BEGIN = "<!-- replicate:table:begin -->"
END = "<!-- replicate:table:end -->"


def table(*reports: PaperReport) -> str:
    """The claims table of one paper; given several scales, each claim shows the strongest that judged it."""
    pairs = strongest(reports)
    body = [_claim_line(row, report) for row, report in pairs]
    head = ["claim", "theirs", "ours [95 % interval]", "verdict", "scale"]
    return _table(head, body) + "\n\n" + _denominator(row for row, _ in pairs) + "\n"


def update_readme(path: Path, *reports: PaperReport) -> bool:
    """Put the generated table between the markers of a README; True when the file changed."""
    old = _read(path)
    new = _replaced(old, path, reports)
    if new == old:
        return False
    path.write_text(new, encoding="utf-8")
    return True


def readme_is_fresh(path: Path, *reports: PaperReport) -> bool:
    """True when the README's table is what the reports give."""
    old = _read(path)
    return _replaced(old, path, reports) == old


def paper(report: PaperReport) -> str:
    """The whole report of one paper at one scale."""
    m = report.manifest
    links = [f"[arXiv:{m.arxiv}](https://arxiv.org/abs/{m.arxiv})"] if m.arxiv else []
    links += [f"code: {escape(m.code)}"] if m.code else []
    parts = [
        f"# {escape(m.title)}",
        f"{escape(m.venue)} {m.year}. " + ", ".join(links),
        escape(m.summary),
        f"**{escape(summary(report))}**",
        "## Claims",
        _table(
            ["claim", "says", "theirs", "ours [95 % interval]", "verdict", "scale", "why"],
            [_claim_line(row, report, long=True) for row in report.rows],
        ),
        _notes(report),
        "## Contrasts",
        _contrasts(report),
        "## Arms",
        _arms(report),
        "## Gates",
        _gates(report),
        "## Exact checks and traps",
        _checks(report),
        "## Deviations",
        _deviations(report),
        "## Environment",
        _environment(report),
        "## How to repeat",
        _repeat(report),
    ]
    return "\n\n".join(p for p in parts if p) + "\n"


def scoreboard(reports: Iterable[PaperReport]) -> str:
    """All papers: claims counted by verdict, with the full denominator."""
    papers = by_paper(reports)
    used = [word for word in ORDER if any(count[word] for _, _, count in papers)]
    head = ["paper", "year", "scale", "claims", "decided", *[f"{look(w).symbol} {w}" for w in used]]
    total: Counter[Word] = Counter()
    body = []
    for group, rows, count in papers:
        total.update(count)
        m = group[0].manifest
        scales = ", ".join(r.scale for r in group)
        decided = sum(n for w, n in count.items() if look(w).tone in ("good", "part", "bad"))
        name = f"[{escape(m.slug)}](../papers/{m.slug}/README.md)"
        body.append([name, str(m.year), scales, str(len(rows)), str(decided), *[str(count[w]) for w in used]])
    decided = sum(n for w, n in total.items() if look(w).tone in ("good", "part", "bad"))
    body.append(["**all**", "", "", f"**{total.total()}**", f"**{decided}**", *[f"**{total[w]}**" for w in used]])
    return (
        "\n\n".join(
            [
                "# Scoreboard",
                f"{plural(len(papers), 'paper')}, {plural(total.total(), 'registered claim')}; "
                "every registered claim is counted, also those that nobody could judge. "
                "Where a paper was run at several scales, each claim shows the strongest scale that judged it. "
                "Verdicts on trained claims below `full` hold at reduced scale only.",
                _table(head, body),
                "\n".join(f"- {look(w).symbol} **{w}**: {look(w).says}" for w in used),
            ]
        ).rstrip()
        + "\n"
    )


def by_paper(
    reports: Iterable[PaperReport],
) -> list[tuple[list[PaperReport], list[tuple[ClaimRow, PaperReport]], Counter[Word]]]:
    """Reports grouped by paper (sorted by slug): the group, strongest first, its claim rows, their words."""
    ordered = sorted(reports, key=lambda r: r.slug)
    papers = []
    for _, members in groupby(ordered, key=lambda r: r.slug):
        group = by_strength(members)
        rows = strongest(group)
        papers.append((group, rows, Counter(row.verdict.word for row, _ in rows)))
    return papers


def escape(value: object) -> str:
    """Text that Markdown (and HTML inside it) shows as it is, on one line, also in a table cell."""
    flat = re.sub(r"\s+", " ", str(value)).strip()
    flat = flat.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|#~])", r"\\\1", flat)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such README; make one that holds {BEGIN} and {END}") from error


def _replaced(old: str, path: Path, reports: Sequence[PaperReport]) -> str:
    if old.count(BEGIN) != 1 or old.count(END) != 1 or old.index(BEGIN) > old.index(END):
        raise UserError(f"{path}: needs one line {BEGIN} and after it one line {END}; the table goes between them")
    before, rest = old.split(BEGIN)
    after = rest.split(END)[1]
    return f"{before}{BEGIN}\n{table(*reports)}{END}{after}"


def _table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _claim_line(row: ClaimRow, report: PaperReport, *, long: bool = False) -> list[str]:
    style = look(row.verdict.word)
    theirs = f"{escape(cells.theirs(row.claim, report))} ({escape(cells.theirs_note(row.claim))})"
    ours = escape(cells.ours_text(row, report))
    verdict = f"{style.symbol} **{row.verdict.word}**"
    line = [f"`{row.claim.id}`", theirs, ours, verdict, escape(cells.scale_text(row, report))]
    if long:
        line = [line[0], escape(row.claim.says), *line[1:], escape(row.verdict.says)]
    return line


def _denominator(rows: Iterable[ClaimRow]) -> str:
    count = Counter(row.verdict.word for row in rows)
    parts = "; ".join(f"{count[w]} {w}" for w in ORDER if count[w])
    return f"{plural(count.total(), 'registered claim')}: {parts or 'none'}."


def _notes(report: PaperReport) -> str:
    notes = ["Numbers in brackets are not judged at this scale; they are shown for orientation only."]
    if report.reduced:
        notes.append("Verdicts on trained claims hold at reduced scale: smaller data, models and budgets.")
    notes += [escape(n) for n in report.notes]
    if report.stale:
        notes.append(f"{plural(len(report.stale), 'record')} stale: made by code that has changed since.")
    return "\n".join(f"- {n}" for n in notes)


def _contrasts(report: PaperReport) -> str:
    if not report.contrasts:
        return "None planned at this scale."
    body = []
    for c in report.contrasts:
        planned = next((k for k in report.manifest.contrasts if k.id == c.contrast), None)
        body.append(
            [
                f"`{c.contrast}`" + (f" (primary {c.primary})" if c.primary else ""),
                escape(cells.order(planned)) if planned else "",
                interval(c.effect, signed=True),
                interval(c.over_placebo, signed=True),
                p_value(c.effect.p if c.effect else None).replace("<", "&lt;"),
                p_value(c.effect.p_adjusted if c.effect else None).replace("<", "&lt;"),
                f"{c.n} of {c.planned_n}",
                number(c.smallest_effect),
                f"{look(c.word).symbol} **{c.word}**",
            ]
        )
    head = ["contrast", "order", "effect", "over placebo", "p", "p adjusted", "seeds", "could see", "result"]
    return _table(head, body)


def _arms(report: PaperReport) -> str:
    names = list(dict.fromkeys(m for a in report.arms for m in a.metrics))
    body = [
        [
            f"`{a.name}`",
            a.role,
            f"{a.done} of {a.planned}" + (f", {a.diverged} diverged" if a.diverged else ""),
            *[cells.spread(a.metrics[m]) if m in a.metrics else "–" for m in names],
            duration(a.seconds) if a.done else "–",
        ]
        for a in report.arms
    ]
    heads = [f"{escape(m)}" + (f" ({escape(report.metrics[m].unit)})" if m in report.metrics else "") for m in names]
    return _table(["arm", "role", "seeds", *heads, "a trial"], body) if body else "No arm runs at this scale."


def _gates(report: PaperReport) -> str:
    if not report.gates:
        return "No gate at this scale."
    say = {True: "✓ passed", False: "✗ failed", None: "… pending"}
    body = [[f"`{g.arm}`", escape(g.metric), number(g.floor), number(g.value), say[g.passed]] for g in report.gates]
    whys = sorted({g.why for g in report.gates if g.why})
    return _table(["arm", "metric", "floor", "ours", "gate"], body) + "".join(f"\n\n{escape(w)}" for w in whys)


def _checks(report: PaperReport) -> str:
    if not report.checks:
        return f"Not in this report; `{report.commands['check']}` runs them."
    body = [
        [
            f"`{c.name}`",
            "claim " + ", ".join(c.claims) if c.claims else "trap",
            number(c.value),
            number(c.expected),
            "✓ holds" if c.ok else "✗ fails",
            escape(c.detail or c.says),
        ]
        for c in report.checks
    ]
    return _table(["check", "for", "computed", "stated", "result", "detail"], body)


def _deviations(report: PaperReport) -> str:
    body = [[escape(d.what), escape(d.paper), escape(d.ours), d.sign] for d in report.deviations]
    head = ["what", "paper", "ours", "expected effect on the gain"]
    return _table(head, body) if body else "None declared for this scale."


def _environment(report: PaperReport) -> str:
    lines = []
    for e in report.environments:
        facts = [f"{escape(k)} {escape(v)}" for k, v in (*e.machine.items(), *e.versions.items())]
        lines.append(f"- {plural(e.records, 'record')}: " + (", ".join(facts) or "not recorded"))
    return "\n".join(lines) or "No records yet."


def _repeat(report: PaperReport) -> str:
    commands = [report.commands["run"], report.commands["check"], report.commands["report"], "replicate rerun KEY"]
    return "```\n" + "\n".join(commands) + "\n```\n\nKeys of the records stand beside this file as JSON and CSV."
