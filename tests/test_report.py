"""The report on synthetic studies: realistic, empty, hostile, and large."""

from __future__ import annotations

import csv
import io
import json
import math
import random
import re
import time
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from replicate.errors import UserError
from replicate.judgement import ContrastResult, Estimate, GateResult, Judgement, Verdict, Word
from replicate.manifest import Manifest
from replicate.records import Record, Spec
from replicate.report import assemble, build, figures, html, markdown, model, numbers, terminal, write
from replicate.report.words import LOOKS, look
from replicate.study import Study
from replicate.tasks.base import Checked, Gate, Metric

METRICS = {
    "AP": Metric("AP points", worst=0.0, says="box AP, IoU 0.50 to 0.95"),
    "AP50": Metric("AP points"),
    "APs": Metric("AP points"),
    "APm": Metric("AP points"),
    "APl": Metric("AP points"),
}
SKILL = {  # final AP of each synthetic arm
    "plain": 11.0,
    "pconv": 12.6,
    "ibn_pconv": 13.1,
    "lite": 13.4,
    "full": 14.6,
    "individual_bn": 6.5,
    "placebo": 11.4,
    "placebo_deform": 12.7,
}
FAMILIES = {"AP by object size": ("APs", "APm", "APl")}


def manifest(title: str = "Scale-Equalizing Pyramid Convolution for Object Detection", says: str = "") -> Manifest:
    roles = {"plain": "baseline", "full": "method", "placebo": "placebo", "placebo_deform": "placebo"}
    here = {"where": "paper", "locator": "table 2"}

    def claim(id_: str, kind: str, text: str, **more: Any) -> dict[str, Any]:
        return {
            "id": id_,
            "kind": kind,
            "says": says or text,
            "metric": "AP",
            "unit": "AP points",
            "source": here,
        } | more

    claims = [
        claim("pconv_order", "ordering", "PConv beats the plain head", contrasts=["pconv_plain"]),
        claim("ibn_order", "ordering", "iBN helps on top of PConv", contrasts=["ibn_pconv"], low=0.2, high=1.2),
        claim("sepc_order", "ordering", "SEPC beats iBN + PConv", contrasts=["sepc_ibn"]),
        claim("individual_bn", "ordering", "Individual BN collapses", contrasts=["none_individual"]),
        claim("lite_over_ibn", "ordering", "SEPC-lite beats PConv + iBN", contrasts=["lite_ibn"]),
        claim("gain4", "gain", "SEPC adds more than 4 AP", contrasts=["sepc_plain"], low=4.0),
        claim("retina_r50", "absolute", "RetinaNet R50 reaches 39.6", value=39.6, baseline=35.6, arm="full"),
        claim("flops", "structural", "One PConv costs 1.4985 of a conv", value=1.4985, check="flops", unit="ratio"),
        claim("equal", "structural", "Zero offsets make SEPC equal PConv", check="equal", unit="none"),
        claim(
            "latency",
            "efficiency",
            "7 % more time",
            value=7,
            unit="%",
            blocked={"why": "compute", "says": "1080Ti"},
        ),
    ]
    contrasts = [
        {"id": "pconv_plain", "better": "pconv", "worse": "plain", "placebo": "placebo", "primary": 1},
        {"id": "sepc_ibn", "better": "full", "worse": "ibn_pconv", "placebo": "placebo_deform", "primary": 2},
        {"id": "ibn_pconv", "better": "ibn_pconv", "worse": "pconv", "placebo_reason": "adds no capacity"},
        {"id": "none_individual", "better": "pconv", "worse": "individual_bn", "placebo_reason": "a collapse"},
        {"id": "lite_ibn", "better": "lite", "worse": "ibn_pconv", "placebo": "placebo_deform"},
        {"id": "sepc_plain", "better": "full", "worse": "plain", "placebo": "placebo"},
    ]
    return Manifest.model_validate(
        {
            "schema": 1, "slug": "sepc", "version": 1, "title": title, "year": 2020, "venue": "CVPR",
            "family": "detection", "arxiv": "2005.03101", "code": "github.com/jshilong/SEPC",
            "licence": "Apache-2.0", "task": "detection",
            "summary": "A convolution over (scale, y, x) in the head, corrected for the pyramid's uneven blur.",
            "arms": {
                a: {"role": roles.get(a, "variant"), "builder": a, "says": says or f"the {a} head"} for a in SKILL
            },
            "contrasts": [{"metric": "AP"} | c for c in contrasts],
            "claims": claims,
            "scales": {"quick": {"profile": "small", "seeds": 5}, "long": {"profile": "small", "seeds": 10}},
            "deviations": [
                {"what": says or "data", "paper": "COCO", "ours": "sprites on photographs", "sign": "?"},
                {"what": "backbone", "paper": "ResNet-50", "ours": "small CNN", "sign": "-"},
            ],
        }
    )  # fmt: skip


