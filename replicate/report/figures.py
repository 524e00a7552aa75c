"""The figures of a report, as SVG text: deterministic, colour-blind safe, readable on light and dark pages.

Every function takes plain data and a width in CSS pixels, and gives a ``Figure`` with its alt text. Only Figure
objects are used: no pyplot, no global state.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from replicate.judgement import Estimate
from replicate.report.numbers import bounded, interval, number
from replicate.report.svg import (
    INK,
    MARKERS,
    MUTED,
    OKABE_ITO,
    PAPER,
    WIDE,
    Figure,
    canvas_of,
    clip,
    finish,
    half,
    mark,
    style,
    whisker,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


_MOST_DOTS = 60
"""With more seeds than this the interval says it all, and dots only make the file large."""


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
    height = sum(len(g) * row + 50 for g in groups) + 30
    with style(name):
        canvas = canvas_of(width, height)
        left = 0.03 if stacked else min(0.36, 0.02 + 7.4 * max(len(e.label) for e in effects) / width)
        top = height - 30
        for unit, group in zip(units, groups, strict=True):
            tall = len(group) * row
            axes = canvas.add_axes((left, (top - tall) / height, 0.965 - left, tall / height))
            _forest_panel(axes, group, unit, labels_inside=stacked)
            top -= tall + 50
        handles = [
            mark("o", OKABE_ITO[0], "over the baseline"),
            mark("D", OKABE_ITO[1], "over the placebo"),
            *([mark("|", INK, "paper")] if any(e.stated is not None for e in effects) else []),
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
        return finish(canvas, name, "Effects with 95 % intervals", alt, width)


def curves(name: str, arms: Sequence[Curve], ylabel: str, *, xlabel: str = "step", width: int = WIDE) -> Figure:
    """Mean and 95 % band over seeds, one small panel per arm, the reference arm in grey in each."""
    reference = next((a for a in arms if a.reference), None)
    shown = [a for a in arms if a is not reference] or list(arms)
    columns = max(1, min(len(shown), 1 if width < 300 else 2 if width < 500 else 4 if len(shown) > 6 else 3))
    rows = math.ceil(len(shown) / columns)
    with style(name):
        height = rows * (150 if width < 500 else 165) + 45
        canvas = canvas_of(width, height)
        grid = canvas.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        for index, axes in enumerate(grid.flat):
            if index >= len(shown):
                axes.set_visible(False)
                continue
            if reference is not None:
                _band(axes, reference, MUTED, "--")
            _band(axes, shown[index], OKABE_ITO[0], "-")
            axes.set_title(clip(shown[index].label, width // columns // 8), loc="left", fontsize=11)
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
        return finish(canvas, name, title, alt, width)


def family(
    name: str, metrics: Sequence[str], arms: Mapping[str, Mapping[str, Estimate]], ylabel: str, *, width: int = WIDE
) -> Figure:
    """Related metrics (AP by object size): a panel each, an arm a line, seeds as dots, mean and interval."""
    names = list(arms)
    narrow = width < 500
    columns = 1 if narrow else min(len(metrics), 4)
    rows = math.ceil(len(metrics) / columns)
    label = min(150, 12 + 7.2 * max((len(n) for n in names), default=1))
    panel = 21 * len(names) + 12
    height = rows * (panel + 52) + 26
    with style(name):
        canvas = canvas_of(width, height)
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
        return finish(canvas, name, ", ".join(metrics), alt, width)


def cost_quality(name: str, points: Sequence[Point], xlabel: str, ylabel: str, *, width: int = WIDE) -> Figure:
    """Quality (mean and 95 % interval) against cost; equal costs are fanned out by a legend of markers."""
    height = 340 if width >= 500 else 300 + 17 * math.ceil(len(points) / 2)
    below = 0 if width >= 500 else 17 * math.ceil(len(points) / 2) + 10
    with style(name):
        canvas = canvas_of(width, height)
        right = 190 if width >= 500 else 14
        axes = canvas.add_axes((56 / width, (50 + below) / height, 1 - (56 + right) / width, 1 - (64 + below) / height))
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
        return finish(canvas, name, f"{ylabel} against {xlabel}", alt, width)


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
    """Metric against the value of one option with 95 % interval; the paper's numbers in a panel of their own below.

    Two panels, not two axes on one: at reduced scale the sizes do not compare, only the shapes.
    """
    paper = {v: stated[v] for v in values if stated and v in stated}
    height = 400 if paper else 270
    with style(name):
        canvas = canvas_of(width, height)
        panels = canvas.subplots(2 if paper else 1, 1, sharex=True, squeeze=False)[:, 0]
        at = {v: i for i, v in enumerate(values)}
        shown = [v for v in values if v in ours]
        panels[0].errorbar(
            [at[v] for v in shown], [ours[v].mean for v in shown], yerr=[half(ours[v]) for v in shown],
            color=OKABE_ITO[0], marker="o", capsize=3, linewidth=1.6,
        )  # fmt: skip
        panels[0].set_title("ours", loc="left")
        panels[0].set_ylabel(ylabel)
        if paper:
            panels[1].plot([at[v] for v in paper], list(paper.values()), color=OKABE_ITO[1], marker="D", linestyle="--")
            panels[1].set_title("paper", loc="left")
        for axes in panels:
            axes.grid(axis="y", linewidth=0.7)
            axes.margins(x=0.06, y=0.12)
            axes.locator_params(axis="y", nbins=5)
        room = (width - 70) // max(1, len(values)) // 7
        panels[-1].set_xticks(range(len(values)), [clip(v, max(4, room)) for v in values])
        panels[-1].set_xlabel(xlabel)
        canvas.subplots_adjust(
            left=58 / width, right=1 - 14 / width, top=1 - 24 / height, bottom=50 / height, hspace=0.24
        )
        alt = f"{ylabel} by {xlabel}. " + " ".join(
            f"{v}: ours {interval(ours.get(v))}" + (f", paper {number(paper[v])}" if v in paper else "") + "."
            for v in values
        )
        return finish(canvas, name, f"{ylabel} by {xlabel}", alt, width)


def _forest_panel(axes: Axes, group: Sequence[Effect], unit: str, *, labels_inside: bool) -> None:
    axes.axvline(0, color=MUTED, linewidth=1)
    for index, item in enumerate(group):
        y = -index
        for estimate, colour, marker, shift in (
            (item.effect, OKABE_ITO[0], "o", 0.12 if not labels_inside else -0.02),
            (item.over_placebo, OKABE_ITO[1], "D", -0.16 if not labels_inside else -0.26),
        ):
            if estimate is not None:
                whisker(axes, estimate, y + shift, colour, marker)
        if item.stated is not None:
            axes.plot([item.stated], [y], marker="|", markersize=16, markeredgewidth=2, color=INK, linestyle="")
    axes.set_ylim(-len(group) + 0.45, 0.55)
    axes.grid(axis="x", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines["left"].set_visible(False)
    axes.margins(x=0.06)
    axes.set_xlabel(f"{unit}, better →" if unit else "better →")
    axes.tick_params(axis="y", length=0)
    if labels_inside:
        axes.set_yticks([])
        for index, item in enumerate(group):
            axes.annotate(
                clip(item.label, 46), (0, -index + 0.3), xycoords=("axes fraction", "data"), fontsize=11,
                ha="left", va="center", bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 1.0},
            )  # fmt: skip
    else:
        axes.set_yticks([-i for i in range(len(group))], [clip(e.label, 34) for e in group])


def _band(axes: Axes, arm: Curve, colour: str, line: str) -> None:
    from replicate.stats import estimate

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
        dots = dots if len(dots) <= _MOST_DOTS else []
        axes.plot(dots, [-index] * len(dots), "o", color=colour, alpha=0.35, markersize=4, markeredgewidth=0)
        whisker(axes, found, -index, colour, "o")
    axes.set_yticks([-i for i in range(len(names))], [clip(n, 19) for n in names])
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
    axes.errorbar(
        [point.cost], [point.quality.mean], yerr=[half(point.quality)], color=colour, marker=marker,
        capsize=3, markersize=8, linestyle="", linewidth=1.4, markeredgecolor=PAPER,
    )  # fmt: skip


def _point_marks(points: Sequence[Point]) -> list[Any]:
    marks = []
    for index, point in enumerate(points):
        colour, marker = _look(point, index)
        marks.append(mark(marker, colour, clip(point.label, 22)))
    return marks
