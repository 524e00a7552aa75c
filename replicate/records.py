"""The unit of work and what it leaves behind: ``Spec`` (what a trial is) and ``Record`` (what it measured)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

Status = Literal["ok", "diverged", "failed", "timeout"]
DONE: frozenset[str] = frozenset({"ok", "diverged"})
"""A result. ``failed`` and ``timeout`` are run again by the next command."""


def canonical(value: Any) -> str:
    """JSON text that is equal for equal values: sorted keys, no spaces, no NaN."""
    return _encoder.encode(value)


_encoder = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def shallow(value: Any) -> dict[str, Any]:
    """The fields of a dataclass by name, without the deep copies of ``dataclasses.asdict``."""
    return {name: getattr(value, name) for name in value.__dataclass_fields__}


@dataclass(frozen=True)
class Spec:
    """Everything that decides a trial's result, and nothing else.

    ``builder`` is ``module:function`` (module relative to ``replicate`` when it is inside the suite);
    ``profile`` and ``settings`` come from the task; ``data`` is ``name@checksum``; ``substrates`` maps a name
    to the key of the trial whose checkpoint is used.
    """

    builder: str
    builder_version: int
    options: Mapping[str, Any]
    task: str
    profile: str
    profile_version: int
    settings: Mapping[str, Any]
    data: str | None
    scale: str
    seed: int
    device: str = "cpu"
    threads: int = 1
    substrates: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def key(self) -> str:
        """SHA-256 of the canonical JSON of the spec: 64 hex digits."""
        return hashlib.sha256(canonical(shallow(self)).encode()).hexdigest()

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Spec:
        """Inverse of ``dataclasses.asdict``."""
        return cls(**value)


@dataclass(frozen=True)
class Record:
    """What one trial left on disk."""

    key: str
    spec: Spec
    status: Status
    metrics: Mapping[str, float] = field(default_factory=dict)
    curves: Mapping[str, Sequence[float]] = field(default_factory=dict)
    cost: Mapping[str, float] = field(default_factory=dict)
    items: Mapping[str, Sequence[float]] = field(default_factory=dict)
    notes: Sequence[str] = ()
    error: str | None = None
    attempts: int = 1
    seconds: float = 0.0
    """Wall seconds of the last attempt."""
    cpu_seconds: float = 0.0
    finished: str = ""
    """UTC, ISO 8601."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """``code`` (digest of the closure), ``carried`` (older digests that a canary showed to give the same result),
    ``versions``, ``machine``, ``commit``, and ``trial``: what ``rerun`` needs beside the spec."""
    checkpoint: str | None = None
    """SHA-256 of the kept checkpoint, a file of that name in the checkpoint cache."""

    @property
    def done(self) -> bool:
        """True for a result (also a diverged one), False for a crash or a timeout."""
        return self.status in DONE

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dict."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Record:
        """Inverse of ``to_json``."""
        return cls(**{**value, "spec": Spec.from_json(value["spec"]), "notes": tuple(value["notes"])})

    def with_(self, **changes: Any) -> Record:
        """A copy with some fields changed."""
        return replace(self, **changes)