def record(arm: str, seed: int, scale: str, rng: random.Random, *, steps: int = 12, bad: bool = False) -> Record:
    spec = Spec(f"papers.sepc:{arm}", 1, {"depth": 4}, "detection", "small", 1, {"px": 96}, "scenes@1", scale, seed)
    ap = SKILL[arm] + random.Random(seed).gauss(0, 0.7) + rng.gauss(0, 0.35)
    xs = [50.0 * (i + 1) for i in range(steps)]
    curve = [ap * (1 - math.exp(-x / 180)) + rng.gauss(0, 0.15) for x in xs]
    values = {"AP": ap, "AP50": 2.1 * ap, "APs": 0.4 * ap, "APm": 1.1 * ap, "APl": 1.5 * ap}
    deform = arm in ("lite", "full", "placebo_deform")
    return Record(
        spec.key, spec, "diverged" if bad else "ok",
        metrics=dict.fromkeys(values, 0.0) if bad else values,
        curves={"step": xs, "AP": curve, "loss": [3 * math.exp(-x / 300) for x in xs]},
        cost={"head_macs": 9.1e6 * (1.3 if deform else 1), "train_seconds": 31 + 20 * deform + rng.random()},
        seconds=33.0, cpu_seconds=31.0, finished="2026-01-01T00:00:00Z",
        provenance={"code": "ab12", "versions": {"torch": "2.6.0"}, "machine": {"cpu": "x86-64", "cores": 2}},
    )  # fmt: skip


def effect(a: list[float], b: list[float], p: float) -> Estimate:
    e = assemble.mean_over({i: x - y for i, (x, y) in enumerate(zip(a, b, strict=True))})
    return replace(e, p=p, p_adjusted=min(1.0, 2 * p), p_opposite=1 - p)


def make(
    scale: str = "long", seeds: int = 10, *, stop: int | None = None, m: Manifest | None = None, **more: Any
) -> model.PaperReport:
    """A report with ``seeds`` seeds of eight arms, of which the first ``stop`` are there."""
    m = m or manifest()
    rng = random.Random(7)
    records, keys = {}, {}
    for arm in SKILL:
        keys[arm] = {}
        for seed in range(seeds):
            r = record(arm, seed, scale, rng, bad=(arm == "individual_bn" and seed == 3))
            keys[arm][str(seed)] = r.key
            if stop is None or seed < stop:
                records[r.key] = r
    digest = dict.fromkeys([c.id for c in m.claims], "0")
    study = Study(
        m.slug, scale, "small", 1, 1, seeds, tuple(range(seeds)), digest, {c.id: "0" for c in m.contrasts}, keys
    )
    n = min(seeds, seeds if stop is None else stop)
    return build(
        m, study, judge(m, keys, records, n, seeds, scale), records, metrics=METRICS,
        gate=Gate("AP50", 15.0, 1.0, 30.0, "three times untrained"),
        checks={"flops": Checked(True, 1.498534, 1.4985), "equal": Checked(True, detail="bit-equal"),
                "padding": Checked(True, detail="padding 1 keeps the grid")},
        stale=list(records)[:1], metric_families=FAMILIES, cost_axis="train_seconds", **more,
    )  # fmt: skip


