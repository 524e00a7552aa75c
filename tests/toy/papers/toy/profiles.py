"""What the scales of the toy paper mean."""

from __future__ import annotations

from replicate.tasks.base import Gate, Metric, Profile

METRICS: dict[str, Metric] = {
    "score": Metric(unit="points", higher_is_better=True, worst=0.0, says="base + level + noise"),
    "loss": Metric(unit="nats", higher_is_better=False, worst=10.0, says="one minus the score"),
}

_GATE = Gate(metric="score", floor=0.3, untrained=0.1, long_run=0.5, why="three times untrained; more than half of 0.5")

PROFILES: dict[str, Profile] = {
    "tiny": Profile(
        name="tiny",
        version=1,
        data=None,
        settings={"base": 0.5, "noise": 0.02, "steps": 3},
        metric="score",
        seconds=0.1,
    ),
    "small": Profile(
        name="small",
        version=1,
        data=None,
        settings={"base": 0.5, "noise": 0.02, "steps": 5},
        metric="score",
        gate=_GATE,
        seconds=0.1,
    ),
}
