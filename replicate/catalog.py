"""Find papers by slug or path, in two phases: heads of all manifests first, one whole manifest when it is needed.

The first phase reads text, not YAML: a hundred manifests in some ten milliseconds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

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


@dataclass(frozen=True)
class Entry:
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


_TOP = re.compile(r"^([A-Za-z_]\w*):[ \t]*(.*)$", re.MULTILINE)
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
    keys = {m[1]: m for m in _TOP.finditer(text)}
    title, year, family = (_scalar(keys, name) for name in ("title", "year", "family"))
    claims = _count_items(text, keys.get("claims"))
    if title is None or year is None or family is None or claims is None or not year.isdigit():
        return _slow_head(folder)
    return Entry(folder.name, folder, title, int(year), family, claims)


def _scalar(keys: dict[str, re.Match[str]], name: str) -> str | None:
    if name not in keys:
        return None
    value = re.sub(r"\s+#.*$", "", keys[name][2]).strip()
    following = keys[name].string[keys[name].end() : keys[name].end() + 2]
    if following[1:2] in (" ", "\t"):  # the value goes on below
        return None
    if quoted := _QUOTED.fullmatch(value):
        return quoted[1] if quoted[1] is not None else quoted[2].replace("''", "'")
    return value if _PLAIN.fullmatch(value) else None


def _count_items(text: str, section: re.Match[str] | None) -> int | None:
    """Items of a block list under a top-level key; None when it is not a plain block list."""
    if section is None or section[2].strip():
        return None
    after = _TOP.search(text, section.end())
    body = text[section.end() : after.start() if after else len(text)]
    first = re.search(r"^([ ]*)- ", body, re.MULTILINE)
    if first is None:
        return None
    return len(re.findall(rf"^{first[1]}- ", body, re.MULTILINE))


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
