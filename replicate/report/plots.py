"""Which figures a paper's report shows, made from its data; each in a wide and a narrow form."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from replicate.judgement import Estimate
from replicate.manifest import Ablation
from replicate.report import cells, figures
from replicate.report.model import PaperReport
from replicate.report.numbers import plural
from replicate.report.svg import NARROW, WIDE, Figure

_MOST_CURVES = 3


@dataclass(frozen=True)
class Plot:
    """One figure of the page in both widths, and the section it belongs to."""

    section: str
    caption: str
    wide: Figure
    narrow: Figure


def plots(report: PaperReport) -> list[Plot]:
    """Every figure that the data allow, in page order."""
    return [*_forest(report), *_curves(report), *_families(report), *_cost(report), *_ablations(report)]


def primary_metric(report: PaperReport) -> str:
    """The metric that most contrasts are judged by; else the first that the arms have."""
    named = [c.metric for c in report.manifest.contrasts]
    if named:
        return max(dict.fromkeys(named), key=named.count)
    return next((m for a in report.arms for m in a.metrics), "")


def label(report: PaperReport, metric: str) -> str:
    """``accuracy (%)``; a unit that already names the metric (``AP points``) stands alone."""
    unit = report.metrics[metric].unit if metric in report.metrics else ""
    if metric in unit.split():
        return unit
    return f"{metric} ({unit})" if unit else metric


def reference_arm(report: PaperReport) -> str | None:
    """The baseline that figures draw in grey."""
    return next((a.name for a in report.arms if a.role == "baseline"), None)


def _both(section: str, name: str, caption: str, draw: Callable[[str, int], Figure]) -> Plot:
    return Plot(section, caption, draw(name, WIDE), draw(f"{name}-narrow", NARROW))


def _forest(report: PaperReport) -> list[Plot]:
    effects = []
    for result in report.contrasts:
        if result.effect is None:
            continue
        planned = next((c for c in report.manifest.contrasts if c.id == result.contrast), None)
        stated = [
            row.claim.value
            for row in report.rows
            if row.claim.kind == "gain" and row.claim.contrasts == (result.contrast,) and not report.reduced
        ]
        effects.append(
            figures.Effect(
                cells.order(planned) if planned else result.contrast,
                result.effect,
                result.over_placebo,
                stated[0] if stated else None,
                label(report, planned.metric) if planned else "",
            )
        )
    if not effects:
        return []
    caption = (
        "Mean paired difference over seeds. Thick bar: 90 % interval, thin bar: 95 % interval, before any "
        "correction for many comparisons. Right of zero is better."
    )
    return [_both("effects", "forest", caption, lambda n, w: figures.forest(n, effects, width=w))]


def _curves(report: PaperReport) -> list[Plot]:
    per_arm = {
        arm.name: [r.curves for k in arm.keys if (r := report.records[k]).curves and r.status == "ok"]
        for arm in report.arms
    }
    names = dict.fromkeys(n for curves in per_arm.values() for c in curves for n in list(c)[1:])
    wanted = sorted(names, key=lambda n: n != primary_metric(report))[:_MOST_CURVES]
    baseline = reference_arm(report)
    found = []
    for index, name in enumerate(wanted):
        arms, axis = [], "step"
        for arm, curves in per_arm.items():
            mine = [c for c in curves if name in c]
            if mine:
                axis = next(iter(mine[0]))
                arms.append(figures.Curve(arm, mine[0][axis], [c[name] for c in mine], arm == baseline))
        caption = f"Mean over seeds with its 95 % band; dashed grey: {baseline}." if baseline else "Mean over seeds."
        diverged = sum(a.diverged for a in report.arms)
        if diverged:
            caption += f" {plural(diverged, 'diverged run')} left out here, but counted in every number."
        draw = _curve_drawer(arms, label(report, name), axis)
        found.append(_both("curves", f"curves-{index + 1}", caption, draw))
    return found


def _curve_drawer(arms: list[figures.Curve], ylabel: str, xlabel: str) -> Callable[[str, int], Figure]:
    return lambda n, w: figures.curves(n, arms, ylabel, xlabel=xlabel, width=w)


def _families(report: PaperReport) -> list[Plot]:
    baseline = reference_arm(report)
    ordered = sorted(report.arms, key=lambda a: a.name != baseline)
    found = []
    for index, (title, metrics) in enumerate(_metric_families(report).items()):
        arms = {a.name: {m: a.metrics[m] for m in metrics if m in a.metrics} for a in ordered if a.metrics}
        arms = {name: values for name, values in arms.items() if values}
        if arms:
            unit = report.metrics[metrics[0]].unit if metrics[0] in report.metrics else ""
            caption = f"{title}. One dot a seed; the larger mark is the mean with its intervals."
            draw = _family_drawer(metrics, arms, unit or title)
            found.append(_both("family", f"family-{index + 1}", caption, draw))
    return found


def _metric_families(report: PaperReport) -> Mapping[str, tuple[str, ...]]:
    """The caller's families, else the metrics that share the primary metric's unit."""
    if report.metric_families:
        return report.metric_families
    main = primary_metric(report)
    if main not in report.metrics:
        return {}
    same = tuple(n for n, m in report.metrics.items() if m.unit == report.metrics[main].unit)
    return {"Related metrics": same} if 2 <= len(same) <= 8 else {}


def _family_drawer(
    metrics: tuple[str, ...], arms: Mapping[str, Mapping[str, Estimate]], ylabel: str
) -> Callable[[str, int], Figure]:
    return lambda n, w: figures.family(n, metrics, arms, ylabel, width=w)


def _cost(report: PaperReport) -> list[Plot]:
    metric = primary_metric(report)
    arms = [a for a in report.arms if metric in a.metrics]
    axis = report.cost_axis
    if axis is None:
        names = dict.fromkeys(c for a in arms for c in a.cost)
        spread = {c: {round(a.cost[c].mean, 6) for a in arms if c in a.cost} for c in names}
        axis = next((c for c in names if len(spread[c]) > 1), None)
    points = [
        figures.Point(a.name, a.cost[axis].mean, a.metrics[metric], a.role == "baseline")
        for a in arms
        if axis is not None and axis in a.cost
    ]
    if axis is None or len(points) < 2:
        return []
    title = axis.replace("_", " ")
    caption = f"Mean {title} of a trial against mean {metric}, with the 95 % interval of {metric}."
    draw = lambda n, w: figures.cost_quality(n, points, title, label(report, metric), width=w)  # noqa: E731
    return [_both("cost", "cost", caption, draw)]


def _ablations(report: PaperReport) -> list[Plot]:
    metric = primary_metric(report)
    found = []
    for index, axis in enumerate(report.manifest.ablations):
        ours = _ablation_points(report, axis, metric)
        if len(ours) < 2:
            continue
        values = list(dict.fromkeys([str(v) for v in (axis.values or axis.arms)]))
        caption = axis.says
        if axis.paper_values:
            caption += " The paper's numbers stand in their own panel: at reduced scale only the shapes compare."
        draw = _ablation_drawer(values, ours, label(report, metric), axis)
        found.append(_both("ablations", f"ablation-{index + 1}", caption, draw))
    return found


def _ablation_drawer(
    values: list[str], ours: Mapping[str, Estimate], ylabel: str, axis: Ablation
) -> Callable[[str, int], Figure]:
    return lambda n, w: figures.ablation(n, values, ours, ylabel, axis.axis, stated=axis.paper_values, width=w)


def _ablation_points(report: PaperReport, axis: Ablation, metric: str) -> dict[str, Estimate]:
    """Value -> estimate: listed arms, or arms that differ from the ablated one by the swept option only."""
    if axis.arms:
        arms = {name: report.arm(name) for name in axis.arms}
        return {n: a.metrics[metric] for n, a in arms.items() if a is not None and metric in a.metrics}
    base = report.arm(axis.arm) if axis.arm else None
    if base is None or axis.option is None:
        return {}
    rest = {k: v for k, v in base.options.items() if k != axis.option}
    return {
        str(a.options[axis.option]): a.metrics[metric]
        for a in report.arms
        if a.builder == base.builder
        and axis.option in a.options
        and {k: v for k, v in a.options.items() if k != axis.option} == rest
        and metric in a.metrics
    }
