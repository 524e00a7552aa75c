"""Figures as SVG text: deterministic, colour-blind safe, readable on light and dark pages.

Every function takes plain data and a width in CSS pixels, and gives a ``Figure`` with its alt text. Colours are
written as ``var(--name, #hex)``, so a page can restyle them and a lone file still shows the light ones. Text stays
text (searchable, small). Only Figure objects are used: no pyplot, no global state.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from replicate.judgement import Estimate
from replicate.report.numbers import bounded, interval, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

INK, MUTED, GRID, PAPER = "#1a1d21", "#5b6470", "#d9dde3", "#fefefe"
OKABE_ITO = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a6d3b")
"""Okabe and Ito's palette without black (that is the ink) and yellow (unreadable on white)."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
WIDE, NARROW = 720, 350
_VARIABLES = {
    INK: "--fig-ink",
    MUTED: "--fig-muted",
    GRID: "--fig-grid",
    PAPER: "--fig-paper",
    **{c: f"--fig-{i}" for i, c in enumerate(OKABE_ITO, 1)},
}
_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "font.family": ["DejaVu Sans"],
    "font.size": 12,
    "axes.titlesize": 12,
    "axes.labelsize": 12,
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": GRID,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "legend.frameon": False,
    "axes.unicode_minus": True,
    "path.simplify": True,
}


@dataclass(frozen=True)
class Figure:
    """One figure: a name (file name, id), a title, alt text, SVG without XML header."""

    name: str
    title: str
    alt: str
    svg: str
    width: int


@dataclass(frozen=True)
class Effect:
    """One line of a forest plot: an effect, the effect over the placebo, and the paper's own number if any."""

    label: str
    effect: Estimate | None
    over_placebo: Estimate | None = None
    stated: float | None = None
    unit: str = ""


@dataclass(frozen=True)
class Curve:
    """One arm's curves: ``x`` of length T, ``seeds`` of S lists of length T."""

    label: str
    x: Sequence[float]
    seeds: Sequence[Sequence[float]]
    reference: bool = False
    """True for the arm that is drawn in grey in every panel."""


@dataclass(frozen=True)
class Point:
    """One arm in a scatter of quality against cost."""

    label: str
    cost: float
    quality: Estimate
    reference: bool = False


def forest(name: str, effects: Sequence[Effect], *, width: int = WIDE) -> Figure:
    """Effects (and effects over the placebo) with 95 % intervals; one panel per unit."""
    units = list(dict.fromkeys(e.unit for e in effects))
    groups = [[e for e in effects if e.unit == unit] for unit in units]
    stacked = width < 500
    row = 50 if stacked else 40
    height = sum(len(g) * row + 62 for g in groups) + 34
    with _style(name):
        canvas = _canvas(width, height)
        left = 0.03 if stacked else min(0.36, 0.02 + 7.4 * max(len(e.label) for e in effects) / width)
        top = height - 30
        for unit, group in zip(units, groups, strict=True):
            tall = len(group) * row
            axes = canvas.add_axes((left, (top - tall) / height, 0.965 - left, tall / height))
            _forest_panel(axes, group, unit, labels_inside=stacked)
            top -= tall + 62
        handles = [
            _mark("o", OKABE_ITO[0], "over the baseline"),
            _mark("D", OKABE_ITO[1], "over the placebo"),
            *([_mark("|", INK, "paper")] if any(e.stated is not None for e in effects) else []),
        ]
        canvas.legend(
            handles=handles, loc="upper left", ncols=3, fontsize=11 if not stacked else 9.5,
            bbox_to_anchor=(0.0, 1.0), borderaxespad=0.1, handletextpad=0.2, columnspacing=1.0,
        )  # fmt: skip
        alt = "Effects with 95 % intervals. " + " ".join(
            f"{e.label}: {interval(e.effect, signed=True)} {e.unit}"
            + (f", over the placebo {interval(e.over_placebo, signed=True)}" if e.over_placebo else "")
            + "."
            for e in effects
        )
        return _finish(canvas, name, "Effects with 95 % intervals", alt, width)


