"""Run one trial in this process: from a ``Trial`` to a ``Record``.

A record must be the same in a fresh process as in one that has run other trials, so whatever a trial may have
changed in the process is put back: random states, torch's switches, environment variables, the working folder.
"""

from __future__ import annotations

import contextlib
import datetime
import gc
import math
import os
import random
import resource
import shutil
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from replicate import modules, provenance
from replicate.engines.base import Trial
from replicate.records import Record, Status
from replicate.tasks.base import Arm, DataError, Diverged, Metric, Outcome, Run, RunTrial, Scale

OnLog = Callable[[int, Mapping[str, float]], None]
CHECKPOINT = "checkpoint-to-keep"
"""Name below the workdir under which ``run`` leaves a checkpoint for the engine to keep."""


def run(
    trial: Trial,
    *,
    workdir: Path | None = None,
    substrates: Mapping[str, Path] | None = None,
    on_log: OnLog | None = None,
    on_ready: Callable[[], None] | None = None,
    environment: Mapping[str, Any] | None = None,
) -> Record:
    """Run a trial to its record; never raises for what the trial does.

    ``substrates`` are the checkpoints of ``spec.substrates`` by name. ``on_ready`` is called when the imports are
    done and the trial itself begins. ``environment`` is ``provenance.environment()`` where the caller knows it. A
    checkpoint that the trial made lies at ``workdir / CHECKPOINT``, and ``record.checkpoint`` is its hash.
    """
    started, cpu_started = time.perf_counter(), _cpu_seconds()
    status: Status = "failed"
    outcome, error = Outcome(metrics={}), None
    worst: Mapping[str, Metric] = {}
    try:
        with _process_state():
            arm, run_trial, worst = _resolve(trial)
            with _torch_state(trial.spec.threads):
                _seed(trial.spec.seed)
                _reset_peak_memory()
                if on_ready is not None:
                    on_ready()
                started, cpu_started = time.perf_counter(), _cpu_seconds()
                outcome = run_trial(_run(trial, arm, workdir, substrates or {}, on_log))
        status = "ok"
        outcome, bad = _cleaned(outcome)
        if bad:
            raise Diverged(f"{bad} is not a finite number")
    except Diverged as reason:
        status, error = "diverged", f"diverged: {reason}"
        outcome = Outcome({name: metric.worst for name, metric in worst.items()}, outcome.curves, outcome.cost)
    except DataError as reason:
        status, error, outcome = "failed", str(reason), Outcome(metrics={})
    except Exception as reason:
        status, error, outcome = "failed", _short_traceback(reason), Outcome(metrics={})
    return Record(
        key=trial.key,
        spec=trial.spec,
        status=status,
        metrics=outcome.metrics,
        curves=outcome.curves,
        cost=_cost(outcome.cost, status),
        items=outcome.items,
        notes=tuple(outcome.notes),
        error=error,
        seconds=round(time.perf_counter() - started, 4),
        cpu_seconds=round(_cpu_seconds() - cpu_started, 4),
        finished=now(),
        provenance=_provenance(trial, substrates or {}, environment),
        checkpoint=_keep(outcome.checkpoint, workdir) if status == "ok" else None,
    )


def failed(trial: Trial, status: Status, error: str, *, attempts: int = 1, seconds: float = 0.0) -> Record:
    """The record of a trial that left none itself: its worker died or it ran out of time."""
    return Record(
        key=trial.key,
        spec=trial.spec,
        status=status,
        error=error,
        attempts=attempts,
        seconds=round(seconds, 4),
        finished=now(),
        provenance=_provenance(trial),
    )


