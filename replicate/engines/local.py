"""The local engine: a pool of processes on this machine that take trial after trial.

The driver alone writes records. Each trial is locked while it runs, so two commands on one store share the work.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from multiprocessing.connection import wait
from typing import Any

from replicate import trial as trials_module
from replicate.engines.base import Event, EventKind, OnEvent, RunReport, Trial
from replicate.engines.pool import Worker
from replicate.records import Record
from replicate.store import Lock, Store

ATTEMPTS = 3
"""A trial whose worker dies this often is recorded as failed."""
_LOCK_POLL_S = 0.2


def run_local(
    trials: Sequence[Trial],
    store: Store,
    *,
    workers: int | None = None,
    on_event: OnEvent | None = None,
    budget_s: float | None = None,
    timeout_s: float | None = None,
) -> RunReport:
    """Run what has no valid record yet; the same call again resumes.

    ``workers`` is the number of trials at a time (default: as many as their threads fit the cores; one at a time
    on a GPU). ``budget_s``: no trial is started that would end after it. ``timeout_s`` replaces the trials' own
    limits. The first Ctrl-C lets running trials end, the second stops them. Raises ``UserError`` when records
    cannot be written.
    """
    driver = _Driver(trials, store, workers, on_event or (lambda event: None), budget_s, timeout_s)
    with _interrupts(driver):
        return driver.run()


def reusable(record: Record | None, trial: Trial, store: Store | None = None) -> bool:
    """True for a result of today's code, or of older code that a canary has carried forward to it.

    With ``store``, a trial that started from other trials' checkpoints must have used the ones kept there now.
    """
    if record is None or not record.done:
        return False
    provenance = record.provenance
    if trial.code and trial.code != provenance.get("code") and trial.code not in provenance.get("carried", ()):
        return False
    used = provenance.get("substrates", {})
    for name, key in trial.spec.substrates.items() if store is not None else ():
        substrate = store.get(key) if store is not None else None
        if substrate is not None and substrate.checkpoint != used.get(name):
            return False
    return True


class _Driver:
    def __init__(
        self,
        trials: Sequence[Trial],
        store: Store,
        workers: int | None,
        on_event: OnEvent,
        budget_s: float | None,
        timeout_s: float | None,
    ) -> None:
        self.store, self.limit, self.on_event = store, workers, on_event
        self.budget_s, self.timeout_s = budget_s, timeout_s
        self.cores = _cores()
        self.began = time.monotonic()
        self.trials = list({trial.key: trial for trial in trials}.values())
        self.todo: list[Trial] = []
        self.before: dict[str, Record | None] = {}
        self.waiting: dict[str, float] = {}  # key -> when to try its lock again
        self.attempts: dict[str, int] = {}
        self.pool: list[Worker] = []
        self.done: list[Record] = []
        self.failed: list[Record] = []
        self.skipped: list[Record] = []
        self.draining = False
        self.speed = _Speed()

    def run(self) -> RunReport:
        try:
            self._sort_out()
            while True:
                self._start_what_fits()
                if any(not worker.idle for worker in self.pool):
                    self._listen()
                    self._end_overdue()
                elif self.draining or not self.waiting:
                    break
                else:
                    time.sleep(_LOCK_POLL_S / 2)
        finally:
            for worker in self.pool:
                if worker.idle:
                    continue
                worker.kill()
                worker.release()
            for worker in self.pool:
                worker.close()
        return RunReport(
            done=tuple(self.done),
            failed=tuple(self.failed),
            skipped=tuple(self.skipped),
            pending=tuple(self.todo),
            interrupted=self.draining,
            seconds=time.monotonic() - self.began,
        )

    def drain(self) -> None:
        """Start nothing more."""
        self.draining = True
        running = sum(not worker.idle for worker in self.pool)
        self._tell("notice", message=f"stopping after {running} running trials; Ctrl-C again stops them too")

    # -- what is there, what can start -----------------------------------------------------------------------

    def _sort_out(self) -> None:
        """Split the trials into those with a valid record and those to do; trials that measure time come last."""
        self.before = {trial.key: self.store.get(trial.key) for trial in self.trials}
        to_do = {t.key for t in self.trials if not reusable(self.before[t.key], t, self.store)}
        # A trial whose substrate is made anew has to wait for it to know whether its own record still holds.
        while more := {t.key for t in self.trials if to_do & set(t.spec.substrates.values())} - to_do:
            to_do |= more
        needed = {key for t in self.trials if t.key in to_do for key in t.spec.substrates.values()}
        to_do |= {t.key for t in self.trials if t.key in needed and not self._has_checkpoint(t.key)}
        for trial in self.trials:
            if trial.key in to_do:
                self.todo.append(trial)
                self._tell("queued", trial)
            else:
                self._skip(trial, self.before[trial.key])
        self.todo.sort(key=lambda trial: trial.exclusive)

    def _has_checkpoint(self, key: str) -> bool:
        record = self.before.get(key)
        return record is not None and record.checkpoint is not None and self.store.has_checkpoint(record.checkpoint)

    def _start_what_fits(self) -> None:
        for trial in list(self.todo):
            if self.draining or (self.limit is not None and self._busy() >= self.limit):
                return
            if not self._room(trial) or self.waiting.get(trial.key, 0.0) > time.monotonic():
                if self.limit is None and self._threads_busy() >= self.cores:
                    return
                continue
            if self._substrate_pending(trial) or not self._within_budget(trial):
                self.waiting.pop(trial.key, None)
                continue
            self._start(trial)

    def _start(self, trial: Trial) -> None:
        lock = self.store.try_lock(trial.key)
        if lock is None:
            if trial.key not in self.waiting:
                self._tell("waiting", trial, message="another command is running this trial")
            self.waiting[trial.key] = time.monotonic() + _LOCK_POLL_S
            return
        waited = self.waiting.pop(trial.key, None) is not None
        self.todo.remove(trial)
        record = self.store.get(trial.key)
        substrates, missing = self._substrates(trial)
        if self._still_good(record, trial):
            lock.release()
            self._skip(trial, record)
        elif waited and record is not None and not record.done and record != self.before[trial.key]:
            lock.release()  # the other command has just tried and failed
            self._book(trial, record)
        elif missing:
            self._write(trial, trials_module.failed(trial, "failed", missing), lock)
        else:
            worker = self._worker(trial.spec.threads)
            limit = self.timeout_s if self.timeout_s is not None else trial.timeout_s
            worker.give(trial, lock, self.store.workdir(trial.key), substrates, limit)
            self._tell("started", trial)

    def _still_good(self, record: Record | None, trial: Trial) -> bool:
        """True when a record made since (by another command, or by a twin of a substrate) can be taken."""
        if not reusable(record, trial, self.store):
            return False
        kept = record is not None and (record.checkpoint is None or self.store.has_checkpoint(record.checkpoint))
        return kept or not any(trial.key in other.spec.substrates.values() for other in self.todo)

    def _room(self, trial: Trial) -> bool:
        running = [worker.trial for worker in self.pool if worker.trial is not None]
        if not running:
            return True
        if trial.exclusive or any(other.exclusive for other in running):
            return False
        if self.limit is not None:
            return len(running) < self.limit
        if trial.spec.device != "cpu" and any(other.spec.device != "cpu" for other in running):
            return False
        return self._threads_busy() + trial.spec.threads <= self.cores

    def _busy(self) -> int:
        return sum(not worker.idle for worker in self.pool)

    def _threads_busy(self) -> int:
        return sum(worker.threads for worker in self.pool if not worker.idle)

    def _within_budget(self, trial: Trial) -> bool:
        if self.budget_s is None:
            return True
        return time.monotonic() - self.began + self.speed.estimate(trial) <= self.budget_s

    def _substrate_pending(self, trial: Trial) -> bool:
        keys = set(trial.spec.substrates.values())
        if not keys:
            return False
        unfinished = {t.key for t in self.todo} | {w.trial.key for w in self.pool if w.trial is not None}
        return bool(keys & unfinished)

    def _substrates(self, trial: Trial) -> tuple[dict[str, str], str]:
        """Checkpoint files that the trial starts from, and what is missing ("" when nothing is)."""
        found = {}
        for name, key in trial.spec.substrates.items():
            record = self.store.get(key)
            if record is None or not record.done:
                return {}, f"its substrate {name!r} (trial {key[:12]}) has no result; run the arm that trains it"
            if record.checkpoint is None:
                return {}, f"its substrate {name!r} (trial {key[:12]}) left no checkpoint (status {record.status})"
            if not self.store.has_checkpoint(record.checkpoint):
                return (
                    {},
                    f"the checkpoint of its substrate {name!r} (trial {key[:12]}) is gone; run that arm again",
                )
            found[name] = str(self.store.checkpoint(record.checkpoint))
        return found, ""

    def _worker(self, threads: int) -> Worker:
        """An idle worker with this thread count (fixed when a process starts), an old one or a new one."""
        for worker in self.pool:
            if worker.idle and worker.threads == threads:
                return worker
        if len(self.pool) >= (self.limit or self.cores):
            other = next((worker for worker in self.pool if worker.idle), None)
            if other is not None:
                self.pool.remove(other)
                other.close()
        self.pool.append(Worker(threads))
        return self.pool[-1]

    # -- what comes back -------------------------------------------------------------------------------------

    def _listen(self) -> None:
        busy = {worker.connection: worker for worker in self.pool if not worker.idle}
        now = time.monotonic()
        patience = min(worker.deadline - now for worker in busy.values())
        patience = max(0.0, min(patience, _LOCK_POLL_S if self.waiting else 1.0))
        for ready in wait(list(busy), timeout=patience):
            worker = busy[ready]  # type: ignore[index]
            message = worker.receive()
            if message is None:
                self._died(worker)
            elif "record" in message:
                self._finished(worker, Record.from_json(message["record"]))
            elif "step" in message:
                metrics = {name: float(value) for name, value in message["metrics"].items()}
                self._tell("progress", worker.trial, step=message["step"], metrics=metrics)

    def _finished(self, worker: Worker, record: Record) -> None:
        trial, lock = worker.trial, worker.lock
        assert trial is not None
        assert lock is not None
        if record.checkpoint is not None:
            self.store.keep_checkpoint(self.store.workdir(trial.key) / trials_module.CHECKPOINT, record.checkpoint)
        self.speed.learn(trial, record.seconds)
        self._write(trial, record.with_(attempts=self.attempts.get(trial.key, 0) + 1), lock)
        worker.release()

    def _died(self, worker: Worker) -> None:
        trial, lock, seconds = worker.trial, worker.lock, time.monotonic() - worker.started
        assert trial is not None
        assert lock is not None
        worker.kill()  # its children, if any
        words = worker.last_words()
        self.pool.remove(worker)
        self.attempts[trial.key] = self.attempts.get(trial.key, 0) + 1
        if self.attempts[trial.key] < ATTEMPTS:
            self.todo.insert(0, trial)
            self._tell("retried", trial, message=words)
        else:
            error = f"{words}\nafter {ATTEMPTS} attempts"
            self._write(trial, trials_module.failed(trial, "failed", error, attempts=ATTEMPTS, seconds=seconds), lock)
        worker.release()
        worker.close()

    def _end_overdue(self) -> None:
        now = time.monotonic()
        for worker in [w for w in self.pool if w.deadline <= now]:
            trial, lock, seconds = worker.trial, worker.lock, now - worker.started
            assert trial is not None
            assert lock is not None
            worker.kill()
            self.pool.remove(worker)
            attempts = self.attempts.get(trial.key, 0) + 1
            error = f"ran into its time limit after {seconds:.1f} s; the next run takes it up again"
            record = trials_module.failed(trial, "timeout", error, attempts=attempts, seconds=seconds)
            self._write(trial, record, lock)
            worker.release()
            worker.close()

    def _write(self, trial: Trial, record: Record, lock: Lock) -> None:
        """Put the record, then give the lock back: nobody sees a trial that is neither running nor recorded."""
        try:
            self.store.put(record)
            if record.done or (record.status == "failed" and record.attempts < ATTEMPTS):
                self.store.clear_workdir(trial.key)
        finally:
            lock.release()
        self._book(trial, record)

    def _book(self, trial: Trial, record: Record) -> None:
        (self.done if record.done else self.failed).append(record)
        self._tell("finished" if record.done else "failed", trial, record=record)

    def _skip(self, trial: Trial, record: Record | None) -> None:
        assert record is not None
        self.skipped.append(record)
        self._tell("reused", trial, record=record)

    def _tell(self, kind: EventKind, trial: Trial | None = None, **details: Any) -> None:
        self.on_event(Event(kind, trial, **details))


class _Speed:
    """How long trials take on this machine, learnt from those that have ended."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str, str], list[float]] = {}
        self._planned = self._taken = 0.0

    def learn(self, trial: Trial, seconds: float) -> None:
        self._seen.setdefault(self._kind(trial), []).append(seconds)
        self._planned += trial.seconds
        self._taken += seconds

    def estimate(self, trial: Trial) -> float:
        """Seconds: the mean of the same arm when it has run, else the plan's estimate at the pace seen so far."""
        seen = self._seen.get(self._kind(trial))
        if seen:
            return sum(seen) / len(seen)
        return trial.seconds * (self._taken / self._planned if self._planned > 0 else 1.0)

    @staticmethod
    def _kind(trial: Trial) -> tuple[str, str, str]:
        return trial.spec.builder, trial.spec.task, trial.spec.profile


def _cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


@contextlib.contextmanager
def _interrupts(driver: _Driver) -> Iterator[None]:
    """First Ctrl-C: drain. Second: ``KeyboardInterrupt``, which ends the workers."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may handle signals
        return

    def handle(number: int, frame: Any) -> None:
        if driver.draining:
            raise KeyboardInterrupt
        driver.drain()

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