def curves(name: str, arms: Sequence[Curve], ylabel: str, *, xlabel: str = "step", width: int = WIDE) -> Figure:
    """Mean and 95 % band over seeds, one small panel per arm, the reference arm in grey in each."""
    reference = next((a for a in arms if a.reference), None)
    shown = [a for a in arms if a is not reference] or list(arms)
    columns = max(1, min(len(shown), 1 if width < 300 else 2 if width < 500 else 4 if len(shown) > 6 else 3))
    rows = math.ceil(len(shown) / columns)
    with _style(name):
        height = rows * (150 if width < 500 else 165) + 45
        canvas = _canvas(width, height)
        grid = canvas.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        for index, axes in enumerate(grid.flat):
            if index >= len(shown):
                axes.set_visible(False)
                continue
            if reference is not None:
                _band(axes, reference, MUTED, "--")
            _band(axes, shown[index], OKABE_ITO[0], "-")
            axes.set_title(_clip(shown[index].label, width // columns // 8), loc="left", fontsize=11)
            axes.grid(axis="y", linewidth=0.7)
            axes.tick_params(labelbottom=index + columns >= len(shown))
            axes.locator_params(nbins=4)
        canvas.subplots_adjust(
            left=48 / width, right=1 - 14 / width, top=1 - 24 / height, bottom=50 / height,
            hspace=0.28, wspace=0.12,
        )  # fmt: skip
        canvas.text(0.5, 8 / height, xlabel, ha="center", va="bottom")
        grey = f"; dashed grey: {reference.label}" if reference is not None else ""
        title = f"Learning curves: {ylabel}"
        alt = f"{ylabel} against {xlabel}, mean over seeds with 95 % band{grey}. " + " ".join(
            f"{a.label} ends at {number(_mean_last(a), 2)}." for a in arms if a.seeds
        )
        return _finish(canvas, name, title, alt, width)


def family(
    name: str, metrics: Sequence[str], arms: Mapping[str, Mapping[str, Estimate]], ylabel: str, *, width: int = WIDE
) -> Figure:
    """Several related metrics (AP by object size): one panel each, an arm a line, seeds as dots, mean and interval."""
    names = list(arms)
    narrow = width < 500
    columns = 1 if narrow else min(len(metrics), 4)
    rows = math.ceil(len(metrics) / columns)
    label = min(150, 12 + 7.2 * max((len(n) for n in names), default=1))
    panel = 21 * len(names) + 12
    height = rows * (panel + 52) + 26
    with _style(name):
        canvas = _canvas(width, height)
        grid = canvas.subplots(rows, columns, sharey=True, squeeze=False)
        for index, axes in enumerate(grid.flat):
            if index >= len(metrics):
                axes.set_visible(False)
                continue
            _strip(axes, metrics[index], names, arms)
        canvas.subplots_adjust(
            left=label / width, right=1 - 12 / width, top=1 - 26 / height, bottom=46 / height,
            hspace=56 / panel, wspace=0.1,
        )  # fmt: skip
        canvas.text(1 - 12 / width, 6 / height, ylabel, ha="right", va="bottom", color=MUTED)
        alt = f"{ylabel}; one dot a seed, mean and 95 % interval. " + " ".join(
            f"{m}: " + ", ".join(f"{a} {number(v[m].mean, 2)}" for a, v in arms.items() if m in v) + "."
            for m in metrics
        )
        return _finish(canvas, name, ", ".join(metrics), alt, width)


def cost_quality(name: str, points: Sequence[Point], xlabel: str, ylabel: str, *, width: int = WIDE) -> Figure:
    """Quality (mean and 95 % interval) against cost; equal costs are fanned out by a legend of markers."""
    height = 340 if width >= 500 else 300 + 17 * math.ceil(len(points) / 2)
    below = 0 if width >= 500 else 17 * math.ceil(len(points) / 2) + 10
    with _style(name):
        canvas = _canvas(width, height)
        right = 190 if width >= 500 else 14
        axes = canvas.add_axes(
            (56 / width, (50 + below) / height, 1 - (56 + right) / width, 1 - (64 + below) / height)
        )
        for index, point in enumerate(points):
            _cross(axes, point, index)
        axes.grid(linewidth=0.7)
        axes.set_xlabel(xlabel)
        axes.set_ylabel(ylabel)
        axes.margins(x=0.08, y=0.08)
        axes.locator_params(axis="x", nbins=5)
        axes.set_axisbelow(True)
        place: dict[str, Any] = (
            {"loc": "center left", "bbox_to_anchor": (1 - (right - 12) / width, 0.55)}
            if width >= 500
            else {"loc": "lower left", "bbox_to_anchor": (0.0, 0.0), "ncols": 2}
        )
        canvas.legend(handles=_point_marks(points), fontsize=10.5, borderaxespad=0.2, handletextpad=0.3, **place)
        alt = f"{ylabel} against {xlabel}. " + " ".join(
            f"{p.label}: {number(p.cost)}, {interval(p.quality)}." for p in points
        )
        return _finish(canvas, name, f"{ylabel} against {xlabel}", alt, width)


def ablation(
    name: str,
    values: Sequence[str],
    ours: Mapping[str, Estimate],
    ylabel: str,
    xlabel: str,
    *,
    stated: Mapping[str, float] | None = None,
    width: int = WIDE,
) -> Figure:
    """Metric against the value of one option with 95 % interval; the paper's numbers in a panel of their own scale."""
    paper = {v: stated[v] for v in values if stated and v in stated}
    height = 300
    with _style(name):
        canvas = _canvas(width, height)
        right = 1 - (62 if paper else 14) / width
        axes = canvas.add_axes((56 / width, 52 / height, right - 56 / width, 1 - 88 / height))
        at = {v: i for i, v in enumerate(values)}
        xs = [at[v] for v in values if v in ours]
        means = [ours[v].mean for v in values if v in ours]
        half = [_half(ours[v]) for v in values if v in ours]
        axes.errorbar(xs, means, yerr=half, color=OKABE_ITO[0], marker="o", capsize=3, linewidth=1.6)
        axes.set_xticks(range(len(values)), [_clip(v, 14) for v in values])
        axes.set_xlabel(xlabel)
        axes.set_ylabel(ylabel)
        axes.grid(axis="y", linewidth=0.7)
        axes.margins(x=0.06)
        marks = [_mark("o", OKABE_ITO[0], "ours (left axis)" if paper else "ours")]
        if paper:
            beside = axes.twinx()
            beside.plot([at[v] for v in paper], list(paper.values()), color=OKABE_ITO[1], marker="D", linestyle="--")
            beside.spines["right"].set_visible(True)
            beside.margins(x=0.06)
            marks.append(_mark("D", OKABE_ITO[1], "paper (right axis)"))
        canvas.legend(handles=marks, loc="upper left", ncols=2, fontsize=10.5, borderaxespad=0.1)
        alt = f"{ylabel} by {xlabel}. " + " ".join(
            f"{v}: ours {interval(ours.get(v))}" + (f", paper {number(paper[v])}" if v in paper else "") + "."
            for v in values
        )
        return _finish(canvas, name, f"{ylabel} by {xlabel}", alt, width)


@contextmanager
def _style(name: str) -> Iterator[None]:
    """Our settings for the time of one figure; the salt makes ids equal each time and unique per figure."""
    import matplotlib

    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": name}):
        yield


def _canvas(width: int, height: float) -> Canvas:
    """A figure whose SVG units are CSS pixels."""
    from matplotlib.figure import Figure as Plot

    return Plot(figsize=(width / 72, height / 72), dpi=72)


def _finish(canvas: Canvas, name: str, title: str, alt: str, width: int) -> Figure:
    buffer = io.StringIO()
    canvas.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    box = re.search(r'viewBox="([^"]*)"', svg)
    view = box.group(1) if box else f"0 0 {width} {width}"
    body = svg[svg.index(">") + 1 :]
    # ids such as axes_1 repeat from figure to figure; on one page they must differ
    body = re.sub(r'id="(?=[A-Za-z])', f'id="{name}-', body)
    body = re.sub(r'(xlink:href="|url\()#', rf"\1#{name}-", body).replace("xlink:href", "href")
    for colour, variable in _VARIABLES.items():
        body = re.sub(rf"(?<=: ){colour}\b", f"var({variable}, {colour})", body, flags=re.IGNORECASE)
    body = body.replace("'DejaVu Sans'", "'DejaVu Sans', Verdana, sans-serif")
    body = re.sub(r"[ \t]+\n", "\n", body)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{view}" role="img" '
        f'aria-labelledby="{name}-title {name}-desc" style="max-width: {width}px">'
        f'<title id="{name}-title">{_xml(title)}</title><desc id="{name}-desc">{_xml(alt)}</desc>'
    )
    return Figure(name, title, alt, head + body, width)


def _forest_panel(axes: Axes, group: Sequence[Effect], unit: str, *, labels_inside: bool) -> None:
    axes.axvline(0, color=MUTED, linewidth=1)
    for index, item in enumerate(group):
        y = -index
        for estimate, colour, marker, shift in (
            (item.effect, OKABE_ITO[0], "o", 0.12 if not labels_inside else -0.02),
            (item.over_placebo, OKABE_ITO[1], "D", -0.16 if not labels_inside else -0.26),
        ):
            if estimate is not None:
                _whisker(axes, estimate, y + shift, colour, marker)
        if item.stated is not None:
            axes.plot([item.stated], [y], marker="|", markersize=16, markeredgewidth=2, color=INK, linestyle="")
    axes.set_ylim(-len(group) + 0.45, 0.55)
    axes.grid(axis="x", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines["left"].set_visible(False)
    axes.margins(x=0.06)
    axes.set_xlabel(f"better → ({unit})" if unit else "better →")
    axes.tick_params(axis="y", length=0)
    if labels_inside:
        axes.set_yticks([])
        for index, item in enumerate(group):
            axes.annotate(
                _clip(item.label, 46), (0, -index + 0.3), xycoords=("axes fraction", "data"), fontsize=11,
                ha="left", va="center", bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 1.0},
            )  # fmt: skip
    else:
        axes.set_yticks([-i for i in range(len(group))], [_clip(e.label, 34) for e in group])


def _whisker(axes: Axes, estimate: Estimate, y: float, colour: str, marker: str) -> None:
    if bounded(estimate):
        axes.plot([estimate.low, estimate.high], [y, y], color=colour, linewidth=1.3, solid_capstyle="butt")
        axes.plot([estimate.low90, estimate.high90], [y, y], color=colour, linewidth=3.4, solid_capstyle="butt")
    axes.plot([estimate.mean], [y], marker=marker, color=colour, markersize=7, linestyle="", markeredgecolor=PAPER)


def _band(axes: Axes, arm: Curve, colour: str, line: str) -> None:
    from replicate.report.model import estimate

    steps = min((len(s) for s in arm.seeds), default=0)
    steps = min(steps, len(arm.x))
    if not steps:
        return
    stats = [estimate({i: s[t] for i, s in enumerate(arm.seeds)}) for t in range(steps)]
    axes.plot(arm.x[:steps], [e.mean for e in stats], color=colour, linestyle=line, linewidth=1.6)
    if all(bounded(e) for e in stats):
        axes.fill_between(
            arm.x[:steps], [e.low for e in stats], [e.high for e in stats], color=colour, alpha=0.18, linewidth=0
        )


def _mean_last(arm: Curve) -> float | None:
    last = [s[-1] for s in arm.seeds if len(s)]
    return sum(last) / len(last) if last else None


def _strip(axes: Axes, metric: str, names: Sequence[str], arms: Mapping[str, Mapping[str, Estimate]]) -> None:
    for index, arm in enumerate(names):
        found = arms[arm].get(metric)
        if found is None:
            continue
        colour = MUTED if index == 0 else OKABE_ITO[0]
        dots = list(found.per_seed.values())
        axes.plot(dots, [-index] * len(dots), "o", color=colour, alpha=0.35, markersize=4, markeredgewidth=0)
        _whisker(axes, found, -index, colour, "o")
    axes.set_yticks([-i for i in range(len(names))], [_clip(n, 19) for n in names])
    axes.set_ylim(-len(names) + 0.4, 0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.set_title(metric, loc="left")
    axes.locator_params(axis="x", nbins=4)
    first = arms[names[0]].get(metric) if names else None
    if first is not None:
        axes.axvline(first.mean, color=MUTED, linewidth=1, linestyle="--")


def _look(point: Point, index: int) -> tuple[str, str]:
    return (MUTED, "o") if point.reference else (OKABE_ITO[index % 7], MARKERS[index % 7])


def _cross(axes: Axes, point: Point, index: int) -> None:
    colour, marker = _look(point, index)
    half = _half(point.quality)
    axes.errorbar(
        [point.cost], [point.quality.mean], yerr=[half], color=colour, marker=marker, capsize=3, markersize=8,
        linestyle="", linewidth=1.4, markeredgecolor=PAPER,
    )  # fmt: skip


def _point_marks(points: Sequence[Point]) -> list[Any]:
    marks = []
    for index, point in enumerate(points):
        colour, marker = _look(point, index)
        marks.append(_mark(marker, colour, _clip(point.label, 22)))
    return marks


def _half(estimate: Estimate) -> float:
    return (estimate.high - estimate.low) / 2 if bounded(estimate) else 0.0


def _mark(marker: str, colour: str, label: str) -> Any:
    from matplotlib.lines import Line2D

    return Line2D(
        [], [], marker=marker, color=colour, linestyle="", label=label, markersize=8, markeredgecolor=colour
    )


def _clip(text: str, most: int) -> str:
    # matplotlib reads $...$ as mathematics: names of arms are plain text
    text = text if len(text) <= most else text[: most - 1] + "…"
    return text.replace("$", r"\$")


def _xml(text: str) -> str:
    text = re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f]", "", text)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
