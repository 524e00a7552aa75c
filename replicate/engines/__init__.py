"""Engines run trials and write their records: ``local`` is a pool of processes on this machine."""

from __future__ import annotations

from replicate.engines.base import Engine
from replicate.errors import UserError, unknown

ENGINES: tuple[str, ...] = ("local",)


def get(name: str) -> Engine:
    """The engine of this name. Raises ``UserError`` for a name that this version does not have."""
    if name == "local":
        from replicate.engines.local import run_local

        return run_local
    if name == "ray":
        raise UserError("the Ray engine is not part of this version; use --engine local")
    raise unknown("engine", name, ENGINES)
