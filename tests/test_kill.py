"""kill -9 of drivers and workers at random moments: nothing finished is lost, nothing finished runs twice."""

from __future__ import annotations

import collections
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from toy.trials import log_lines, trial

from replicate.store import Store, decode

TESTS = Path(__file__).resolve().parent
N, SLEEP_S = 40, 0.02


@pytest.fixture
def memory_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: a kill of a process asks nothing of the disk, and syncs are slow."""
    shared = Path("/dev/shm")
    if not (shared.is_dir() and os.access(shared, os.W_OK)):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=shared, prefix="replicate-test-") as folder:
        yield Path(folder)


def command(store: Path, number: int = N, sleep_s: float = SLEEP_S, workers: int = 2) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(TESTS / "toy" / "study.py"), str(store), str(number), str(sleep_s), str(workers)],
        env={**os.environ, "REPLICATE_TOY_LOG": str(store.with_suffix(".log")), "PYTHONPATH": str(TESTS.parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return dict(json.loads(out))


def starts(store: Path) -> collections.Counter[int]:
    return collections.Counter(seed for word, _, seed in log_lines(store.with_suffix(".log")) if word == "start")


def wait_for(condition: Any, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.005)


def running_pids(store: Path) -> list[int]:
    """Processes that have started a trial and not ended it."""
    path = store.with_suffix(".log")
    last = {int(pid): word for word, _, _, pid in (line.split() for line in path.read_text().splitlines())}
    return [pid for pid, word in last.items() if word == "start"]


def assert_one_good_record_each(store: Path, number: int = N) -> None:
    expected = {trial("method", seed, sleep_s=SLEEP_S).key for seed in range(number)}
    files = [path for path in (store / "runs").rglob("*") if path.is_file()]
    assert {path.stem for path in files if not path.name.startswith(".")} == expected
    for path in files:
        if not path.name.startswith("."):
            assert decode(path.read_bytes(), path.stem).status == "ok"
    assert not (store / "set_aside").exists()


def test_driver_killed_at_random_moments(memory_disk: Path) -> None:
    moments = random.Random(20240501)
    recorded_at_kill = []
    for round_ in range(10):
        store = memory_disk / f"store{round_}"
        driver = command(store)
        wait_for(lambda store=store: starts(store))
        time.sleep(moments.uniform(0.0, 0.5))
        driver.kill()
        driver.communicate()
        finished = set(Store(store).keys())
        recorded_at_kill.append(len(finished))
        once = starts(store)
        report = finish(command(store))
        assert report == {
            "done": N - len(finished),
            "failed": 0,
            "skipped": len(finished),
            "pending": 0,
            "interrupted": False,
        }
        assert_one_good_record_each(store)
        again = starts(store)
        for seed in range(N):
            key = trial("method", seed, sleep_s=SLEEP_S).key
            assert again[seed] == (once[seed] if key in finished else once[seed] + 1)
            assert key not in finished or again[seed] == 1
    assert any(0 < n < N for n in recorded_at_kill), "no kill fell into the middle of a study"


def test_worker_killed_at_random_moments(memory_disk: Path) -> None:
    moments = random.Random(20240502)
    killed = 0
    for round_ in range(10):
        store = memory_disk / f"store{round_}"
        driver = command(store)
        wait_for(lambda store=store: starts(store))
        time.sleep(moments.uniform(0.0, 0.25))
        wait_for(lambda store=store, driver=driver: running_pids(store) or driver.poll() is not None)
        for pid in running_pids(store)[:1]:
            try:
                os.kill(pid, signal.SIGKILL)
                killed += 1
            except ProcessLookupError:
                pass
        assert finish(driver)["done"] == N
        assert_one_good_record_each(store)
        counts = starts(store)
        assert all(1 <= counts[seed] <= 2 for seed in range(N))
        twice = [seed for seed in range(N) if counts[seed] == 2]
        assert len(twice) <= 1
        retried = [record for record in Store(store).records() if record.attempts == 2]
        assert {record.spec.seed for record in retried} >= set(twice)
        if round_ in (0, 9):
            assert finish(command(store))["skipped"] == N
            assert starts(store) == counts
    assert killed >= 5


def test_workers_die_with_their_driver(tmp_path: Path) -> None:
    store = tmp_path / "store"
    driver = command(store, number=2, sleep_s=60.0)
    wait_for(lambda: len(starts(store)) == 2)
    workers = running_pids(store)
    driver.kill()
    driver.communicate()
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() and _alive(pid) for pid in workers), 5.0)


def _alive(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_two_drivers_on_one_store_share_the_work(tmp_path: Path) -> None:
    store = tmp_path / "store"
    reports = [finish(driver) for driver in [command(store), command(store)]]
    assert_one_good_record_each(store)
    assert all(report["failed"] == report["pending"] == 0 for report in reports)
    assert sum(report["done"] for report in reports) == N
    assert all(report["done"] + report["skipped"] == N for report in reports)
    assert all(count == 1 for count in starts(store).values())


def test_first_interrupt_drains_and_the_next_command_goes_on(tmp_path: Path) -> None:
    store = tmp_path / "store"
    driver = command(store, number=12, sleep_s=0.3)
    wait_for(lambda: starts(store))
    driver.send_signal(signal.SIGINT)
    report = finish(driver)
    assert report["interrupted"]
    assert report["failed"] == 0
    assert report["done"] >= 1
    assert report["done"] + report["pending"] == 12
    assert len(starts(store)) == report["done"] == len(Store(store).keys())


def test_second_interrupt_stops_at_once(tmp_path: Path) -> None:
    store = tmp_path / "store"
    driver = command(store, number=2, sleep_s=60.0)
    wait_for(lambda: len(starts(store)) == 2)
    workers = running_pids(store)
    driver.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert driver.poll() is None
    driver.send_signal(signal.SIGINT)
    driver.communicate(timeout=10)
    assert driver.returncode != 0
    assert not any(_alive(pid) for pid in workers)
    assert Store(store).keys() == []


@pytest.mark.parametrize("moment", ["before rename", "after rename"])
def test_driver_that_dies_while_it_writes(tmp_path: Path, moment: str) -> None:
    """The two ends of the only window in which a record could be half there."""
    code = f"""
import os, sys
sys.path.insert(0, {str(TESTS)!r})
from toy.trials import trial
from replicate import store as module, trial as runner
real = os.replace
def replace(a, b):
    if {moment!r} == "after rename":
        real(a, b)
    os.kill(os.getpid(), 9)
made = runner.run(trial("method", 1))
os.replace = replace
module.Store({str(tmp_path)!r}).put(made)
"""
    env = {**os.environ, "PYTHONPATH": str(TESTS.parent)}
    done = subprocess.run([sys.executable, "-c", code], env=env, check=False)
    assert done.returncode == -signal.SIGKILL
    found = Store(tmp_path).get(trial("method", 1).key)
    assert (found is not None) == (moment == "after rename")
