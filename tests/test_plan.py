"""Planning: builders read from source, keys, substrates, seeds, what may be set, study files, outlook."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from replicate import builders, catalog, outlook, plan, register
from replicate.errors import UserError
from replicate.judgement import Word
from replicate.records import Record
from replicate.store import Store
from replicate.study import Study

TOY = Path(__file__).parent / "toy" / "papers" / "toy"


@pytest.fixture
def toy() -> catalog.Paper:
    return catalog.find(TOY)


def edited(tmp_path: Path, file: str, old: str, new: str) -> catalog.Paper:
    """A copy of the toy paper with one edit."""
    folder = tmp_path / "toy"
    if not folder.exists():
        shutil.copytree(TOY, folder, ignore=shutil.ignore_patterns("__pycache__"))
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new, 1))
    return catalog.find(folder)


# -- builders ------------------------------------------------------------------------------------------------------


def built(tmp_path: Path, source: str, name: str = "made") -> builders.Builder:
    folder = tmp_path / "p"
    folder.mkdir(exist_ok=True)
    (folder / "experiment.py").write_text(
        "from replicate.tasks.base import arm\nimport torch_that_is_not_there\n" + source
    )
    return builders.find(catalog.Paper("p", folder, False), name)


def test_builders_are_read_without_importing_them(tmp_path: Path) -> None:
    found = built(
        tmp_path,
        'Norm = Literal["none", "ibn"]\n@arm(version=3)\n'
        "def made(*, depth: int = 4, lr: float = 1e-2, norm: Norm = 'ibn', levels: tuple[int, ...] = (1, 2),"
        " cap: float | None = None, free=None):\n    '''Says what.'''\n",
    )
    assert (found.version, found.says, found.name) == (3, "Says what.", "replicate_outside.p.experiment:made")
    assert {n: o.default for n, o in found.options.items()} == {
        "depth": 4, "lr": 0.01, "norm": "ibn", "levels": [1, 2], "cap": None, "free": None,
    }  # fmt: skip
    assert builders.resolve(found, {"lr": 1, "levels": (3,), "cap": 2}, "x") == {
        "depth": 4, "lr": 1.0, "norm": "ibn", "levels": [3], "cap": 2.0, "free": None,
    }  # fmt: skip
    assert isinstance(builders.resolve(found, {"lr": 1}, "x")["lr"], float)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"dept": 3}, "unknown option of made 'dept'; did you mean 'depth'"),
        ({"depth": 3.5}, "option 'depth' takes int, got 3.5"),
        ({"depth": True}, "option 'depth' takes int, got True"),
        ({"depth": "3"}, "option 'depth' takes int, got '3'"),
        ({"norm": "ibm"}, r"takes one of none, ibn, got 'ibm' \(did you mean 'ibn'\?\)"),
        ({"flag": 1}, "option 'flag' takes bool, got 1"),
        ({"depth": None}, "option 'depth' takes int, got None"),
    ],
)
def test_options_that_do_not_fit(tmp_path: Path, given: dict[str, object], says: str) -> None:
    found = built(
        tmp_path, '@arm()\ndef made(*, depth: int = 4, norm: Literal["none", "ibn"] = "ibn", flag=False): ...\n'
    )
    with pytest.raises(UserError, match=says):
        builders.resolve(found, given, "x")


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("def made(*, a: int = 1): ...\n", r"experiment\.py:3: arm builder 'made' is not marked @arm"),
        ("@arm()\ndef made(a=1): ...\n", "options must be keyword-only"),
        ("@arm()\ndef made(*, a): ...\n", "option 'a' has no default"),
        ("X = 3\n@arm()\ndef made(*, a=X): ...\n", "default of option 'a' must be a literal"),
        ("@arm()\ndef mode(): ...\n", "unknown arm builder 'made'; did you mean 'mode'"),
        ("def made(:\n", r"experiment\.py:3: "),
    ],
)
def test_builders_that_cannot_be_read(tmp_path: Path, source: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        built(tmp_path, source)


def test_an_imported_builder_counts_where_it_is_defined(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "shared.py").write_text(
        "from replicate.tasks.base import arm\n@arm()\ndef made(*, a: int = 1): ...\n"
    )
    assert built(tmp_path, "from .shared import made\n").name == "replicate_outside.p.shared:made"


@pytest.mark.parametrize(
    ("text", "value"),
    [("3", 3), ("1e-3", 1e-3), ("true", True), ("None", None), ("ibn", "ibn"), ("[1, 2]", [1, 2]), ("'3'", "3")],
)
def test_values_of_the_command_line(text: str, value: object) -> None:
    assert builders.parse(text) == value
    assert type(builders.parse(text)) is type(value)


# -- trials --------------------------------------------------------------------------------------------------------


def test_trials_come_seed_by_seed_with_substrates_first(toy: catalog.Paper) -> None:
    made = plan.make(toy, "long")
    assert len(made.trials) == 40
    assert [t.spec.seed for t in made.trials] == sorted(t.spec.seed for t in made.trials)
    first = {t.arm: i for i, t in enumerate(made.trials[:4])}
    assert first["baseline"] < first["tuned"]
    tuned = made.trials[first["tuned"]]
    assert tuned.spec.substrates == {"start": made.trials[first["baseline"]].key}
    assert len({t.key for t in made.trials}) == 40
    assert made.confirmatory
    assert not made.partial


def test_an_arm_brings_the_arms_it_needs(toy: catalog.Paper) -> None:
    assert plan.make(toy, "long", arms=["tuned"], seeds=1).arms == ("baseline", "tuned")


def test_arms_that_need_each_other_are_refused(tmp_path: Path) -> None:
    paper = edited(
        tmp_path, "paper.yaml", "    says: the score without the mechanism", "    says: x\n    needs: {s: tuned}"
    )
    with pytest.raises(UserError, match="need each other in a circle: baseline -> tuned -> baseline"):
        plan.make(paper, "long")


def test_keys_change_with_what_decides_the_result_and_only_then(toy: catalog.Paper, tmp_path: Path) -> None:
    def key(paper: catalog.Paper, **options: object) -> str:
        return plan.make(paper, "quick", arms=["method"], seeds=1, **options).trials[0].key  # type: ignore[arg-type]

    base = key(toy)
    assert key(toy, workers=7) == base
    assert key(toy, sets=["method.level=0.1"]) == base
    assert key(toy, threads=2) != base
    assert key(toy, sets=["method.level=0.2"]) != base
    assert key(toy, first_seed=1) != base
    copy = edited(tmp_path, "paper.yaml", "title: A toy", "title: Another toy")
    assert key(copy) == base  # neither the folder nor the wording is in the key
    assert key(edited(tmp_path, "experiment.py", "@arm()\ndef method", "@arm(version=2)\ndef method")) != base
    assert key(edited(tmp_path, "profiles.py", '"steps": 5', '"steps": 6')) != base


def test_several_plans_share_equal_trials(toy: catalog.Paper) -> None:
    few, all_ = plan.make(toy, "quick", arms=["baseline"]), plan.make(toy, "quick")
    assert {t.key for t in plan.share([few, all_])} == {t.key for t in all_.trials}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"arms": ["methud"]}, "unknown arm of toy 'methud'; did you mean 'method'"),
        ({"sets": ["method.levl=1.0"]}, "unknown option of method 'levl'; did you mean 'level'"),
        ({"sets": ["method.level=high"]}, "option 'level' takes float, got 'high'"),
        ({"sets": ["level=3"]}, "expected arm.option=value"),
        ({"sets": ["mthod.level=3"]}, "unknown arm of toy 'mthod'"),
        ({"sets": ["tuned.level=3.0"]}, "arm 'tuned' is not part of this run"),
        ({"seeds": 0}, "--seeds must be at least 1"),
        ({"device": "gpu"}, "unknown device 'gpu'"),
    ],
)
def test_requests_that_cannot_be_met(toy: catalog.Paper, options: dict[str, object], says: str) -> None:
    with pytest.raises(UserError, match=says):
        plan.make(toy, "quick", **options)  # type: ignore[arg-type]


def test_scales_and_profiles_that_are_not_there(toy: catalog.Paper, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="paper 'toy' has no scale 'full'; it has smoke, quick, long"):
        plan.make(toy, "full")
    with pytest.raises(UserError, match="unknown scale 'quik'; did you mean 'quick'"):
        plan.make(toy, "quik")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="'smal'; did you mean 'small'"):
        plan.make(edited(tmp_path, "paper.yaml", "quick: {profile: small", "quick: {profile: smal"), "quick")


def test_a_part_of_the_study_is_no_other_study(toy: catalog.Paper) -> None:
    whole = plan.make(toy, "quick")
    part = plan.make(toy, "quick", arms=["method"], seeds=2)
    assert part.partial == ("without baseline, placebo", "2 of 5 seeds")
    assert part.confirmatory
    assert part.study == whole.study


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"sets": ["method.level=0.2"]}, "method with level=0.2"),
        ({"arms": ["method", "tuned"]}, "tuned: not planned at this scale"),
        ({"first_seed": 100}, "seed block starts at 100"),
        ({"seeds": 9}, "9 seeds where 5 are planned"),
        ({"threads": 2}, "2 threads instead of 1"),
    ],
)
def test_what_makes_a_run_exploratory(toy: catalog.Paper, options: dict[str, object], why: str) -> None:
    made = plan.make(toy, "quick", **options)  # type: ignore[arg-type]
    assert why in made.exploratory
    assert any(note.startswith("exploratory: ") and why in note for note in made.study.notes)


def test_planning_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom replicate import catalog, plan\n"
        f"plan.make(catalog.find({str(TOY)!r}), 'quick')\n"
        "print([m for m in ('torch', 'ray', 'pandas', 'scipy', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


# -- study files ---------------------------------------------------------------------------------------------------


def finish(store: Store, study: Study, paper: catalog.Paper) -> None:
    """A record for the first trial of the study."""
    trial = plan.make(paper, "quick").trials[0]
    store.put(Record(trial.key, trial.spec, "ok", {"score": 0.5}, provenance={"code": trial.code}))


def test_a_claim_edited_before_any_record_is_simply_planned(tmp_path: Path, toy: catalog.Paper) -> None:
    store = Store(tmp_path / "r")
    register.write(store, plan.make(toy, "quick"))
    changed = plan.make(edited(tmp_path, "paper.yaml", "margin: 0.02", "margin: 0.03"), "quick")
    study = register.write(store, changed)
    assert study.claims == changed.study.claims
    assert store.study("toy", "quick") == study


def test_a_claim_edited_after_records_keeps_its_old_digest(tmp_path: Path, toy: catalog.Paper) -> None:
    store = Store(tmp_path / "r")
    first = register.write(store, plan.make(toy, "quick"))
    finish(store, first, toy)
    assert register.write(store, plan.make(toy, "quick")) == first  # the same command changes nothing
    changed = edited(tmp_path, "paper.yaml", "margin: 0.02", "margin: 0.03")
    study = register.write(store, plan.make(changed, "quick"))
    assert study.claims == first.claims
    assert "claim method_gain was edited after this study was written" in study.notes
    assert register.write(store, plan.make(changed, "quick")) == study


def test_unused_seeds_make_a_new_study(tmp_path: Path, toy: catalog.Paper) -> None:
    store = Store(tmp_path / "r")
    finish(store, register.write(store, plan.make(toy, "quick")), toy)
    edited(tmp_path, "paper.yaml", "margin: 0.02", "margin: 0.03")
    moved = plan.make(
        edited(tmp_path, "paper.yaml", "quick: {profile: small,", "quick: {first_seed: 20, profile: small,"),
        "quick",
    )
    study = register.write(store, moved)
    assert study.claims == moved.study.claims
    assert study.seeds == tuple(range(20, 25))
    assert len(list((store.root / "studies" / "earlier").iterdir())) == 1


def test_an_extension_must_have_been_planned(tmp_path: Path, toy: catalog.Paper) -> None:
    store = Store(tmp_path / "r")
    finish(store, register.write(store, plan.make(toy, "quick", looks=(5, 10, 20))), toy)
    longer = register.write(store, plan.make(toy, "quick", seeds=10, looks=(5, 10, 20)))
    assert (longer.planned_n, len(longer.seeds)) == (10, 10)
    other = Store(tmp_path / "other")
    finish(other, register.write(other, plan.make(toy, "quick")), toy)
    kept = register.write(other, plan.make(toy, "quick", seeds=10, looks=(5, 10, 20)))
    assert (kept.planned_n, kept.seeds, kept.looks) == (5, (0, 1, 2, 3, 4), ())
    assert any("keeps them" in note for note in kept.notes)


def test_exploratory_studies_leave_the_planned_one_alone(tmp_path: Path, toy: catalog.Paper) -> None:
    store = Store(tmp_path / "r")
    planned = register.write(store, plan.make(toy, "quick"))
    register.write(store, plan.make(toy, "quick", sets=["method.level=0.2"]))
    assert store.study("toy", "quick") == planned
    assert [s.notes for s in register.exploratory(store, "toy")] == [("exploratory: method with level=0.2",)]


# -- outlook -------------------------------------------------------------------------------------------------------


def records_of(made: plan.Plan, spread: float) -> list[Record]:
    """A record for each trial: the better arm's score alternates by ``spread``."""
    return [
        Record(
            t.key, t.spec, "ok", {"score": 0.5 + (spread * (-1) ** t.spec.seed if t.arm == "method" else 0.0)},
            seconds=9.0, cpu_seconds=4.0,
        )
        for t in made.trials
    ]  # fmt: skip


