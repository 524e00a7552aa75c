"""rerun, refresh and merge."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from toy.trials import PAPER, trial

from replicate import upkeep
from replicate.engines.base import Trial
from replicate.engines.local import run_local
from replicate.errors import UserError
from replicate.records import Record
from replicate.reference import export_reference, read_reference
from replicate.store import Store


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    copy = tmp_path / "toy"
    shutil.copytree(PAPER, copy, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def plan(folder: Path, seeds: int = 3) -> list[Trial]:
    return [trial(arm, seed, folder=folder) for arm in ("baseline", "method") for seed in range(seeds)]


def edit(folder: Path, name: str, old: str, new: str) -> None:
    text = (folder / name).read_text()
    assert old in text
    (folder / name).write_text(text.replace(old, new))


def get(store: Store, key: str) -> Record:
    record = store.get(key)
    assert record is not None
    return record


def test_refresh_carries_records_over_an_edit_that_changes_nothing(tmp_path: Path, folder: Path) -> None:
    store, before = Store(tmp_path / "s"), plan(folder)
    run_local(before, store)
    assert upkeep.refresh(plan(folder), store) == []
    edit(folder, "model.py", "@dataclass(frozen=True)\n", "UNUSED = 1\n\n\n@dataclass(frozen=True)\n")
    after = plan(folder)
    assert after[0].code != before[0].code
    assert [one.key for one in after] == [one.key for one in before]
    done = upkeep.refresh(after, store)
    assert [len(arm.carried) for arm in done] == [3, 3]
    assert all(not arm.to_run for arm in done)
    assert {arm.canary for arm in done} == {trial(arm, 0, folder=folder).key for arm in ("baseline", "method")}
    record = get(store, after[1].key)
    assert record.provenance["code"] == after[0].code
    assert record.provenance["carried"] == [before[0].code]
    assert len(run_local(after, store).skipped) == 6
    edit(folder, "model.py", "UNUSED = 1\n\n\n", "")
    assert len(run_local(plan(folder), store).skipped) == 6, "going back to the older code finds its records"


def test_refresh_does_not_carry_what_changed(tmp_path: Path, folder: Path) -> None:
    """An edit that changes one arm only: the other arm's records are kept."""
    store = Store(tmp_path / "s")
    run_local(plan(folder), store)
    edit(folder, "experiment.py", "return Toy(level, 3,", "return Toy(level * 1.0000001, 3,")
    after = plan(folder)
    result = {arm.arm: arm for arm in upkeep.refresh(after, store)}
    assert len(result["baseline"].carried) == 3
    assert result["method"].carried == ()
    assert len(result["method"].to_run) == 3
    assert "differs" in result["method"].says
    report = run_local(after, store)
    assert (len(report.done), len(report.skipped)) == (3, 3)
    assert all(len(store.history(key)) == 1 for key in result["method"].to_run)


def test_rerun_from_the_record_alone(tmp_path: Path) -> None:
    store, one = Store(tmp_path), trial("method", 2)
    run_local([one], store)
    record = get(store, one.key)
    rebuilt = upkeep.trial_of(record)
    assert rebuilt.key == one.key
    assert (rebuilt.module, rebuilt.folder, rebuilt.code) == (one.module, one.folder, one.code)
    comparison = upkeep.rerun(record, store)
    assert comparison.identical
    assert comparison.ok
    assert comparison.says.endswith("bit-equal")
    assert get(store, one.key) == record


def test_rerun_of_a_trial_that_starts_from_another(tmp_path: Path) -> None:
    store, base = Store(tmp_path), trial("baseline", 1)
    tuned = trial("tuned", 1, substrates={"start": base.key})
    run_local([base, tuned], store)
    assert upkeep.rerun(get(store, tuned.key), store).identical
    store.checkpoint(str(get(store, base.key).checkpoint)).unlink()
    with pytest.raises(UserError, match="not in the cache"):
        upkeep.rerun(get(store, tuned.key), store)


def test_rerun_notices_a_number_that_was_changed(tmp_path: Path) -> None:
    store, one = Store(tmp_path), trial("method", 2)
    run_local([one], store)
    record = get(store, one.key)
    close = record.with_(metrics={**record.metrics, "score": record.metrics["score"] * 1.001})
    comparison = upkeep.rerun(close, store)
    assert not comparison.identical
    assert comparison.within
    assert comparison.same_machine
    assert not comparison.ok, "on the same machine it has to be bit-equal"
    elsewhere = close.with_(provenance={**close.provenance, "machine": {"cpu": "another"}})
    assert upkeep.compare(elsewhere, record).ok
    far = elsewhere.with_(metrics={**record.metrics, "score": 0.1})
    assert not upkeep.compare(far, record).ok
    assert upkeep.compare(far, record).worst == "score"
    assert not upkeep.compare(elsewhere.with_(status="failed"), record).ok


def test_rerun_of_a_reference_record(tmp_path: Path) -> None:
    store, one = Store(tmp_path / "s"), trial("method", 2)
    run_local([one], store)
    export_reference(store.records(), tmp_path / "reference")
    (record,) = read_reference(tmp_path / "reference", "smoke", "toy")
    assert "folder" not in record.provenance["trial"]
    with pytest.raises(UserError, match="give the paper's folder"):
        upkeep.rerun(record, store)
    assert upkeep.rerun(record, store, folder=PAPER).identical


def test_merge_checks_its_folders(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    run_local([trial(seed=1)], Store(a))
    with pytest.raises(UserError, match="no such results folder"):
        upkeep.merge(a, b)
    run_local([trial(seed=1), trial(seed=2)], Store(b))
    with pytest.raises(UserError, match="twice"):
        upkeep.merge(a, a)
    assert upkeep.merge(a, b) == (1, 1)
    assert len(run_local([trial(seed=1), trial(seed=2)], Store(a)).skipped) == 2
