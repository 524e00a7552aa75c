"""The study file: written before a run, it fixes what will be judged, on which seeds, by which rules."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ANALYSIS_VERSION = 1
"""Raise when a rule of verdict.py or stats.py changes; verdicts of older studies say so."""


@dataclass(frozen=True)
class Study:
    """Claims, contrasts, seeds and planned n, then the keys of the records.

    ``claims`` maps a claim's id to the digest of its text, ``contrasts`` likewise, so that a later edit shows.
    ``keys`` maps arm -> seed (as text) -> trial key.
    """

    slug: str
    scale: str
    profile: str
    profile_version: int
    manifest_version: int
    planned_n: int
    seeds: tuple[int, ...]
    claims: Mapping[str, str]
    contrasts: Mapping[str, str]
    keys: Mapping[str, Mapping[str, str]]
    analysis_version: int = ANALYSIS_VERSION
    created: str = ""
    notes: tuple[str, ...] = field(default_factory=tuple)
    """What happened to this plan later: extensions as planned, edited claims, an interrupted run."""
    looks: tuple[int, ...] = ()
    """Numbers of seeds at which this study may be judged, planned before its first run: (5, 10, 20) shares the
    level among three looks. Empty: one look, at ``planned_n``, with the whole level; it may not be extended."""

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dict."""
        return asdict(self)

    @classmethod
    def load(cls, path: Path) -> Study:
        """Read a study file."""
        value = json.loads(path.read_text())
        lists = {name: tuple(value.get(name, ())) for name in ("seeds", "notes", "looks")}
        return cls(**{**value, **lists})
