"""Profiles and metrics of a paper's task, read without importing torch."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import ModuleType

from replicate import catalog, modules
from replicate.catalog import Paper
from replicate.errors import UserError, unknown
from replicate.loading import shown
from replicate.tasks.base import Metric, Profile


@dataclass(frozen=True)
class TaskInfo:
    """What the planner needs of a task.

    ``name`` is what trial specs say (``detection``, or ``papers.<slug>`` for an experiment of the paper's own);
    ``module`` exports ``run_trial``.
    """

    name: str
    module: str
    metrics: Mapping[str, Metric]
    profiles: Mapping[str, Profile]
    families: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Title -> metrics that belong in one figure (``FAMILIES`` of profiles.py, if it has one)."""

    def profile(self, name: str) -> Profile:
        """The profile of that name, or an error with near misses."""
        if name not in self.profiles:
            raise unknown(f"profile of task {self.name}", name, self.profiles)
        return self.profiles[name]


def known_tasks() -> list[str]:
    """Names of the shared tasks: packages of replicate.tasks that have profiles.py."""
    return sorted(path.parent.name for path in (catalog.SUITE / "tasks").glob("*/profiles.py"))


def of(paper: Paper) -> TaskInfo:
    """Profiles and metrics of the paper's task."""
    task = paper.manifest.task
    if task == "own":
        module = _own(paper)
        name = paper.package.removeprefix("replicate.")
        return _info(name, f"{paper.package}.experiment", module, shown(paper.folder / "profiles.py"))
    if task not in known_tasks():
        raise UserError(f"{shown(paper.folder / catalog.MANIFEST)}: {unknown('task', task, [*known_tasks(), 'own'])}")
    module = importlib.import_module(f"replicate.tasks.{task}.profiles")
    return _info(task, f"replicate.tasks.{task}", module, f"replicate/tasks/{task}/profiles.py")


def _info(name: str, run_trial: str, module: ModuleType, where: str) -> TaskInfo:
    for word, kind in (("METRICS", Metric), ("PROFILES", Profile)):
        table = getattr(module, word, None)
        if not isinstance(table, Mapping) or not all(isinstance(v, kind) for v in table.values()):
            raise UserError(f"{where}: {word} must be a mapping from names to {kind.__name__}")
    for key, profile in module.PROFILES.items():
        if profile.name != key:
            raise UserError(f"{where}: PROFILES[{key!r}] calls itself {profile.name!r}")
        if profile.metric not in module.METRICS:
            raise UserError(f"{where}: profile {key!r}: {unknown('metric', profile.metric, module.METRICS)}")
    return TaskInfo(name, run_trial, module.METRICS, module.PROFILES, dict(getattr(module, "FAMILIES", {})))


def _own(paper: Paper) -> ModuleType:
    path = paper.folder / "profiles.py"
    if not path.is_file():
        raise UserError(f"{shown(path)}: missing; a paper with `task: own` states its METRICS and PROFILES there")
    try:
        return modules.load(f"{paper.package}.profiles", paper.folder)
    except Exception as error:  # whatever a user's file raises
        raise UserError(f"{shown(path)}: cannot be imported: {type(error).__name__}: {error}") from error
