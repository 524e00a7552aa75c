"""Trials of the toy paper, made without the planner."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

from replicate import modules, provenance
from replicate.engines.base import Trial
from replicate.records import Spec

PAPER = Path(__file__).parent / "papers" / "toy"


def trial(arm: str = "method", seed: int = 0, *, folder: Path = PAPER, profile: str = "tiny", **more: Any) -> Trial:
    """One trial; ``level``, ``sleep_s``, ``fault`` are options, ``threads`` and ``substrates`` go into the spec."""
    package = "replicate_outside.toy"
    found = modules.load(f"{package}.profiles", folder).PROFILES[profile]
    options = {"level": 0.1 if arm in ("method", "tuned") else 0.0, "sleep_s": 0.0, "fault": "none"}
    options |= {name: more.pop(name) for name in list(more) if name in options}
    in_spec = {name: more.pop(name) for name in ("threads", "substrates", "device") if name in more}
    spec = Spec(
        builder=f"{package}.experiment:{arm}",
        builder_version=1,
        options=options,
        task=package,
        profile=profile,
        profile_version=found.version,
        settings=found.settings,
        data=None,
        scale="smoke",
        seed=seed,
        **in_spec,
    )
    module = f"{package}.experiment"
    more.setdefault("code", provenance.trial_code(module, module, folder))
    more.setdefault("seconds", found.seconds)
    return Trial(spec, "toy", arm, module, module, found, folder=str(folder), **more)


def log_lines(path: Path) -> list[tuple[str, str, int]]:
    """(word, arm, seed) of each line that the trials appended to ``REPLICATE_TOY_LOG``."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [(word, arm, ast.literal_eval(seed)) for word, arm, seed, _ in (line.split() for line in lines)]
