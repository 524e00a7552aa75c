"""Run the exact checks of a paper: claims that need no training, and traps that guard the implementation."""

from __future__ import annotations

import importlib.util
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from replicate import modules, provenance
from replicate.catalog import Paper
from replicate.provenance import code_digest
from replicate.records import canonical
from replicate.tasks.base import Checked


@dataclass(frozen=True)
class Ran:
    """One check and its result; ``skipped`` says what it needs that is not here."""

    name: str
    says: str
    result: Checked | None
    claims: tuple[str, ...]
    """Claims that rest on it; none: a trap."""
    seconds: float = 0.0
    skipped: str = ""


def run(paper: Paper) -> list[Ran]:
    """Run every check of checks.py, in the order in which they stand; none when there is no checks.py.

    A check that raises has failed, with the error as its detail. Errors of the import itself are raised.
    """
    if not (paper.folder / "checks.py").is_file():
        return []
    module = modules.load(f"{paper.package}.checks", paper.folder)
    used: dict[str, list[str]] = {}
    for claim in paper.manifest.claims:
        if claim.check:
            used.setdefault(claim.check, []).append(claim.id)
    return [
        _one(name, function, tuple(used.get(name, ())))
        for name, function in vars(module).items()
        if callable(function) and hasattr(function, "__check__")
    ]


def _one(name: str, function: Callable[[], Checked], claims: tuple[str, ...]) -> Ran:
    mark: Mapping[str, Any] = getattr(function, "__check__", {})
    says = str(mark.get("says") or (function.__doc__ or "").strip().split("\n")[0])
    lacking = _lacking(str(mark.get("needs", "")))
    if lacking:
        return Ran(name, says, None, claims, skipped=f"needs {lacking}")
    started = time.perf_counter()
    try:
        result = function()
        if not isinstance(result, Checked):
            result = Checked(False, detail=f"returned {type(result).__name__}, not Checked")
    except Exception as error:  # a check that breaks has failed; the others still run
        result = Checked(False, detail=f"{type(error).__name__}: {' '.join(str(error).split())}")
    return Ran(name, says, result, claims, time.perf_counter() - started)


def _lacking(needs: str) -> str:
    """What of ``needs`` is not here: ``cuda`` is a GPU, any other word a module."""
    for word in needs.replace(",", " ").split():
        if word in ("cuda", "gpu"):
            from replicate.plan import has_gpu

            if not has_gpu():
                return "a CUDA GPU"
        elif importlib.util.find_spec(word) is None:
            return word
    return ""


def results(paper: Paper) -> tuple[dict[str, Checked], dict[str, str]]:
    """Results by name, and what each check says."""
    ran = run(paper)
    return {r.name: r.result for r in ran if r.result is not None}, {r.name: r.says for r in ran}


def remembered(paper: Paper, root: Path) -> tuple[dict[str, Checked], dict[str, str]]:
    """``results``, run once for each state of the code and kept in ``root/checks/<slug>.json``."""
    if not (paper.folder / "checks.py").is_file():
        return {}, {}
    code = code_digest([f"{paper.package}.checks"], paper.folder) + canonical(provenance.versions())
    path = root / "checks" / f"{paper.slug}.json"
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["code"] == code:
            return {name: Checked(**value) for name, value in kept["results"].items()}, kept["says"]
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not there, or not ours: computed again
    found, says = results(paper)
    made = {"code": code, "results": {name: asdict(result) for name, result in found.items()}, "says": says}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, path)
    return found, says
