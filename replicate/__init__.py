"""Replicate machine-learning papers: one folder per paper, one command per paper, one verdict per claim.

Importing the package is cheap; torch, pandas and Ray are imported by the functions that need them.
"""

from typing import TYPE_CHECKING, Any

from replicate._version import __version__

if TYPE_CHECKING:
    from replicate.api import Study, run

__all__ = ["Study", "__version__", "run"]


def __getattr__(name: str) -> Any:
    if name in ("run", "Study"):
        from replicate import api

        return getattr(api, name)
    raise AttributeError(f"module 'replicate' has no attribute {name!r}")
