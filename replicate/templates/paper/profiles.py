"""What each scale means here: sizes, steps, recipe, gate. Light: no torch, since the planner reads it."""

from __future__ import annotations

from replicate.tasks.base import Gate, Metric, Profile

METRICS: dict[str, Metric] = {
    # `worst` is the score of a run that diverged: chance for two balanced classes.
    "accuracy": Metric(unit="percent", higher_is_better=True, worst=50.0, says="test points classified correctly"),
}

# Every number that decides a result goes into `settings`: it becomes part of the key of each trial.
_SETTINGS = {"points": 512, "turns": 1.25, "noise": 0.02, "batch": 64, "lr": 0.01}

PROFILES: dict[str, Profile] = {
    "spiral-tiny": Profile(
        name="spiral-tiny",
        version=1,  # raise it whenever a setting changes
        data=None,  # or the name of a dataset of `replicate data list`
        settings={**_SETTINGS, "steps": 20},
        metric="accuracy",
        seconds=0.2,
    ),
    "spiral-small": Profile(
        name="spiral-small",
        version=1,
        data=None,
        settings={**_SETTINGS, "steps": 300},
        metric="accuracy",
        # Measured on seeds 100 to 104, which no verdict uses. Below the floor nothing is concluded.
        gate=Gate(
            metric="accuracy",
            floor=60.0,
            untrained=53.3,
            long_run=74.4,
            why="clearly off chance (50 percent), and more than half of what five times the steps reach",
        ),
        seconds=2.0,
    ),
}
