"""Rendered worlds on disk: one folder of ``.npy`` files per configuration, complete or absent.

A folder is written beside its final place and renamed, so a killed writer leaves no half-made world. ``meta.json``
holds length and CRC-32 of every file: a truncated or changed file is found on opening and the world made again.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from replicate.tasks.base import DataError

Arrays = dict[str, NDArray[Any]]
_META = "meta.json"


def open_or_make(folder: Path, make: Callable[[Path], None], config: dict[str, Any]) -> Arrays:
    """Arrays of ``folder``, made by ``make(temporary folder)`` first where they are missing or damaged.

    Arrays are memory-mapped and read-only. With several processes one makes the world and the others wait for it.
    Raises DataError when the cache cannot be written.
    """
    found = _load(folder)
    if found is not None:
        return found
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _lock(folder.with_name(folder.name + ".lock")):
            found = _load(folder)
            if found is None:
                _make(folder, make, config)
                found = _load(folder)
    except OSError as error:
        raise DataError(
            f"cache {folder.parent}: {error.strerror or error}; free space there or set REPLICATE_CACHE"
        ) from error
    if found is None:
        raise DataError(f"cache {folder}: damaged right after writing; check the disk or set REPLICATE_CACHE")
    return found


def _make(folder: Path, make: Callable[[Path], None], config: dict[str, Any]) -> None:
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        make(temporary)
        files = {}
        for path in sorted(temporary.glob("*.npy")):
            files[path.name] = {"bytes": path.stat().st_size, "crc32": _crc(path)}
            _sync(path)
        meta = temporary / _META
        meta.write_text(json.dumps({"config": config, "files": files}, indent=1, sort_keys=True), encoding="utf-8")
        _sync(meta)
        if folder.exists():  # damaged: out of the way before the good one takes its name
            old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.old.", dir=folder.parent))
            folder.rename(old / "damaged")
            shutil.rmtree(old, ignore_errors=True)
        try:
            temporary.rename(folder)
        except OSError:
            if not folder.exists():  # else: another process, on a system without locks, was first
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _load(folder: Path) -> Arrays | None:
    """The arrays, or None when the folder is not there or not exactly what was written."""
    try:
        meta = json.loads((folder / _META).read_text(encoding="utf-8"))
        arrays: Arrays = {}
        for name, facts in meta["files"].items():
            path = folder / name
            if path.stat().st_size != facts["bytes"] or _crc(path) != facts["crc32"]:
                return None
            arrays[path.stem] = np.load(path, mmap_mode="r" if facts["bytes"] > 1 << 16 else None)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    for array in arrays.values():
        array.setflags(write=False)
    return arrays or None


def _crc(path: Path) -> int:
    value = 0
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            value = zlib.crc32(block, value)
    return value


def _sync(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    """An exclusive lock where the system has one; else two processes make the same world twice, harmlessly."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    with path.open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(stream, fcntl.LOCK_UN)
