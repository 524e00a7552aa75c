"""What the planner hands to an engine, and what an engine reports back. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from replicate.records import Record, Spec, shallow
from replicate.tasks.base import Gate, Profile

if TYPE_CHECKING:
    from replicate.store import Store


@dataclass(frozen=True)
class Trial:
    """A spec, and what is needed to run it that does not change its result.

    ``module`` holds the builder (``spec.builder`` names the function after the colon) and ``task_module``
    exports ``run_trial``. Both are importable names; for a paper outside the suite they are
    ``replicate_outside.<slug>.<module>`` and ``folder`` is the paper's folder on disk.
    ``code`` is ``provenance.trial_code(...)`` of today's source.
    """

    spec: Spec
    slug: str
    arm: str
    module: str
    task_module: str
    profile: Profile
    folder: str | None = None
    timeout_s: float = 3600.0
    seconds: float = 60.0
    """Estimated seconds."""
    exclusive: bool = False
    """True when the trial measures time: it runs alone."""
    data_paths: Mapping[str, str] = field(default_factory=dict)
    code: str = ""

    @property
    def key(self) -> str:
        """Key of the spec."""
        return self.spec.key

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dict."""
        return {**shallow(self), "spec": shallow(self.spec), "profile": asdict(self.profile)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Trial:
        """Inverse of ``to_json``."""
        profile = dict(value["profile"])
        if profile.get("gate") is not None:
            profile["gate"] = Gate(**profile["gate"])
        return cls(**{**value, "spec": Spec.from_json(value["spec"]), "profile": Profile(**profile)})


EventKind = Literal["queued", "started", "progress", "finished", "failed", "retried", "reused", "waiting", "notice"]


@dataclass(frozen=True)
class Event:
    """Something that a display may show.

    ``finished`` and ``failed`` (also a timeout) carry the record, ``progress`` carries ``step`` and ``metrics``,
    ``retried`` and ``notice`` carry ``message``; ``waiting``: another command is running this trial.
    """

    kind: EventKind
    trial: Trial | None = None
    record: Record | None = None
    message: str = ""
    step: int = 0
    metrics: Mapping[str, float] = field(default_factory=dict)


OnEvent = Callable[[Event], None]


@dataclass(frozen=True)
class RunReport:
    """What became of the trials of one command; every trial is in exactly one of the four lists."""

    done: tuple[Record, ...] = ()
    """Run now with a result (``ok`` or ``diverged``)."""
    failed: tuple[Record, ...] = ()
    """Run now without a result (``failed`` or ``timeout``); the next command runs them again."""
    skipped: tuple[Record, ...] = ()
    """A valid record was there already, or another command made it meanwhile."""
    pending: tuple[Trial, ...] = ()
    """Not started: the budget was spent, or the user interrupted."""
    interrupted: bool = False
    seconds: float = 0.0

    @property
    def records(self) -> tuple[Record, ...]:
        """All results, old and new."""
        return self.skipped + self.done


class Engine(Protocol):
    """Runs trials on some machines and writes their records into a store."""

    def __call__(
        self,
        trials: Sequence[Trial],
        store: Store,
        *,
        workers: int | None = None,
        on_event: OnEvent | None = None,
        budget_s: float | None = None,
        timeout_s: float | None = None,
    ) -> RunReport:
        """Run what has no valid record yet. ``timeout_s`` replaces each trial's own limit."""
        ...
