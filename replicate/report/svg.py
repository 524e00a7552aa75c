"""The drawing kit of the figures: palette, settings, intervals, and SVG text that pages can restyle.

Colours are written as ``var(--name, #hex)``, so a page can restyle them and a lone file still shows the light ones.
Text stays text (searchable, small). Ids are salted by the figure's name: equal each time, unique on a page.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from replicate.judgement import Estimate
from replicate.report.numbers import bounded

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

INK, MUTED, GRID, PAPER = "#1a1d21", "#5b6470", "#d9dde3", "#fefefe"
OKABE_ITO = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a6d3b")
"""Okabe and Ito's palette without black (that is the ink) and yellow (unreadable on white)."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
WIDE, NARROW = 840, 350
_VARIABLES = {
    INK: "--fig-ink",
    MUTED: "--fig-muted",
    GRID: "--fig-grid",
    PAPER: "--fig-paper",
    **{c: f"--fig-{i}" for i, c in enumerate(OKABE_ITO, 1)},
}
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_STYLE: dict[Any, Any] = {
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
    "text.parse_math": False,  # names of arms are plain text, also with a $ in them
}


@dataclass(frozen=True)
class Figure:
    """One figure: a name (file name, id), a title, alt text, SVG without XML header."""

    name: str
    title: str
    alt: str
    svg: str
    width: int


@contextmanager
def style(name: str) -> Iterator[None]:
    """Our settings for the time of one figure; the salt makes ids equal each time and unique per figure."""
    import matplotlib

    settings: dict[Any, Any] = {**_STYLE, "svg.hashsalt": name}
    with matplotlib.rc_context(settings):
        yield


def canvas_of(width: int, height: float) -> Canvas:
    """A figure whose SVG units are CSS pixels."""
    from matplotlib.figure import Figure as Plot

    return Plot(figsize=(width / 72, height / 72), dpi=72)


def finish(canvas: Canvas, name: str, title: str, alt: str, width: int) -> Figure:
    """The canvas as SVG text with title, description, own ids and restylable colours."""
    buffer = io.StringIO()
    with warnings.catch_warnings():
        # the reader's fonts draw the text, so a glyph that our font lacks does not matter
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        canvas.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    svg = _CONTROL.sub("", buffer.getvalue())
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*|<!--.*?-->\s*", "", svg, flags=re.DOTALL)
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


def whisker(axes: Axes, estimate: Estimate, y: float, colour: str, marker: str) -> None:
    """Mean with its 95 % (thin) and 90 % (thick) interval."""
    if bounded(estimate):
        axes.plot([estimate.low, estimate.high], [y, y], color=colour, linewidth=1.3, solid_capstyle="butt")
        axes.plot([estimate.low90, estimate.high90], [y, y], color=colour, linewidth=3.4, solid_capstyle="butt")
    axes.plot([estimate.mean], [y], marker=marker, color=colour, markersize=7, linestyle="", markeredgecolor=PAPER)


def half(estimate: Estimate) -> float:
    """Half of the 95 % interval; 0 when there is none."""
    return (estimate.high - estimate.low) / 2 if bounded(estimate) else 0.0


def mark(marker: str, colour: str, label: str) -> Any:
    """A legend entry."""
    from matplotlib.lines import Line2D

    return Line2D([], [], marker=marker, color=colour, linestyle="", label=label, markersize=8, markeredgecolor=colour)


def clip(text: str, most: int) -> str:
    """Text of at most so many characters, on one line."""
    text = " ".join(_CONTROL.sub(" ", text).split())
    return text if len(text) <= most else text[: most - 1] + "…"


def _xml(text: str) -> str:
    return _CONTROL.sub("", text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
