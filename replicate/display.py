"""Progress: a live bar on a terminal, plain lines elsewhere, nothing with ``--quiet``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from replicate.engines.base import Event, Trial
from replicate.records import Record
from replicate.tables import duration
from replicate.tasks.base import Metric

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class Display:
    """Shows the events of a run. Use as a context manager; call ``on_event`` with each event.

    ``primary`` maps a paper's slug to (name, Metric) of the metric that a line shows.
    """

    def __init__(
        self,
        total: int,
        primary: Mapping[str, tuple[str, Metric]],
        *,
        stream: TextIO | None = None,
        quiet: bool = False,
    ) -> None:
        self.total, self.primary, self.quiet = total, primary, quiet
        self.stream = stream or sys.stderr
        self.done = self.failed = self.reused = 0
        self.live = not quiet and self.stream.isatty()
        self._progress: Progress | None = None
        self._bar: TaskID | None = None
        self._running: dict[str, str] = {}

    def __enter__(self) -> Display:
        if self.live:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("{task.fields[now]}", style="dim"),
                console=Console(file=self.stream, highlight=False),
                transient=True,
            )
            self._bar = self._progress.add_task("trials", total=self.total, now="")
            self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def on_event(self, event: Event) -> None:
        """Take one event of the engine."""
        handlers: dict[str, Callable[[Event], None]] = {
            "started": self._started,
            "progress": self._stepped,
            "reused": self._reused,
            "finished": self._finished,
            "failed": self._failed,
            "retried": self._retried,
            "waiting": self._waiting,
            "notice": self._notice,
        }
        if event.kind in handlers:
            handlers[event.kind](event)
        if self._progress is not None and self._bar is not None:
            now = "  ".join(list(self._running.values())[:3])
            self._progress.update(self._bar, completed=self.done + self.failed + self.reused, now=now)

    def _started(self, event: Event) -> None:
        if event.trial is not None:
            self._running[event.trial.key] = name_of(event.trial)

    def _stepped(self, event: Event) -> None:
        if event.trial is not None:
            shown = ", ".join(f"{k} {v:.4g}" for k, v in list(event.metrics.items())[:1])
            self._running[event.trial.key] = f"{name_of(event.trial)} step {event.step} {shown}".strip()

    def _reused(self, event: Event) -> None:
        self.reused += 1

    def _finished(self, event: Event) -> None:
        self.done += 1
        self._ended(event)

    def _failed(self, event: Event) -> None:
        self.failed += 1
        self._ended(event)

    def _retried(self, event: Event) -> None:
        self.say(f"{name_of(event.trial)}: {event.message}" if event.trial else event.message)

    def _waiting(self, event: Event) -> None:
        if event.trial is not None:
            self.say(f"{name_of(event.trial)}: another command is running it; waiting")

    def _notice(self, event: Event) -> None:
        self.say(event.message)

    def _ended(self, event: Event) -> None:
        if event.trial is None or event.record is None:
            return
        self._running.pop(event.trial.key, None)
        at = f"[{self.done + self.failed + self.reused}/{self.total}]"
        self.say(f"{at} {name_of(event.trial)}: {self._result(event.trial, event.record)}")

    def _result(self, trial: Trial, record: Record) -> str:
        time = duration(record.seconds)
        if not record.done:
            return f"{record.status} after {time}: {reason(record)}"
        name, metric = self.primary.get(trial.slug, (trial.profile.metric, Metric(unit="")))
        value = record.metrics.get(name)
        number = "" if value is None else f"{name} {value:.4g} {metric.unit}".rstrip() + ", "
        return f"{number}{time}" + (" (diverged)" if record.status == "diverged" else "")

    def say(self, text: str) -> None:
        """One line above the bar, or a plain line."""
        if self.quiet:
            return
        if self._progress is not None:
            self._progress.console.print(text, markup=False)
        else:
            print(text, file=self.stream, flush=True)


def name_of(trial: Trial | None) -> str:
    """``sepc pconv seed 3``."""
    return "" if trial is None else f"{trial.slug} {trial.arm} seed {trial.spec.seed}"


def reason(record: Record) -> str:
    """First line of a record's error: what happened, without where."""
    return (record.error or record.status).strip().splitlines()[0]
