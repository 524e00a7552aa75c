"""Static, self-contained pages: no network, inline style, script and figures; they open from the file system."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from replicate._version import __version__
from replicate.judgement import Estimate, Word
from replicate.report import cells, numbers
from replicate.report.markdown import by_paper
from replicate.report.model import ArmSummary, ClaimRow, PaperReport
from replicate.report.plots import Plot, label, plots, primary_metric
from replicate.report.words import ORDER, look

TEMPLATES = Path(__file__).parent / "templates"
_LONG_LIST = 60
"""An evidence list longer than this names the arm, whose own list has every record."""


def paper(report: PaperReport, others: Sequence[tuple[str, str]] = (), drawn: Sequence[Plot] | None = None) -> str:
    """The page of one paper at one scale. ``others``: (scale, file) of its pages at other scales."""
    return _environment().get_template("paper.html").render(
        report=report,
        m=report.manifest,
        others=others,
        rows=[_claim(row, report) for row in report.rows],
        counts=_counts(report.counts),
        contrasts=[_contrast(report, c) for c in report.contrasts],
        plots=_sections(plots(report) if drawn is None else drawn),
        metric_names=list(dict.fromkeys(n for a in report.arms for n in a.metrics)),
        cost_names=list(dict.fromkeys(n for a in report.arms for n in a.cost)),
        primary=primary_metric(report),
        evidence=evidence(report),
        records=_records(report),
        arxiv=arxiv_address(report.manifest.arxiv),
        code=web_address(report.manifest.code),
        version=__version__,
        pending=report.counts.get(Word.PENDING, 0),
        settled=[w for w in ORDER if w in report.counts],
    )  # fmt: skip


def index(reports: Iterable[PaperReport], pages: dict[str, str]) -> str:
    """The suite's front page: a scoreboard of papers. ``pages``: slug -> address of the paper's page."""
    papers = by_paper(reports)
    total = {w: sum(count[w] for _, _, count in papers) for w in ORDER}
    used = [w for w in ORDER if total[w]]
    lines = [
        {
            "m": group[0].manifest,
            "scales": ", ".join(r.scale for r in group),
            "claims": len(rows),
            "judged": sum(count[w] for w in ORDER if look(w).tone in ("good", "part", "bad")),
            "counts": _counts({w: count[w] for w in used}),
            "page": pages[group[0].slug],
        }
        for group, rows, count in papers
    ]
    return _environment().get_template("index.html").render(
        papers=lines,
        counts=_counts({w: total[w] for w in used}),
        claims=sum(total.values()),
        judged=sum(n for w, n in total.items() if look(w).tone in ("good", "part", "bad")),
        version=__version__,
    )  # fmt: skip


def evidence(report: PaperReport) -> list[dict[str, Any]]:
    """What each number stands on: for claims, contrasts and arms, the records (arm, seed, key) behind them."""
    arms = {key: (arm.name, arm) for arm in report.arms for key in arm.keys}
    groups = [
        *((f"ev-arm-{a.name}", f"arm {a.name}", a.keys, report.commands["run"], True) for a in report.arms),
        *(
            (f"ev-contrast-{c.contrast}", f"contrast {c.contrast}", c.keys, report.commands["run"], False)
            for c in report.contrasts
        ),
        *(
            (f"ev-claim-{r.claim.id}", f"claim {r.claim.id}", report.keys_of(r), report.command_for(r), False)
            for r in report.rows
        ),
    ]
    found = []
    for anchor, title, keys, command, complete in groups:
        by_arm: dict[str, list[tuple[int, str]]] = {}
        for key in keys:
            if key in report.records:
                arm = arms[key][0] if key in arms else "unfinished"
                by_arm.setdefault(title[4:] if complete else arm, []).append((report.records[key].spec.seed, key))
        lists = [
            {"arm": arm, "count": len(seeds), "seeds": seeds if complete or len(seeds) <= _LONG_LIST else []}
            for arm, seeds in by_arm.items()
        ]
        found.append({"id": slug_id(anchor), "title": title, "command": command, "lists": lists})
    return found


def slug_id(text: str) -> str:
    """An id without spaces or odd characters, the same for the same text and different for another."""
    return re.sub(r"[^A-Za-z0-9_-]", lambda c: f".{ord(c.group()):x}", text)


def arxiv_address(number: str | None) -> str | None:
    """Address of an arXiv entry, None for something that is not an arXiv number."""
    if number and re.fullmatch(r"(\d{4}\.\d{4,5}|[a-z-]+(\.[A-Z]{2})?/\d{7})(v\d+)?", number):
        return f"https://arxiv.org/abs/{number}"
    return None


def web_address(text: str | None) -> str | None:
    """A plain web address, None for anything else (so no script address can become a link)."""
    if text and re.fullmatch(r"(https?://)?[A-Za-z0-9.-]+\.[A-Za-z]{2,}(/[\w./~%+#?=&@-]*)?", text):
        return text if text.startswith("http") else f"https://{text}"
    return None


def _counts(counts: dict[Word, int]) -> list[dict[str, Any]]:
    return [{"word": w, "n": n, "look": look(w)} for w, n in counts.items() if n]


def _sections(drawn: Sequence[Plot]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {s: [] for s in ("effects", "curves", "family", "cost", "ablations")}
    for plot in drawn:
        view = {"caption": plot.caption, "title": plot.wide.title, "name": plot.wide.name}
        view |= {"wide": Markup(plot.wide.svg), "narrow": Markup(plot.narrow.svg)}
        found[plot.section].append(view)
    return found


def _claim(row: ClaimRow, report: PaperReport) -> dict[str, Any]:
    ours = cells.ours(row, report)
    return {
        "claim": row.claim,
        "verdict": row.verdict,
        "look": look(row.verdict.word),
        "rank": ORDER.index(row.verdict.word),
        "theirs": cells.theirs(row.claim, report),
        "note": cells.theirs_note(row.claim),
        "ours": ours,
        "ours_text": cells.ours_text(row, report),
        "n": row.verdict.ours.n if row.verdict.ours else None,
        "scale": cells.scale_text(row, report),
        "command": report.command_for(row),
        "evidence": slug_id(f"ev-claim-{row.claim.id}"),
        "sort_theirs": row.claim.value if row.claim.value is not None else row.claim.low,
        "sort_ours": ours[0].value if ours else None,
    }


def _contrast(report: PaperReport, c: Any) -> dict[str, Any]:
    planned = next((k for k in report.manifest.contrasts if k.id == c.contrast), None)
    return {
        "c": c,
        "look": look(c.word),
        "rank": ORDER.index(c.word),
        "order": cells.order(planned) if planned else c.contrast,
        "placebo": planned.placebo if planned else None,
        "why_placebo": planned.placebo_reason if planned else None,
        "metric": label(report, planned.metric) if planned else "",
        "evidence": slug_id(f"ev-contrast-{c.contrast}"),
    }


def _records(report: PaperReport) -> list[dict[str, Any]]:
    """One row per key; a trial that serves two arms is listed once, with both names."""
    main = primary_metric(report)
    rows: dict[str, dict[str, Any]] = {}
    for arm, key, record in report.trials():
        if key in rows:
            rows[key]["arm"] += f", {arm}"
            continue
        rows[key] = {
            "arm": arm,
            "key": key,
            "short": key[:12],
            "seed": record.spec.seed,
            "status": record.status,
            "stale": key in report.stale,
            "value": record.metrics.get(main),
            "text": numbers.number(record.metrics.get(main)),
            "path": cells.pointer("records", key, "metrics", main),
            "seconds": record.seconds,
            "time": numbers.duration(record.seconds),
            "error": record.error,
            "command": f"replicate rerun {key}",
        }
    return list(rows.values())


def _num(value: float | None, text: str, path: str, anchor: str = "") -> Markup:
    """A number that says where it stands in the JSON and links to the records behind it."""
    if value is None:
        return Markup('<span class="dash">–</span>')
    inner = Markup('<data value="{}" data-path="{}">{}</data>').format(json.dumps(_finite(value)), path, text)
    return Markup('<a class="num" href="#{}">{}</a>').format(anchor, inner) if anchor else inner


def _finite(value: float) -> float | None:
    return value if value == value and abs(value) != float("inf") else None


def _est(estimate: Estimate | None, path: str, anchor: str, signed: bool = True) -> Markup:
    """An estimate with its interval, as one linked number."""
    if estimate is None:
        return _num(None, "", "")
    return _num(estimate.mean, numbers.interval(estimate, signed=signed), f"{path}/mean", anchor)


def _spread(estimate: Estimate | None, path: str, anchor: str) -> Markup:
    """An estimate as mean ± half-width."""
    if estimate is None:
        return _num(None, "", "")
    return _num(estimate.mean, cells.spread(estimate), f"{path}/mean", anchor)


def _arm_anchor(arm: ArmSummary | str) -> str:
    return slug_id(f"ev-arm-{arm if isinstance(arm, str) else arm.name}")


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    env = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in ("style.css", "script.js"):
        text = (TEMPLATES / name).read_text(encoding="utf-8")
        env.globals[name.replace(".", "_")] = Markup(text)
    env.globals.update(
        num=_num, est=_est, spread=_spread, number=numbers.number, duration=numbers.duration,
        p_value=numbers.p_value, plural=numbers.plural, pointer=cells.pointer, arm_anchor=_arm_anchor, look=look,
        slug_id=slug_id,
    )  # fmt: skip
    return env
