"""Reports: terminal, Markdown, figures and static HTML from one ``PaperReport``.

``build`` makes the report from the study's objects, ``terminal.render`` prints it, ``markdown.update_readme`` keeps
a paper's README fresh, and ``write`` makes the whole site.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from replicate.report.assemble import build
from replicate.report.model import PaperReport

if TYPE_CHECKING:
    from replicate.report.site import write

__all__ = ["PaperReport", "build", "write"]


def __getattr__(name: str) -> object:
    # the site needs jinja2 and matplotlib; the terminal table must not wait for them
    if name == "write":
        from replicate.report.site import write

        return write
    raise AttributeError(f"module 'replicate.report' has no attribute {name!r}")
