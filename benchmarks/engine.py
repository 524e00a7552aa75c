"""Overhead of the local engine per no-op trial, records written and synced, against a bare loop with fsync.

    python benchmarks/engine.py [TRIALS] [WORKERS] [FOLDER]

Bar: under 10 ms a trial. The bare loop calls the same function and syncs the same bytes, without processes,
locks, checks or provenance. FOLDER chooses the disk: where syncs are slow, both columns are.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from toy.trials import trial  # noqa: E402 - needs the path above

from replicate import trial as runner  # noqa: E402 - the same
from replicate.engines.base import Trial  # noqa: E402 - the same
from replicate.engines.local import run_local  # noqa: E402 - the same
from replicate.store import Store, encode  # noqa: E402 - the same

BAR_MS = 10.0


def bare(trials: list[Trial], folder: Path) -> float:
    """Seconds a trial of a plain loop: run, write, fsync, rename, fsync of the folder."""
    began = time.perf_counter()
    for each in trials:
        data = encode(runner.run(each))
        temporary = folder / "tmp"
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, folder / each.key)
        at = os.open(folder, os.O_RDONLY)
        os.fsync(at)
        os.close(at)
    return (time.perf_counter() - began) / len(trials)


def engine(trials: list[Trial], folder: Path, workers: int | None) -> tuple[float, float]:
    """Seconds a trial with and without the start of the pool (taken from a run of a fifth of the trials)."""
    times = []
    for part in (trials[: len(trials) // 5], trials[len(trials) // 5 :]):
        began = time.perf_counter()
        report = run_local(part, Store(folder), workers=workers)
        times.append(time.perf_counter() - began)
        assert len(report.done) == len(part)
    few, many = len(trials) // 5, len(trials) - len(trials) // 5
    return times[1] / many, (times[1] - times[0]) / (many - few)


def main(number: int = 500, workers: int | None = None, where: Path = ROOT) -> int:
    trials = [trial("method", seed) for seed in range(number)]
    with tempfile.TemporaryDirectory(dir=where, prefix=".bench-") as name:
        folder = Path(name)
        plain = bare(trials, folder)
        cpu = time.process_time()
        whole, steady = engine(trials, folder / "store", workers)
        cpu = (time.process_time() - cpu) / number
        began = time.perf_counter()
        report = run_local(trials, Store(folder / "store"), workers=workers)
        again = (time.perf_counter() - began) / number
        assert len(report.skipped) == number
    print(f"{number} no-op trials, records synced; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print(f"  bare loop + fsync       {plain * 1e3:7.2f} ms a trial")
    print(f"  engine, pool started    {whole * 1e3:7.2f} ms a trial   {whole / plain:5.1f} x bare")
    print(f"  engine, steady          {steady * 1e3:7.2f} ms a trial   {steady / plain:5.1f} x bare")
    print(f"  of it the driver's CPU  {cpu * 1e3:7.2f} ms a trial")
    print(f"  nothing left to do      {again * 1e3:7.2f} ms a trial")
    met = whole * 1e3 < BAR_MS
    print(f"  bar {BAR_MS:.0f} ms: {'met' if met else 'MISSED'}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main(*(int(word) for word in sys.argv[1:3]), *(Path(word) for word in sys.argv[3:4])))