def test_the_outlook_says_what_each_claim_can_become(toy: catalog.Paper) -> None:
    reach = {r.claim: r for r in outlook.of(plan.make(toy, "quick"), []).reach}
    assert reach["parameters"].words == (Word.EXACT, Word.REFUTED)
    assert set(reach["method_wins"].words) == {
        Word.SUPPORTED, Word.SPECIFICITY_OPEN, Word.NOT_SPECIFIC, Word.OPPOSITE, Word.INCONCLUSIVE,
    }  # fmt: skip
    assert reach["tuning_helps"].words == (Word.NOT_TESTED,)
    assert "planned at long" in reach["tuning_helps"].says
    assert reach["liked_by_readers"].words == (Word.BLOCKED,)
    assert reach["method_score"].words == reach["method_gain"].words == (Word.NOT_TESTED,)
    few = {r.claim: r for r in outlook.of(plan.make(toy, "quick", seeds=2), []).reach}
    assert few["method_wins"].words == (Word.PENDING,)
    smoke = {r.claim: r for r in outlook.of(plan.make(toy, "smoke"), []).reach}
    assert smoke["method_wins"].words == (Word.NOT_TESTED,)


def test_the_outlook_learns_time_and_spread_from_records(toy: catalog.Paper) -> None:
    made = replace(plan.make(toy, "quick"), workers=2)
    records = records_of(made, 0.1)
    found = outlook.of(made, records, [records[0].key])
    assert (found.estimate.trials, found.estimate.done, found.estimate.measured) == (15, 1, 14)
    assert found.estimate.cpu_hours == pytest.approx(14 * 4.0 / 3600)
    assert found.estimate.wall_hours == pytest.approx(7 * 4.0 / 3600)
    wins = next(r for r in found.reach if r.claim == "method_wins")
    assert wins.sd == pytest.approx(0.1095, abs=1e-3)  # sd of +-0.1 over five seeds
    # Twice the spread, twice the smallest effect; more seeds, a smaller one.
    double = next(r for r in outlook.of(made, records_of(made, 0.2)).reach if r.claim == "method_wins")
    assert wins.smallest_effect is not None
    assert double.smallest_effect == pytest.approx(2 * wins.smallest_effect)
    assert wins.smallest_effect > wins.sd
