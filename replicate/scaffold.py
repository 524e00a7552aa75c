"""``replicate new SLUG``: a paper folder with a tiny real experiment that passes the contract at once."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from replicate import catalog
from replicate.errors import UserError
from replicate.loading import shown

TEMPLATE = Path(__file__).resolve().parent / "templates" / "paper"
_SLUG = re.compile(r"[a-z][a-z0-9_]*")


def create(slug: str, into: Path | None = None) -> Path:
    """Make the folder ``into/slug`` and return it.

    ``into`` is by default the checkout's ``papers/`` when the working folder is inside it, else the working folder.
    Raises ``UserError`` for a bad or taken name; nothing is left behind when something fails.
    """
    if not _SLUG.fullmatch(slug):
        hint = re.sub(r"[^a-z0-9]+", "_", slug.lower()).strip("_")
        near = f"; for example {hint!r}" if _SLUG.fullmatch(hint) else ""
        raise UserError(f"slug {slug!r}: lower-case letters, digits and _, first a letter{near}")
    parent = into if into is not None else default_parent()
    folder = parent / slug
    if folder.exists():
        raise UserError(f"{shown(folder)} is there already; choose another slug")
    if slug in {path.name for path in catalog.folders()}:
        raise UserError(f"the suite has a paper {slug!r} already; choose another slug")
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise UserError(f"{shown(folder)}: cannot be made: {error.strerror}") from error
    try:
        _fill(folder, slug)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return folder


def default_parent() -> Path:
    """The checkout's ``papers/`` when the working folder is inside the checkout, else the working folder."""
    root = catalog.checkout()
    return root / "papers" if root is not None and Path.cwd().resolve().is_relative_to(root) else Path.cwd()


def _fill(folder: Path, slug: str) -> None:
    from replicate import api
    from replicate.report import markdown

    for source in sorted(TEMPLATE.iterdir()):
        if source.is_file():
            name = source.name.removesuffix(".txt").replace("test_paper", f"test_{slug}")
            text = source.read_text(encoding="utf-8").replace("PAPER_SLUG", slug)
            (folder / name).write_text(text, encoding="utf-8")
    paper = catalog.find(folder.resolve())
    markdown.update_readme(folder / "README.md", *(study.report() for study in api.reference_studies(paper)))
