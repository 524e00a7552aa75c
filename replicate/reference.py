"""The maintainers' records that are kept in git: small, sorted, one file a paper and scale.

A line is a record, or ``{"environment": id, ...}`` with what the records below it share. Metrics and items stay
exact, so that ``rerun`` can compare bit by bit; curves are thinned, and their numbers have six digits.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from replicate.errors import UserError
from replicate.records import Record, canonical

SHARED = "_shared"
_POINTS = 24
_ENVIRONMENT = ("versions", "machine", "commit")


def reference_root() -> Path | None:
    """``results/reference`` of the checkout, or the copy that the wheel carries; None when there is neither."""
    package = Path(__file__).resolve().parent
    checkout = package.parent
    if (checkout / "pyproject.toml").is_file() and (checkout / "results" / "reference").is_dir():
        return checkout / "results" / "reference"
    carried = package / "_reference"
    return carried if carried.is_dir() else None


def owner(record: Record) -> str:
    """The file that a record belongs to: its paper's slug, or ``_shared`` for a baseline of a task."""
    builder = record.spec.builder.partition(":")[0].removeprefix("replicate.")
    if builder.startswith("tasks."):
        return SHARED
    parts = builder.split(".")
    return parts[1] if len(parts) > 1 else str(record.provenance.get("trial", {}).get("slug", parts[0]))


def export_reference(records: Iterable[Record], root: Path) -> list[Path]:
    """Write results (failures are left out) below ``root``; records that are there stay unless they are replaced.

    Returns the files that were written. Writing the same records again gives the same bytes.
    """
    groups: dict[tuple[str, str], dict[str, Record]] = {}
    for record in records:
        if record.done:
            groups.setdefault((record.spec.scale, owner(record)), {})[record.key] = record
    written = []
    for (scale, slug), new in sorted(groups.items()):
        path = root / scale / f"{slug}.jsonl"
        merged = {record.key: record for record in _read_file(path)} | new if path.exists() else new
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        temporary.write_text(_lines(merged.values()), encoding="utf-8")
        os.replace(temporary, path)
        written.append(path)
    return written


def read_reference(root: Path | None = None, scale: str | None = None, slug: str | None = None) -> list[Record]:
    """Reference records, all or those of one scale and paper (without the shared ones); [] when there are none."""
    root = root if root is not None else reference_root()
    if root is None or not root.is_dir():
        return []
    paths = sorted(root.glob(f"{scale or '*'}/{slug or '*'}.jsonl"))
    return [record for path in paths for record in _read_file(path)]


def _lines(records: Iterable[Record]) -> str:
    environments: dict[str, str] = {}
    lines = []
    for record in sorted(records, key=_order):
        value = _small(record)
        shared = canonical({name: value["provenance"].pop(name, None) for name in _ENVIRONMENT})
        ident = hashlib.sha256(shared.encode()).hexdigest()[:12]
        environments[ident] = shared
        value["provenance"]["environment"] = ident
        lines.append(canonical(value))
    heads = [canonical({"environment": k, **json.loads(v)}) for k, v in sorted(environments.items())]
    return "\n".join([*heads, *lines]) + "\n"


def _order(record: Record) -> tuple[str, str, int, str]:
    spec = record.spec
    return spec.builder, canonical(dict(spec.options)), spec.seed, record.key


def _small(record: Record) -> dict[str, Any]:
    value = record.to_json()
    value["curves"] = thin(record.curves)
    value["cost"] = {name: _rounded(x) for name, x in record.cost.items()}
    value["seconds"], value["cpu_seconds"] = _rounded(record.seconds), _rounded(record.cpu_seconds)
    provenance = {name: value for name, value in record.provenance.items() if name != "reference"}
    trial = dict(provenance.get("trial", {}))
    trial.pop("folder", None)  # paths of one machine mean nothing on another
    trial.pop("data_paths", None)
    if trial:
        provenance["trial"] = trial
    value["provenance"] = provenance
    return value


def thin(curves: Mapping[str, Sequence[float]], points: int = _POINTS) -> dict[str, list[float]]:
    """At most ``points`` evenly spaced points of each curve, the first and the last among them."""
    length = max((len(curve) for curve in curves.values()), default=0)
    if length > points:
        chosen = sorted({round(i * (length - 1) / (points - 1)) for i in range(points)})
    else:
        chosen = list(range(length))
    return {name: [_rounded(curve[i]) for i in chosen if i < len(curve)] for name, curve in curves.items()}


def _rounded(x: float) -> float:
    if isinstance(x, int) or not math.isfinite(x):
        return x
    return float(f"{x:.6g}")


def _read_file(path: Path) -> list[Record]:
    environments: dict[str, dict[str, Any]] = {}
    records = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            value = json.loads(line)
            if "spec" not in value:
                environments[value.pop("environment")] = value
                continue
            provenance = value["provenance"]
            provenance["reference"] = True  # curves are thinned
            provenance.update(environments[provenance.pop("environment")])
            record = Record.from_json(value)
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path}:{number}: is not a reference record: {error}") from error
        if record.key != record.spec.key:
            raise UserError(f"{path}:{number}: the key does not belong to the spec")
        records.append(record)
    return records
