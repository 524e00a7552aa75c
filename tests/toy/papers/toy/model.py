"""The toy mechanism: a level that is added to a score."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Toy:
    """A "model" whose quality is known: ``level`` is what the mechanism adds, ``parameters`` what it costs.

    The other fields are faults for the tests of the engine; see ``experiment.py``.
    """

    level: float
    parameters: int
    own_noise: float = 0.005
    sleep_s: float = 0.0
    fault: str = "none"
