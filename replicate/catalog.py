"""Find papers by slug or path, in two phases: heads of all manifests first, one whole manifest when it is needed.

The first phase reads text, not YAML: a hundred manifests in some ten milliseconds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from replicate.errors import UserError, near_misses, unknown

if TYPE_CHECKING:
    from replicate.manifest import Manifest

MANIFEST = "paper.yaml"
SUITE = Path(__file__).resolve().parent
"""The folder of the ``replicate`` package."""


def checkout() -> Path | None:
    """The repository that this package is imported from; None when it is installed from a wheel."""
    root = SUITE.parent
    return root if (root / "pyproject.toml").is_file() and (root / "papers").is_dir() else None


def root() -> Path:
    """The folder that holds the suite's papers: the checkout's ``papers/`` or the wheel's copy."""
    here = checkout()
    return here / "papers" if here is not None else SUITE / "papers"


class Entry(NamedTuple):
    """What a list shows of one paper, without loading its manifest."""

    slug: str
    folder: Path
    title: str
    year: int
    family: str
    claims: int


@dataclass(frozen=True)
class Paper:
    """One paper folder."""

    slug: str
    folder: Path
    inside: bool
    """True when the folder is one of the suite's own papers."""

    @property
    def package(self) -> str:
        """Import name of the folder: ``replicate.papers.<slug>``, or ``replicate_outside.<slug>`` elsewhere."""
        return f"replicate.papers.{self.slug}" if self.inside else f"replicate_outside.{self.slug}"

    @cached_property
    def manifest(self) -> Manifest:
        """The validated manifest; ``UserError`` with file and line when it is wrong."""
        from replicate.loading import load_manifest, shown

        manifest = load_manifest(self.folder / MANIFEST)
        if manifest.slug != self.folder.name:
            raise UserError(
                f"{shown(self.folder / MANIFEST)}: slug: {manifest.slug!r} must be the folder's name, "
                f"{self.folder.name!r}"
            )
        return manifest


def folders() -> list[Path]:
    """Folders of the suite's papers, sorted by slug."""
    top = root()
    if not top.is_dir():
        return []
    return sorted((p.parent for p in top.glob(f"*/{MANIFEST}")), key=lambda folder: folder.name)


def index() -> list[Entry]:
    """Heads of all papers of the suite, sorted by slug; a broken one shows its slug and what is wrong."""
    return [head(folder) for folder in folders()]


_NEXT_KEY = re.compile(r"^[^\s#-]", re.MULTILINE)
_ITEM = re.compile(r"^( *)- ", re.MULTILINE)
_PLAIN = re.compile(r"""[A-Za-z0-9][^#:{}\[\]&*!|>'"%@`]*""")
_QUOTED = re.compile(r'"([^"\\]*)"|\'((?:[^\']|\'\')*)\'')


def head(folder: Path) -> Entry:
    """Title, year, family and number of claims of one paper by a scan of the text.

    A value that is more than a plain or quoted word on one line (block text, anchors, flow lists) makes this
    manifest go through the YAML reader, so the answer is always the file's.
    """
    try:
        text = (folder / MANIFEST).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        return Entry(folder.name, folder, f"(unreadable: {error})", 0, "?", 0)
    text = "\n" + text
    title, year, family = (_scalar(text, name) for name in ("title", "year", "family"))
    claims = _count_items(text, "claims")
    if title is None or year is None or family is None or claims is None or not year.isdigit():
        return _slow_head(folder)
    return Entry(folder.name, folder, title, int(year), family, claims)


def _value(text: str, key: str) -> tuple[str, int] | None:
    """Text behind a top-level key, and where its line ends."""
    at = text.find(f"\n{key}:")
    if at < 0:
        return None
    start = at + len(key) + 2
    end = text.find("\n", start)
    end = len(text) if end < 0 else end
    value = text[start:end]
    return re.sub(r"(^|\s)#.*$", "", value).strip(), end


def _scalar(text: str, key: str) -> str | None:
    found = _value(text, key)
    if found is None or text[found[1] + 1 : found[1] + 2] in (" ", "\t"):  # the value goes on below
        return None
    if quoted := _QUOTED.fullmatch(found[0]):
        return quoted[1] if quoted[1] is not None else quoted[2].replace("''", "'")
    return found[0] if _PLAIN.fullmatch(found[0]) else None


def _count_items(text: str, key: str) -> int | None:
    """Items of a block list under a top-level key; None when it is not a plain block list."""
    found = _value(text, key)
    if found is None or found[0]:
        return None
    after = _NEXT_KEY.search(text, found[1] + 1)
    body = text[found[1] : after.start() if after else len(text)]
    first = _ITEM.search(body)
    return None if first is None else body.count(f"\n{first[1]}- ")


def _slow_head(folder: Path) -> Entry:
    from replicate.loading import read_yaml

    try:
        value = read_yaml(folder / MANIFEST)
    except UserError as error:
        return Entry(folder.name, folder, f"(broken: {error})", 0, "?", 0)
    value = value if isinstance(value, dict) else {}
    claims: Any = value.get("claims")
    year = value.get("year")
    return Entry(
        folder.name,
        folder,
        " ".join(str(value.get("title", "(no title)")).split()),
        year if isinstance(year, int) else 0,
        str(value.get("family", "?")),
        len(claims) if isinstance(claims, list) else 0,
    )


def find(name: str | Path) -> Paper:
    """The paper of a slug or a path; a path that does not exist but ends in a slug of the suite is that paper."""
    text = str(name).rstrip("/") or "/"
    path = Path(text).expanduser()
    if path.name == MANIFEST and path.is_file():
        path = path.parent
    own = {folder.name: folder for folder in folders()}
    is_path = "/" in text or text.startswith((".", "~")) or (path / MANIFEST).is_file()
    if is_path and (path / MANIFEST).is_file():
        return _at(path.resolve(), own)
    if path.name in own and not path.exists():
        return _at(own[path.name], own)
    if text in own:
        return _at(own[text], own)
    if is_path and path.exists():
        raise UserError(f"{text}: no {MANIFEST} there; `replicate new {path.resolve().name}` makes a paper folder")
    close = near_misses(path.name, own)
    if is_path and not close:
        raise UserError(f"{text}: no such folder, and no paper has that name; `replicate list` shows them")
    raise unknown("paper", path.name, own)


def _at(folder: Path, own: dict[str, Path]) -> Paper:
    inside = folder.name in own and own[folder.name].resolve() == folder.resolve()
    return Paper(folder.name, folder, inside)


def find_all(names: list[str] | tuple[str, ...]) -> list[Paper]:
    """Several papers, each once, in the order named."""
    found: dict[Path, Paper] = {}
    for name in names:
        paper = find(name)
        found.setdefault(paper.folder, paper)
    return list(found.values())