def now() -> str:
    """UTC, ISO 8601, whole seconds."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


# -- before the trial ----------------------------------------------------------------------------------------------


_imported_code: dict[tuple[str, str, str | None, str | None], str] = {}


def _resolve(trial: Trial) -> tuple[Arm, RunTrial, Mapping[str, Metric]]:
    """Import the builder and the task, and check that the source is still what was planned."""
    data = trial.spec.data
    where = (trial.module, trial.task_module, trial.folder, data)
    if where not in _imported_code:
        _imported_code[where] = provenance.trial_code(*where)
        # Libraries are imported before seeding, also those that a trial imports late: a first import may draw
        # random numbers, and a torch that comes late would miss its seed and thread count.
        for library in sorted(provenance.libraries_used(where[:2], trial.folder) & {"numpy", "torch", "torchvision"}):
            modules.load(library)
    if trial.code and trial.code != _imported_code[where]:
        raise RuntimeError("the code changed after the command began; run the same command again")
    builder = getattr(modules.load(trial.module, trial.folder), trial.spec.builder.rpartition(":")[2])
    task = modules.load(trial.task_module, trial.folder)
    metrics = cast("Mapping[str, Metric]", _profiles_module(trial, task).METRICS)
    return Arm(trial.arm, builder, trial.spec.options), task.run_trial, metrics


def _profiles_module(trial: Trial, task: Any) -> Any:
    """``profiles`` in the task's package, or beside a paper's experiment.py."""
    package = trial.task_module if hasattr(task, "__path__") else trial.task_module.rpartition(".")[0]
    return modules.load(f"{package}.profiles", trial.folder)


def _run(trial: Trial, arm: Arm, workdir: Path | None, substrates: Mapping[str, Path], on_log: OnLog | None) -> Run:
    spec = trial.spec
    profile = trial.profile
    if dict(profile.settings) != dict(spec.settings):  # the key names the spec's settings, so they win
        profile = replace(profile, settings=spec.settings)
    return Run(
        arm=arm,
        profile=profile,
        scale=cast("Scale", spec.scale),
        seed=spec.seed,
        device=spec.device,
        threads=spec.threads,
        data_paths={name: Path(path) for name, path in trial.data_paths.items()},
        workdir=workdir,
        substrates=substrates,
        on_log=on_log,
    )


def _seed(seed: int) -> None:
    random.seed(seed)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(seed % 2**32)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)


# -- state of the process ------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _process_state() -> Iterator[None]:
    """Put environment variables, working folder and warning filters back; keep trials' warnings off the screen."""
    environment, folder = dict(os.environ), os.getcwd()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        os.chdir(folder)
        if dict(os.environ) != environment:
            os.environ.clear()
            os.environ.update(environment)


@contextlib.contextmanager
def _torch_state(threads: int) -> Iterator[None]:
    """Thread count, determinism and default switches of torch, when the trial uses torch; put back afterwards."""
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    switches = [
        (torch.get_default_dtype, torch.set_default_dtype),
        (torch.is_grad_enabled, torch.set_grad_enabled),
        (torch.is_anomaly_enabled, torch.set_anomaly_enabled),
        (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
        (lambda: torch.is_autocast_enabled("cuda"), lambda on: torch.set_autocast_enabled("cuda", on)),
        (lambda: torch.is_autocast_enabled("cpu"), lambda on: torch.set_autocast_enabled("cpu", on)),
    ]
    before = [get() for get, _ in switches]
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        for value, (_, put) in zip(before, switches, strict=True):
            put(value)
        if torch.cuda.is_initialized():
            gc.collect()
            torch.cuda.empty_cache()


def _reset_peak_memory() -> None:
    """Start the peak of resident memory anew, where the system can (Linux), so that it is this trial's own."""
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()


def _peak_memory_mb() -> float:
    """Peak resident memory, MiB."""
    try:
        with open("/proc/self/status") as lines:
            for line in lines:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) / 1024
    except FileNotFoundError:
        pass  # not Linux: the peak of the process, over all its trials
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 1024)


def _cpu_seconds() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


# -- after the trial -----------------------------------------------------------------------------------------------


