"""What this machine has, found without importing torch unless it is asked for."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from replicate import catalog
from replicate._version import __version__

DISTRIBUTION = "replicate-papers"
State = Literal["ok", "note", "problem"]


@dataclass(frozen=True)
class Finding:
    """One line of ``replicate doctor``; ``problem`` is something that stops a command from working."""

    name: str
    state: State
    says: str

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dict."""
        return asdict(self)


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def default_results() -> Path:
    """``results/`` of the checkout when the working folder is inside it, else ``./results``."""
    here = Path.cwd()
    root = catalog.checkout()
    return root / "results" if root is not None and here.resolve().is_relative_to(root) else here / "results"


def diagnose(results: Path) -> list[Finding]:
    """Everything that ``replicate doctor`` reports."""
    return [
        Finding("replicate", "ok", f"{__version__} from {catalog.SUITE}"),
        _import_name(),
        Finding("python", *_python()),
        Finding("machine", "ok", f"{platform.system()} {platform.machine()}, {cores()} cores for this process"),
        _memory(),
        *_libraries(),
        *_torch(),
        _writable("results", results),
        _writable("cache", _cache()),
        *_data(),
    ]


def _python() -> tuple[State, str]:
    version = platform.python_version()
    fine = (3, 11) <= sys.version_info[:2] < (3, 14)
    return ("ok", version) if fine else ("problem", f"{version}; Python 3.11 to 3.13 is needed")


def _import_name() -> Finding:
    """Another distribution may own the import name ``replicate`` (there is an API client of that name)."""
    owners = importlib.metadata.packages_distributions().get("replicate", [])
    others = sorted({owner for owner in owners if owner != DISTRIBUTION})
    if others:
        return Finding(
            "import name",
            "problem",
            f"{', '.join(others)} also installs a package `replicate`: use an environment without it",
        )
    return Finding("import name", "ok", "`replicate` belongs to this suite alone")


def _memory() -> Finding:
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (ValueError, OSError, AttributeError):
        return Finding("memory", "note", "unknown on this system")
    state: State = "ok" if total >= 4 else "note"
    return Finding("memory", state, f"{total:.1f} GiB" + ("" if total >= 4 else "; runs are planned for 4 GiB"))


_NEEDED = ("torch", "torchvision", "numpy", "scipy", "pandas", "matplotlib", "pydantic", "click", "rich", "pycocotools")
_OPTIONAL = {
    "ray": "the ray engine and sweeps",
    "cupy": "fused GPU kernels (pip install 'replicate-papers[cuda]')",
}


def _libraries() -> Iterable[Finding]:
    for name in _NEEDED:
        version = _version(name)
        yield Finding(name, "ok", version) if version else Finding(name, "problem", "not installed")
    for name, what in _OPTIONAL.items():
        version = _version(name)
        yield Finding(name, "ok", version) if version else Finding(name, "note", f"not installed: no {what}")


def _version(name: str) -> str | None:
    """Version of an importable module without importing it."""
    if importlib.util.find_spec(name) is None:
        return None
    for distribution in importlib.metadata.packages_distributions().get(name, []):
        return importlib.metadata.version(distribution)
    return "installed"


def _torch() -> Iterable[Finding]:
    if importlib.util.find_spec("torch") is None:
        return
    import torch

    yield Finding("torch threads", "ok", f"{torch.get_num_threads()} by default; a trial sets its own number")
    if torch.cuda.is_available():
        names = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
        yield Finding("gpu", "ok", f"{names}; CUDA {torch.version.cuda}")
    else:
        yield Finding("gpu", "note", "none: scales smoke, quick and long run on the CPU")


def _cache() -> Path:
    from replicate.datasets.base import cache_folder

    return cache_folder()


def _writable(name: str, folder: Path) -> Finding:
    """Whether files can be written in ``folder`` (or in the nearest parent that exists)."""
    at = folder
    while not at.exists() and at != at.parent:
        at = at.parent
    try:
        with tempfile.TemporaryFile(dir=at):
            pass
    except OSError as error:
        return Finding(name, "problem", f"{folder}: cannot write there: {error.strerror}")
    stat = os.statvfs(at) if hasattr(os, "statvfs") else None
    free = stat.f_bavail * stat.f_frsize / 2**30 if stat else None
    text = str(folder) + (f", {free:.1f} GiB free" if free is not None else "")
    return Finding(name, "ok" if free is None or free > 1 else "note", text)


def _data() -> Iterable[Finding]:
    from replicate.datasets import registry
    from replicate.tasks.base import DataError

    for name in registry.names():
        try:
            where = registry.where(name)
        except DataError as error:
            yield Finding(f"data {name}", "note", str(error))
        else:
            yield Finding(f"data {name}", "ok", str(where))