def judge(m: Manifest, keys: Any, records: Any, n: int, planned: int, scale: str) -> Judgement:
    def ap(arm: str) -> list[float]:
        return [records[k].metrics["AP"] for k in keys[arm].values() if k in records]

    words = {"pconv_plain": Word.SUPPORTED, "sepc_ibn": Word.SPECIFICITY_OPEN, "ibn_pconv": Word.INCONCLUSIVE,
             "none_individual": Word.SUPPORTED, "lite_ibn": Word.OPPOSITE, "sepc_plain": Word.SUPPORTED,
    }  # fmt: skip
    contrasts = {}
    for c in m.contrasts:
        got = n == planned
        contrasts[c.id] = ContrastResult(
            c.id, words[c.id] if got else Word.PENDING, "because the test says so", c.primary, n, planned,
            effect=effect(ap(c.better), ap(c.worse), 0.004) if n else None,
            over_placebo=effect(ap(c.better), ap(c.placebo), 0.03) if n and c.placebo else None,
            smallest_effect=0.62 if n > 1 else None, seeds_needed=14 if n else None,
            keys=tuple(k for a in (c.better, c.worse) for k in keys[a].values() if k in records),
        )  # fmt: skip
    verdicts = {}
    for c in m.claims:
        word = contrasts[c.contrasts[0]].word if c.contrasts else Word.NOT_TESTED
        computed = None
        if c.kind == "gain" or c.kind == "absolute":
            word = Word.NOT_TESTED
        if c.kind == "structural":
            word, computed = Word.EXACT, 1.498534 if c.value else None
        if c.blocked:
            word = Word.BLOCKED
        verdicts[c.id] = Verdict(
            c.id, word, "one line that says why", scale, reduced=word not in (Word.EXACT, Word.BLOCKED),
            ours=contrasts[c.contrasts[0]].effect if c.contrasts else None, computed=computed,
            contrasts=c.contrasts,
        )  # fmt: skip
    gates = {a: GateResult(a, "AP50", n, 2.1 * SKILL[a], 15.0, a != "individual_bn") for a in SKILL if n == planned}
    return Judgement(m.slug, scale, True, 0.05, list(contrasts.values()), list(verdicts.values()), gates)