def _cleaned(outcome: Outcome) -> tuple[Outcome, str]:
    """The outcome as plain finite floats, and the name of a metric that is not finite ("" when all are).

    Rows of curves with a number that is not finite, and such costs, cannot be written: they are left out, and a
    note says so.
    """
    metrics = {name: float(value) for name, value in outcome.metrics.items()}
    if not metrics:
        raise ValueError("run_trial reports no metric")
    bad = next((name for name, value in metrics.items() if not math.isfinite(value)), "")
    notes = list(outcome.notes)
    curves, dropped = _finite_rows(outcome.curves)
    if dropped:
        notes.append(f"{dropped} rows of curves that are not finite were left out")
    cost = {name: float(value) for name, value in outcome.cost.items()}
    for name in [name for name, value in cost.items() if not math.isfinite(value)]:
        notes.append(f"cost {name} is not finite and was left out")
        del cost[name]
    items = {name: [float(x) for x in values] for name, values in outcome.items.items()}
    if not bad:
        bad = next((f"item of {n}" for n, values in items.items() if not all(map(math.isfinite, values))), "")
    return Outcome(metrics, curves, cost, items, tuple(notes), outcome.checkpoint), bad


def _finite_rows(curves: Mapping[str, Sequence[float]]) -> tuple[dict[str, list[float]], int]:
    plain = {name: [float(x) for x in curve] for name, curve in curves.items()}
    lengths = {len(curve) for curve in plain.values()}
    if len(lengths) > 1:
        raise ValueError(f"curves of unequal length: { ({name: len(curve) for name, curve in plain.items()}) }")
    rows = lengths.pop() if lengths else 0
    good = [i for i in range(rows) if all(math.isfinite(curve[i]) for curve in plain.values())]
    return {name: [curve[i] for i in good] for name, curve in plain.items()}, rows - len(good)


def _cost(cost: Mapping[str, float], status: Status) -> dict[str, float]:
    if status == "failed":
        return {}
    found = dict(cost)
    found.setdefault("peak_memory_mb", round(_peak_memory_mb(), 1))
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        found.setdefault("peak_gpu_memory_mb", round(torch.cuda.max_memory_allocated() / 2**20, 1))
    return found


def _keep(checkpoint: Path | None, workdir: Path | None) -> str | None:
    if checkpoint is None or workdir is None:
        return None
    from replicate.store import file_sha256

    kept = workdir / CHECKPOINT
    if checkpoint.resolve().is_relative_to(workdir.resolve()):
        os.replace(checkpoint, kept)
    else:
        shutil.copyfile(checkpoint, kept)
    return file_sha256(kept)


def _provenance(
    trial: Trial, substrates: Mapping[str, Path] | None = None, environment: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Everything that ``rerun`` needs beside the spec, and where the record comes from."""
    about: dict[str, Any] = {
        "slug": trial.slug,
        "arm": trial.arm,
        "module": trial.module,
        "task_module": trial.task_module,
        "metric": trial.profile.metric,
        "protocol": trial.profile.protocol,
        "timeout_s": trial.timeout_s,
        "exclusive": trial.exclusive,
    }
    if trial.folder is not None:
        about["folder"] = trial.folder
    if trial.data_paths:
        about["data_paths"] = dict(trial.data_paths)
    return {
        "code": trial.code,
        "carried": [],
        "trial": about,
        # checkpoints are files named by their hash
        **({"substrates": {name: path.name for name, path in substrates.items()}} if substrates else {}),
        **provenance.environment(trial.spec.device, environment),
    }


def _short_traceback(error: BaseException) -> str:
    """The error and the last places it came through, without the engine's own frames."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename != __file__]
    places = [f"{Path(f.filename).parent.name}/{Path(f.filename).name}:{f.lineno} in {f.name}" for f in frames[-4:]]
    return "\n".join([f"{type(error).__name__}: {error}"[:2000], *(f"  at {place}" for place in reversed(places))])
