"""Shared experiments: one package per task, and the words that papers use to wire arms to them.

A task package holds ``profiles.py`` (light: ``METRICS`` and ``PROFILES``, no torch) and exports ``run_trial``.
"""

from replicate.tasks.base import (
    Arm,
    Checked,
    DataError,
    Diverged,
    Gate,
    Metric,
    Outcome,
    Profile,
    Run,
    arm,
    check,
    close,
)

__all__ = [
    "Arm",
    "Checked",
    "DataError",
    "Diverged",
    "Gate",
    "Metric",
    "Outcome",
    "Profile",
    "Run",
    "arm",
    "check",
    "close",
]