class Page(HTMLParser):
    """Checks nesting while it reads; collects ids, links, loads, data values and text."""

    VOID = frozenset({"meta", "link", "br", "input", "img", "hr"})

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.stack: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.loads: list[str] = []
        self.data: list[tuple[str, str, str]] = []
        self.text: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._open: tuple[str, str] | None = None
        self.feed(text)
        self.close()
        assert self.stack == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._note(tag, attrs)
        if tag not in self.VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._note(tag, attrs)

    def _note(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [k for k, _ in attrs]
        assert len(names) == len(set(names)), (tag, names)
        a = dict(attrs)
        self.tags.append((tag, a))
        if a.get("id"):
            self.ids.append(str(a["id"]))
        if tag in ("a", "use") and a.get("href"):
            self.links.append(str(a["href"]))
        elif a.get("href"):
            self.loads.append(str(a["href"]))
        self.loads += [str(a[k]) for k in ("src", "srcset", "xlink:href", "poster", "action") if a.get(k)]
        self.loads += re.findall(r"url\(([^)]*)\)", a.get("style") or "")
        if tag == "data":
            self._open = (str(a["value"]), str(a["data-path"]))

    def handle_endtag(self, tag: str) -> None:
        assert self.stack, tag
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)
        if self._open:
            self.data.append((*self._open, data))
            self._open = None


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site of one paper at two scales, the shorter one still running."""
    out = tmp_path_factory.mktemp("site")
    written = write([make("quick", 5, stop=3), make("long", 10)], out)
    assert written[0] == out / "index.html"
    assert all(p.stat().st_size > 0 for p in written)
    return out


def pages(site: Path) -> dict[Path, Page]:
    return {p: Page(p.read_text(encoding="utf-8")) for p in sorted(site.rglob("*.html"))}


def follow(value: Any, pointer: str) -> Any:
    for part in pointer.split("/")[1:]:
        value = value[part.replace("~1", "/").replace("~0", "~")]
    return value


def test_pages_are_well_formed_and_every_link_resolves(site: Path) -> None:
    found = pages(site)
    assert {p.name for p in found} == {"index.html", "quick.html"}
    assert len(found) == 3
    for path, page in found.items():
        assert len(page.ids) == len(set(page.ids)), [i for i in page.ids if page.ids.count(i) > 1][:3]
        inner = [link for link in page.links if link.startswith("#")]
        assert {link[1:] for link in inner} <= set(page.ids)
        for link in page.links:
            if not link.startswith(("#", "http")):
                assert (path.parent / link).exists(), link
    paper = found[site / "sepc" / "index.html"]
    assert sum(link.startswith("#r-") for link in paper.links) > 100


def test_pages_load_nothing(site: Path) -> None:
    for path, page in pages(site).items():
        assert [x for x in page.loads if not x.startswith("#")] == []
        outside = {x for x in page.links if x.startswith("http")}
        assert outside <= {"https://arxiv.org/abs/2005.03101", "https://github.com/jshilong/SEPC"}
        text = path.read_text(encoding="utf-8")
        assert "@import" not in text
        assert "default-src 'none'" in text
        assert not re.search(r"fetch\(|XMLHttpRequest|<iframe|<object|<embed", text)


def test_numbers_on_the_page_are_those_of_the_json(site: Path) -> None:
    for page_file, data_file in (("index.html", "long.json"), ("quick.html", "quick.json")):
        page = Page((site / "sepc" / page_file).read_text(encoding="utf-8"))
        data = json.loads((site / "sepc" / data_file).read_text(encoding="utf-8"))
        assert len(page.data) > 80
        for value, pointer, text in page.data:
            true = follow(data, pointer)
            assert json.loads(value) == true, pointer
            shown = text.split(" ")[0].replace(",", "").replace(numbers.MINUS, "-").lstrip("+")
            unit = {"M": 1e6, "k": 1e3}.get((text + " ").split(" ")[1], 1.0)
            digits = len(shown.split(".")[1]) if "." in shown else 0
            assert abs(float(shown) * unit - true) <= 0.5000001 * 10**-digits * unit, (pointer, text)


def test_every_number_of_a_claim_leads_to_its_records_and_command(site: Path) -> None:
    report = make()
    text = html.paper(report, drawn=())
    page = Page(text)
    for row in report.rows:
        assert f'id="ev-claim-{row.claim.id}"' in text
    for key in report.records:
        assert f"r-{key}" in page.ids
        assert f"replicate rerun {key}" in page.text
    block = text[text.index('id="ev-claim-pconv_order"') :]
    block = block[: block.index("</div>")]
    linked = set(re.findall(r"#r-([0-9a-f]{64})", block))
    assert linked == set(report.contrast("pconv_plain").keys)  # type: ignore[union-attr]
    assert "replicate run papers/sepc --scale long" in block


def test_tables_have_captions_and_scopes(site: Path) -> None:
    for page in pages(site).values():
        tables = sum(tag == "table" for tag, _ in page.tags)
        assert tables == sum(tag == "caption" for tag, _ in page.tags)
        assert all(a.get("scope") in ("col", "row") for tag, a in page.tags if tag == "th")
        for tag, a in page.tags:
            if tag == "svg":
                assert a.get("role") == "img"
                assert set(str(a["aria-labelledby"]).split()) <= set(page.ids)


def test_reduced_scale_is_said_and_untested_numbers_are_grey(site: Path) -> None:
    text = (site / "sepc" / "index.html").read_text(encoding="utf-8")
    assert "At reduced scale." in text
    row = text[text.index('id="claim-gain4"') :]
    row = row[: row.index("</tr>")]
    assert 'class="grey"' in row
    assert "NOT TESTED" in row
    full = replace(make(), reduced=False)
    assert "At reduced scale." not in html.paper(full, drawn=())
    assert full.deviations == ()


def test_running_study_is_pending_with_the_full_denominator() -> None:
    for stop in (0, 1, 3):
        report = make(seeds=5, stop=stop)
        page = Page(html.paper(report, drawn=None if stop == 1 else ()))
        words = "".join(page.text)
        assert "Still running." in words
        assert report.counts[Word.PENDING] == 5
        assert sum(report.counts.values()) == len(report.manifest.claims)
        assert f"{stop * len(SKILL)} of {5 * len(SKILL)} trials done" in terminal.summary(report)
        json.dumps(report.to_json(), allow_nan=False)
        assert "PENDING" in markdown.paper(report)
        assert "PENDING until 5 seeds" in terminal.pending_line(report)


def test_a_claim_without_verdict_is_pending_not_dropped() -> None:
    m = manifest()
    study = Study(m.slug, "smoke", "small", 1, 1, 1, (0,), {}, {}, {})
    report = build(m, study, Judgement(m.slug, "smoke", True, 0.05, [], [], {}), {})
    assert report.counts == {Word.PENDING: len(m.claims)}
    assert Page(html.paper(report))
    assert terminal.text(report).count("PENDING") >= len(m.claims)


HOSTILE = "<script>alert(1)</script> & \"quotes\" 'x' | pipe `tick` $\\frac{a}$ ]]> --> {{ 7*7 }} \x07é漢"


def test_hostile_strings_are_shown_not_run(tmp_path: Path) -> None:
    m = manifest(title=HOSTILE, says=HOSTILE).model_copy(
        update={"code": "javascript:alert(1)", "arxiv": '"><img src=x>', "summary": HOSTILE, "venue": HOSTILE}
    )
    report = make(seeds=3, m=m, paper_path="papers/<b>x")
    broken = next(iter(report.records))
    records = dict(report.records) | {broken: report.records[broken].with_(error=HOSTILE, status="failed")}
    report = replace(report, records=records, notes=(HOSTILE,))
    clean = Page(html.paper(make(seeds=3), drawn=()))
    page = Page(html.paper(report, drawn=()))
    assert "{{ 7*7 }}" in "".join(page.text)
    for tag in ("script", "img", "b"):
        assert sum(t == tag for t, _ in page.tags) == sum(t == tag for t, _ in clean.tags)
    assert not any(link.startswith("javascript") for link in page.links)
    table = markdown.table(report)
    assert "<script" not in markdown.paper(report)
    columns = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines() if line.startswith("|")}
    assert columns == {6}
    assert "<script>alert(1)</script>" in terminal.text(report, width=200)
    arms = {HOSTILE: {"AP": assemble.mean_over({0: 1.0, 1: 2.0})}}
    drawn = figures.family("family", ["AP"], arms, HOSTILE)
    assert all(tag != "script" for tag, _ in Page(drawn.svg).tags)


def test_svg_is_equal_each_time_and_a_site_too(site: Path, tmp_path: Path) -> None:
    write([make("long", 10), make("quick", 5, stop=3)], tmp_path)
    for path in sorted(p for p in site.rglob("*") if p.is_file()):
        assert path.read_bytes() == (tmp_path / path.relative_to(site)).read_bytes(), path
    svg = (site / "sepc" / "figures" / "long-forest.svg").read_text(encoding="utf-8")
    assert svg.startswith("<svg ")
    assert "<desc" in svg
    assert "date" not in svg.lower()
    assert "var(--fig-ink, #1a1d21)" in svg


def test_figures_say_their_numbers_in_words() -> None:
    e = assemble.mean_over({0: 1.0, 1: 2.0, 2: 3.0})
    alone = assemble.mean_over({0: 5.0})
    made = [
        figures.forest("f", [figures.Effect("a > b", e, None, 1.5, "AP"), figures.Effect("c > d", alone)]),
        figures.curves("c", [figures.Curve("a", [1, 2], [[0.1, 0.2], [0.1, 0.4]], reference=True)], "AP"),
        figures.family("g", ["APs", "APl"], {"a": {"APs": e}, "b": {"APl": alone}}, "AP"),
        figures.cost_quality("s", [figures.Point("a", 3.0, e, reference=True)], "seconds", "AP"),
        figures.ablation("l", ["2", "3"], {"2": e}, "AP", "depth", stated={"2": 35.0, "3": 36.0}),
    ]
    for figure in made:
        page = Page(figure.svg)
        assert {i.split("-")[0] for i in page.ids} == {figure.name}
        assert "Infinity" not in figure.svg
        assert "nan" not in figure.svg.lower()
    assert "+2.0 [−0.5, +4.5] AP" in made[0].alt
    assert "no interval" in made[0].alt
    assert "a ends at 0.30" in made[1].alt
    assert "paper 36" in made[4].alt


def test_a_diverged_run_counts_at_the_worst_value() -> None:
    report = make()
    arm = report.arm("individual_bn")
    assert arm is not None
    assert (arm.done, arm.diverged) == (10, 1)
    assert arm.metrics["AP"].per_seed[3] == METRICS["AP"].worst
    without = [v for s, v in arm.metrics["AP"].per_seed.items() if s != 3]
    assert arm.metrics["AP"].mean == pytest.approx(sum(without) / 10)


def test_means_have_students_t_intervals() -> None:
    e = assemble.mean_over({0: 1.0, 1: 2.0, 2: 4.0})
    half = 4.302652729696142 * 1.5275252316519468 / 3**0.5
    assert (e.mean, e.low, e.high) == pytest.approx((7 / 3, 7 / 3 - half, 7 / 3 + half))
    assert e.low < e.low90 < e.mean < e.high90 < e.high


def test_readme_table_round_trip(tmp_path: Path) -> None:
    path, report = tmp_path / "README.md", make()
    path.write_text(f"# SEPC\n\nBefore.\n\n{markdown.BEGIN}\n{markdown.END}\n\nAfter.\n")
    assert not markdown.readme_is_fresh(path, report)
    assert markdown.update_readme(path, report)
    assert markdown.readme_is_fresh(path, report)
    assert not markdown.update_readme(path, report)
    text = path.read_text()
    assert text.startswith("# SEPC\n\nBefore.\n")
    assert text.endswith(f"{markdown.END}\n\nAfter.\n")
    assert "10 registered claims" in text
    path.write_text(text.replace("SUPPORTED", "REFUTED", 1))
    assert not markdown.readme_is_fresh(path, report)


@pytest.mark.parametrize("text", ["no markers", markdown.BEGIN, f"{markdown.END}\n{markdown.BEGIN}"])
def test_readme_without_markers_is_one_clear_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "README.md"
    path.write_text(text)
    with pytest.raises(UserError, match=r"README\.md.*replicate:table") as caught:
        markdown.update_readme(path, make(seeds=2))
    assert "\n" not in str(caught.value)
    assert path.read_text() == text


def test_the_strongest_scale_speaks_by_rank_not_by_outcome() -> None:
    quick, long = make("quick", 5), make("long", 10)
    flipped = tuple(
        replace(r, verdict=replace(r.verdict, word=Word.INCONCLUSIVE)) if r.claim.id == "pconv_order" else r
        for r in long.rows
    )
    long = replace(long, rows=flipped)
    chosen = {row.claim.id: (row.verdict.word, report.scale) for row, report in model.strongest([quick, long])}
    assert chosen["pconv_order"] == (Word.INCONCLUSIVE, "long")
    running = make("long", 10, stop=2)
    chosen = {row.claim.id: report.scale for row, report in model.strongest([running, quick])}
    assert chosen["pconv_order"] == "quick"
    assert chosen["gain4"] == "long"
    assert len(chosen) == len(quick.rows)


def test_scoreboard_counts_every_claim(site: Path) -> None:
    board = (site / "SCOREBOARD.md").read_text(encoding="utf-8")
    assert "1 paper, 10 registered claims" in board
    assert "| **all** |" in board
    lines = list(csv.DictReader(io.StringIO((site / "scoreboard.csv").read_text(encoding="utf-8"))))
    assert len(lines) == 10
    assert {line["scale"] for line in lines} == {"long"}
    assert len(json.loads((site / "scoreboard.json").read_text(encoding="utf-8"))) == 10


def test_tidy_records(site: Path) -> None:
    report = make()
    frame = report.frame()
    assert len(frame) == 80 * (len(METRICS) + 2)
    mean = frame[(frame.arm == "full") & (frame.name == "AP")].value.mean()
    assert mean == pytest.approx(report.arm("full").metrics["AP"].mean)  # type: ignore[union-attr]
    assert frame[frame.stale].key.nunique() == 1
    lines = list(csv.DictReader(io.StringIO((site / "sepc" / "long-records.csv").read_text(encoding="utf-8"))))
    assert len(lines) == len(frame)


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_terminal_fits_its_width(width: int) -> None:
    text = terminal.text(make(), width=width)
    assert max(map(len, text.splitlines())) <= width
    flat = "".join(text.split())
    for row in make().rows:
        assert row.claim.id in flat
    assert "SUPPORTED" in flat
    assert "\x1b" not in text
    assert "10claims" in flat


def test_terminal_colours_only_where_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    coloured = io.StringIO()
    terminal.render(make(), Console(file=coloured, force_terminal=True, width=120))
    assert "\x1b[1;32m" in coloured.getvalue()
    monkeypatch.setenv("NO_COLOR", "1")
    plain = io.StringIO()
    terminal.render(make(), Console(file=plain, force_terminal=True, width=120))
    assert "\x1b[1;32m" not in plain.getvalue()
    assert "✓ SUPPORTED" in plain.getvalue()


def test_terminal_without_unicode() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    terminal.render(make(), Console(file=stream, width=100, color_system=None))
    stream.flush()
    assert b"+ SUPPORTED" in raw.getvalue()


def test_every_verdict_has_a_look_of_its_own() -> None:
    assert set(LOOKS) == set(Word)
    assert all(look(w).symbol and look(w).ascii.isascii() and look(w).says for w in Word)
    by_tone: dict[str, set[str]] = {}
    for w in Word:
        by_tone.setdefault(look(w).tone, set()).add(look(w).symbol)
    tones = list(by_tone.values())
    assert all(not a & b for i, a in enumerate(tones) for b in tones[i + 1 :])


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (-0.00001, "−1e-5"), (1234567, "1,234,567"), (1.4985, "1.4985"), (1.0, "1"), (39.6, "39.6"),
     (0.025, "0.025"), (float("nan"), "NaN"), (float("-inf"), "−∞"), (None, "–"), (2.5e9, "2.5e9")],
)  # fmt: skip
def test_numbers(value: float | None, text: str) -> None:
    assert numbers.number(value) == text


def test_numbers_keep_the_digits_that_the_interval_supports() -> None:
    wide = Estimate(5, 12.3456, 1, 10.1, 14.6, 10.5, 14.2)
    assert numbers.interval(wide) == "12.3 [10.1, 14.6]"
    assert numbers.number(-0.001, 2, signed=True) == "0.00"
    assert numbers.number(0.4, 0, signed=True) == "+0"
    assert numbers.large(9_100_000) == "9.1 M"
    assert numbers.duration(3725) == "1 h 02 min"
    assert numbers.p_value(0.00001) == "< 0.0001"


def test_ten_thousand_records_render_in_reasonable_time(tmp_path: Path) -> None:
    report = make(seeds=1250)
    assert len(report.records) == 10_000
    start = time.process_time()
    text = html.paper(report)
    assert time.process_time() - start < 30
    assert text.count('id="r-') == 10_000
    assert len(text) < 20e6
    assert {link[1:] for link in re.findall(r'href="(#[^"]+)"', text)} <= set(re.findall(r'id="([^"]+)"', text))


def test_terminal_report_needs_no_heavy_import() -> None:
    import subprocess
    import sys

    code = (
        "import sys, replicate.report, replicate.report.terminal, replicate.report.markdown;"
        "print([m for m in ('torch','pandas','scipy','matplotlib','jinja2','ray') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
