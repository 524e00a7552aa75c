"""The local engine and the trial runner, on the toy paper."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from toy.trials import PAPER, log_lines, trial

from replicate import engines, modules, provenance
from replicate import trial as runner
from replicate.engines.base import Event, Trial
from replicate.engines.local import run_local
from replicate.errors import UserError
from replicate.records import Record, Spec
from replicate.store import Store
from replicate.tasks.base import Profile


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "toy.log"
    monkeypatch.setenv("REPLICATE_TOY_LOG", str(path))
    return path


def only(store: Store, one: Trial, **options: Any) -> Record:
    report = run_local([one], store, workers=1, **options)
    (record,) = (*report.done, *report.failed)
    assert store.get(one.key) == Record.from_json(record.to_json())
    return record


def test_runs_reuses_and_reports(tmp_path: Path, log: Path) -> None:
    store, trials = Store(tmp_path / "s"), [trial(arm, seed) for arm in ("baseline", "method") for seed in range(3)]
    events: list[Event] = []
    report = run_local([*trials, trials[0]], store, workers=2, on_event=events.append)
    assert (len(report.done), len(report.failed), len(report.skipped), len(report.pending)) == (6, 0, 0, 0)
    kinds = Counter(event.kind for event in events)
    assert (kinds["queued"], kinds["started"], kinds["finished"]) == (6, 6, 6)
    progress = [event for event in events if event.kind == "progress"]
    assert progress
    assert "score" in progress[0].metrics
    again = run_local(trials, store, workers=2)
    assert (len(again.done), len(again.skipped)) == (0, 6)
    assert Counter(seed for word, _, seed in log_lines(log) if word == "start") == {0: 2, 1: 2, 2: 2}
    assert {record.key for record in again.records} == {one.key for one in trials}
    assert not list((tmp_path / "s" / "locks").iterdir())


def test_a_record_says_what_it_cost_and_where_it_comes_from(tmp_path: Path) -> None:
    record = only(Store(tmp_path), trial("method", 4, sleep_s=0.05))
    assert record.status == "ok"
    assert record.metrics["score"] == pytest.approx(0.6, abs=0.1)
    assert record.metrics["loss"] == 1.0 - record.metrics["score"]
    assert record.curves["step"] == [1.0, 2.0, 3.0]
    assert record.cost["parameters"] == 3.0
    assert 1.0 < record.cost["peak_memory_mb"] < 4096.0
    assert 0.05 <= record.seconds < 10.0
    assert record.provenance["code"] == trial().code
    assert record.provenance["trial"]["arm"] == "method"
    assert "python" in record.provenance["versions"]
    assert record.finished.endswith("+00:00")


@pytest.mark.parametrize("fault", ["diverge", "nan"])
def test_divergence_is_a_result_at_the_worst_value(tmp_path: Path, fault: str) -> None:
    record = only(Store(tmp_path), trial(fault=fault))
    assert record.status == "diverged"
    assert record.metrics == {"score": 0.0, "loss": 10.0}
    assert record.error is not None
    assert len(run_local([trial(fault=fault)], Store(tmp_path)).skipped) == 1


def test_an_error_leaves_a_short_traceback_and_is_run_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    record = only(store, trial(fault="error"))
    assert record.status == "failed"
    assert record.error is not None
    assert record.error.startswith("ValueError: this toy was told to fail\n  at toy/experiment.py:")
    assert record.metrics == {}
    assert len(run_local([trial(fault="error")], store, workers=1).failed) == 1


def test_missing_data_says_so_in_one_line(tmp_path: Path) -> None:
    record = only(Store(tmp_path), trial(fault="data"))
    assert (record.status, record.error) == (
        "failed",
        "the folder 'toys' is missing; give it with --data toys=PATH",
    )


def test_a_worker_that_dies_costs_only_its_trial(tmp_path: Path, log: Path) -> None:
    store = Store(tmp_path / "s")
    events: list[Event] = []
    trials = [trial(fault="exit"), *(trial(seed=seed) for seed in range(4)), trial(seed=9, fault="exit-once")]
    report = run_local(trials, store, workers=2, on_event=events.append)
    assert len(report.done) == 5
    (bad,) = report.failed
    assert bad.attempts == 3
    assert bad.error is not None
    assert "exit code 3" in bad.error
    assert store.get(trials[-1].key).attempts == 2  # type: ignore[union-attr]
    assert Counter(event.kind for event in events)["retried"] == 3


def test_a_trial_out_of_time_is_ended_and_run_again(tmp_path: Path, log: Path) -> None:
    store, slow = Store(tmp_path / "s"), trial(sleep_s=30.0, timeout_s=0.2)
    began = time.monotonic()
    record = only(store, slow)
    assert time.monotonic() - began < 15.0
    assert record.status == "timeout"
    assert 0.2 <= record.seconds < 5.0
    run_local([slow], store, timeout_s=0.1)
    assert [word for word, _, _ in log_lines(log)] == ["start", "start"]


def test_stale_records_are_run_again_and_carried_ones_are_not(tmp_path: Path) -> None:
    store, one = Store(tmp_path), trial()
    record = only(store, one)
    store.put(record.with_(provenance={**record.provenance, "code": "older", "carried": []}))
    assert len(run_local([one], store).done) == 1
    assert [old.provenance["code"] for old in store.history(one.key)] == [one.code, "older"]
    store.put(record.with_(provenance={**record.provenance, "code": "newer", "carried": [one.code]}))
    assert len(run_local([one], store).skipped) == 1


def test_a_damaged_record_is_run_again(tmp_path: Path) -> None:
    store, one = Store(tmp_path), trial()
    good = only(store, one)
    store.path(one.key).write_bytes(store.path(one.key).read_bytes()[:-30])
    assert only(store, one).metrics == good.metrics


def test_trials_that_measure_time_run_alone_and_last(tmp_path: Path, log: Path) -> None:
    timed = [trial("baseline", seed, sleep_s=0.05, exclusive=True) for seed in range(2)]
    run_local([*timed, *(trial("method", seed, sleep_s=0.05) for seed in range(4))], Store(tmp_path / "s"), workers=3)
    words = [(word, arm) for word, arm, _ in log_lines(log)]
    assert words[-4:] == [("start", "baseline"), ("end", "baseline")] * 2
    assert len(words) == 12


def test_budget_starts_nothing_that_would_pass_it(tmp_path: Path, log: Path) -> None:
    trials = [trial(seed=seed, sleep_s=0.3, seconds=0.3) for seed in range(30)]
    report = run_local(trials, Store(tmp_path / "s"), workers=1, budget_s=1.5)
    assert 1 <= len(report.done) <= 5
    assert len(report.done) + len(report.pending) == 30
    assert report.seconds < 1.5 + 5.0
    assert len(run_local([trial(seed=99, seconds=100.0)], Store(tmp_path / "s"), budget_s=50.0).pending) == 1


def test_substrates_run_first_and_are_passed_on(tmp_path: Path) -> None:
    store, base = Store(tmp_path), trial("baseline", 1)
    tuned = trial("tuned", 1, substrates={"start": base.key})
    report = run_local([tuned, base], store, workers=2)
    assert len(report.done) == 2
    before, after = store.get(base.key), store.get(tuned.key)
    assert before is not None
    assert after is not None
    assert before.checkpoint is not None
    assert after.provenance["substrates"] == {"start": before.checkpoint}
    assert after.metrics["score"] > trial_score("method", 1)
    assert len(run_local([tuned, base], store).skipped) == 2
    store.checkpoint(before.checkpoint).unlink()
    assert len(run_local([tuned, base], store).skipped) == 2, "nothing needs the checkpoint"
    more = trial("tuned", 1, level=0.3, substrates={"start": base.key})
    assert len(run_local([tuned, base, more], store).done) == 2, "the checkpoint is made again for who needs it"


def test_a_trial_whose_substrate_changed_is_stale(tmp_path: Path) -> None:
    store, base = Store(tmp_path), trial("baseline", 1)
    tuned = trial("tuned", 1, substrates={"start": base.key})
    run_local([base, tuned], store)
    record = store.get(tuned.key)
    assert record is not None
    store.put(record.with_(provenance={**record.provenance, "substrates": {"start": "f" * 64}}))
    report = run_local([base, tuned], store)
    assert [done.key for done in report.done] == [tuned.key]


def test_a_missing_substrate_is_a_failure_that_names_it(tmp_path: Path) -> None:
    record = only(Store(tmp_path), trial("tuned", 1, substrates={"start": trial("baseline", 1).key}))
    assert record.status == "failed"
    assert record.error is not None
    assert "substrate 'start'" in record.error
    broken = trial("baseline", 2, fault="diverge")
    report = run_local([broken, trial("tuned", 2, substrates={"start": broken.key})], Store(tmp_path))
    assert "left no checkpoint" in str(report.failed[0].error)


def trial_score(arm: str, seed: int) -> float:
    return runner.run(trial(arm, seed)).metrics["score"]


def test_the_same_record_in_this_process_and_in_a_worker(tmp_path: Path) -> None:
    here, there = runner.run(trial(seed=5)), only(Store(tmp_path), trial(seed=5))
    assert here.metrics == there.metrics
    assert here.curves == there.curves
    assert runner.run(trial(seed=6)).metrics != here.metrics


def test_code_that_changes_under_a_running_command_is_noticed(tmp_path: Path) -> None:
    record = only(Store(tmp_path), trial(code="0" * 64))
    assert record.status == "failed"
    assert "the code changed" in str(record.error)


def test_two_folders_with_one_slug_are_two_papers(tmp_path: Path) -> None:
    other = tmp_path / "elsewhere" / "toy"
    shutil.copytree(PAPER, other)
    text = (other / "model.py").read_text()
    (other / "model.py").write_text(text.replace("own_noise: float = 0.005", "own_noise: float = 0.5"))
    report = run_local([trial(seed=3), trial(seed=4, folder=other)], Store(tmp_path / "s"), workers=1)
    scores = {record.spec.seed: record.metrics["score"] for record in report.done}
    assert scores[3] == runner.run(trial(seed=3)).metrics["score"]
    assert scores[4] != runner.run(trial(seed=4)).metrics["score"]


def test_trial_round_trip() -> None:
    one = trial("tuned", 3, substrates={"start": "k"}, profile="small", data_paths={"toys": "/toys"})
    assert Trial.from_json(one.to_json()) == one
    assert Trial.from_json(one.to_json()).key == one.key
    assert one.profile.gate is not None


def test_engines_by_name() -> None:
    assert engines.get("local") is run_local
    with pytest.raises(UserError, match="Ray engine"):
        engines.get("ray")
    with pytest.raises(UserError, match="did you mean 'local'"):
        engines.get("locl")


# -- torch: the same record in a fresh worker and in a used one --------------------------------------------------

TORCH_PAPER = '''
"""A paper that uses torch, imported late, and an arm that misbehaves in every way a trial may."""
import os, random
from replicate.tasks.base import Outcome, Run, arm


@arm()
def polite():
    return "polite"


@arm()
def rude():
    return "rude"


def run_trial(run: Run) -> Outcome:
    import numpy as np
    import torch
    import torch.nn as nn

    if run.arm.build() == "rude":
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        torch.set_num_threads(2)
        torch.manual_seed(12345)
        torch.set_float32_matmul_precision("medium")
        torch.autograd.set_detect_anomaly(True)
        random.seed(1), np.random.seed(1)
        os.environ["RUDE"] = "1"
        os.chdir("/")
        return Outcome(metrics={"loss": 0.0, "threads": 2.0})
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 5))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    losses = []
    for _ in range(5):
        x = torch.randn(16, 3, 8, 8) + float(np.random.randn()) + random.random()
        loss = nn.functional.cross_entropy(model(x), torch.randint(5, (16,)))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert "RUDE" not in os.environ and os.getcwd() != "/"
    return Outcome(
        metrics={"loss": losses[-1], "threads": float(torch.get_num_threads())},
        curves={"step": list(range(5)), "loss": losses},
    )
'''
TORCH_PROFILES = """
from replicate.tasks.base import Metric, Profile
METRICS = {"loss": Metric("nats", False, 99.0), "threads": Metric("count")}
PROFILES = {"p": Profile("p", 1, None, {}, "loss")}
"""


def test_a_used_worker_gives_the_record_of_a_fresh_one(tmp_path: Path) -> None:
    folder = tmp_path / "torchy"
    folder.mkdir()
    (folder / "experiment.py").write_text(TORCH_PAPER)
    (folder / "profiles.py").write_text(TORCH_PROFILES)

    def make(arm: str, seed: int, threads: int = 1) -> Trial:
        module = "replicate_outside.torchy.experiment"
        profile = Profile("p", 1, None, {}, "loss")
        spec = Spec(f"{module}:{arm}", 1, {}, "own", "p", 1, {}, None, "smoke", seed, threads=threads)
        code = provenance.trial_code(module, module, folder)
        return Trial(spec, "torchy", arm, module, module, profile, folder=str(folder), code=code)

    fresh = only(Store(tmp_path / "fresh"), make("polite", 7))
    used = Store(tmp_path / "used")
    crowd = [make("polite", 1), make("rude", 1), make("polite", 7), make("rude", 2), make("polite", 8)]
    assert len(run_local([*crowd, make("polite", 7, threads=2)], used, workers=1).done) == 6
    again = used.get(make("polite", 7).key)
    assert again is not None
    assert fresh.status == "ok", fresh.error
    assert (again.metrics, again.curves) == (fresh.metrics, fresh.curves)
    assert used.get(make("polite", 8).key).metrics != fresh.metrics  # type: ignore[union-attr]
    two = used.get(make("polite", 7, threads=2).key)
    assert two is not None
    assert (fresh.metrics["threads"], two.metrics["threads"]) == (1.0, 2.0)


def test_outside_modules_need_their_folder() -> None:
    with pytest.raises(ImportError, match="its folder is not known"):
        modules.load("replicate_outside.nowhere.experiment")
    assert modules.source_of("replicate_outside.toy.model", PAPER) == PAPER / "model.py"
    assert modules.source_of("replicate.tasks.base") is not None
    assert modules.source_of("os.path") is None
