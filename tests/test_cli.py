"""The command line on the toy paper: what it prints, its exit codes, its errors; a few real processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import click
import pytest

import replicate
from replicate import catalog, cli
from replicate.cli import COMMANDS, suite
from replicate.errors import UserError
from replicate.store import Store

HERE = Path(__file__).parent
TOY = str(HERE / "toy" / "papers" / "toy")


class Ran(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test works in a folder of its own, so default results and reports land there."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str]):  # type: ignore[no-untyped-def]
    def run(*args: str) -> Ran:
        capfd.readouterr()
        code = cli.call(list(args))
        out, err = capfd.readouterr()
        return Ran(code, out, err)

    return run


def process(*args: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "replicate", *args],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **options,
    )  # type: ignore[call-overload]


def one_line(ran: Ran, *parts: str, code: int = 2) -> None:
    assert ran.code == code, ran
    assert ran.err.startswith("replicate: "), ran
    assert ran.err.count("\n") == 1, ran
    for part in parts:
        assert part in ran.err, ran


# -- help ----------------------------------------------------------------------------------------------------------


def all_commands() -> list[tuple[str, ...]]:
    context = click.Context(suite)
    found: list[tuple[str, ...]] = []
    for name in COMMANDS:
        command = suite.get_command(context, name)
        assert command is not None
        found.append((name,))
        if isinstance(command, click.Group):
            found += [(name, sub) for sub in command.commands]
    return found


@pytest.mark.parametrize("words", all_commands(), ids=" ".join)
def test_every_help_shows_an_example(call, words: tuple[str, ...]) -> None:  # type: ignore[no-untyped-def]
    ran = call(*words, "--help")
    assert ran.code == 0
    assert f"Example: {'eval' if words == ('completion',) else 'replicate ' + ' '.join(words)}" in ran.out


def test_the_group_lists_every_command_without_importing_it() -> None:
    code = (
        "import sys\nfrom replicate import cli\ncode = cli.call(['--help'])\n"
        "heavy = ['torch', 'ray', 'pandas', 'scipy', 'matplotlib', 'numpy', 'pydantic', 'yaml', 'rich', 'replicate.plan']\n"  # noqa: E501
        "print(code, [m for m in heavy if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr.strip() == "0 []"
    assert all(name in done.stdout for name in COMMANDS)


def test_list_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom replicate import cli\ncode = cli.call(['list'])\n"
        "heavy = ['torch', 'ray', 'pandas', 'scipy', 'matplotlib', 'numpy', 'pydantic', 'rich']\n"
        "print(code, [m for m in heavy if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr.strip() == "0 []"


def test_version_and_no_arguments(call) -> None:  # type: ignore[no-untyped-def]
    assert call("--version").out == f"replicate {replicate.__version__}\n"
    assert "Commands:" in call().out


# -- wrong requests ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "parts"),
    [
        (["lisst"], ["unknown command 'lisst'", "'list'"]),
        (["run", "--scal", "quick", TOY], ["unknown option --scal", "--scale"]),
        (["run", TOY, "--scale", "quik"], ["'quik'", "quick"]),
        (["run"], ["PAPER"]),
        (["run", "/nowhere/at/all"], ["no such folder"]),
        (["run", TOY, "--scale", "full"], ["has no scale 'full'"]),
        (["run", TOY, "--arms", "methud"], ["'methud'", "'method'"]),
        (["run", TOY, "--set", "method.levl=1.0"], ["'levl'", "'level'"]),
        (["run", TOY, "--set", "method.level"], ["expected arm.option=value"]),
        (["run", TOY, "--data", "coco"], ["expected NAME=PATH"]),
        (["run", TOY, "--data", "coco=/nowhere"], ["there is no /nowhere"]),
        (["run", TOY, "--budget", "soon"], ["not a time"]),
        (["run", TOY, "--looks", "10,5"], ["growing numbers"]),
        (["run", TOY, "--engine", "local", "--workers", "0"], ["workers"]),
        (["show", "no_such_paper_at_all"], ["unknown paper"]),
        (["data", "where", "scens"], ["unknown dataset 'scens'", "scenes"]),
        (["rerun", "ffff"], ["no record with a key that starts with 'ffff'"]),
        (["results", "merge", "a", "b"], ["no such results folder"]),
        (["results", "export", TOY], ["no study"]),
        (["judge", TOY, "--metrics", "none.csv"], ["none.csv"]),
        (["new", "My-Paper"], ["lower-case", "'my_paper'"]),
        (["calibrate", TOY, "--first-seed", "3"], ["verdicts may use seeds up to 19"]),
        (["list", "--family", "detecton"], ["unknown family"]),
    ],
)
def test_wrong_requests_give_one_line_and_code_2(call, args: list[str], parts: list[str]) -> None:  # type: ignore[no-untyped-def]
    one_line(call(*args), *parts)


def test_broken_yaml_names_file_and_line(call, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    shutil.copytree(TOY, tmp_path / "toy")
    path = tmp_path / "toy" / "paper.yaml"
    path.write_text(path.read_text().replace("kind: gain", "kind: gian"))
    number = path.read_text().splitlines().index("    kind: gian") + 1
    one_line(call("run", "./toy"), f"toy/paper.yaml:{number}: claims[2].kind", "did you mean 'gain'?")


def test_a_bug_is_one_line_and_debug_shows_where(call, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    def broken() -> list[catalog.Entry]:
        raise RuntimeError("boom")

    monkeypatch.setattr(catalog, "index", broken)
    one_line(call("list"), "RuntimeError: boom", "--debug")
    with pytest.raises(RuntimeError, match="boom"):
        cli.call(["list", "--debug"])


def test_results_that_cannot_be_written(call, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "file").write_text("")
    one_line(call("run", TOY, "-q", "--results", "file/results"), "results")


# -- plan and run --------------------------------------------------------------------------------------------------


def test_plan_runs_nothing(call, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    ran = call("plan", TOY, "--scale", "long")
    assert ran.code == 0
    assert "4 arms x 10 seeds = 40 trials, 0 done already" in ran.out
    assert "SUPPORTED" in ran.out
    value = json.loads(call("plan", TOY, "--json").out)[0]
    assert value["estimate"]["trials"] == len(value["trials"]) == 15
    assert not (tmp_path / "results").exists()


def test_run_judges_resumes_and_writes_a_page(call, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    first = call("run", TOY, "--workers", "1")
    assert first.code == 0, first
    assert "[15/15]" in first.err
    assert "EXACT" in first.out
    assert "SUPPORTED" in first.out
    assert "\x1b" not in first.out + first.err
    page = tmp_path / "reports" / "toy" / "index.html"
    assert "report: reports/toy/index.html" in first.out
    assert "SUPPORTED" in page.read_text()
    again = call("run", TOY, "--no-report")
    assert "/15]" not in again.err  # nothing was run again
    assert json.loads(call("plan", TOY, "--json").out)[0]["estimate"]["done"] == 15


def test_json_is_json_and_nothing_else(call, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    ran = call("run", TOY, "--json", "--workers", "1", "--seeds", "2")
    value = json.loads(ran.out)[0]
    assert ran.err == ""
    assert value["run"]["done"] == 6
    assert value["claims"]["method_wins"]["word"] == "PENDING"
    assert value["partial"] == ["2 of 5 seeds"]
    assert not (tmp_path / "reports").exists()


def test_a_part_then_the_rest_is_the_planned_study(call) -> None:  # type: ignore[no-untyped-def]
    part = call("run", TOY, "--arms", "baseline,method", "--no-report", "-q", "--workers", "1")
    assert "a part of the planned study" in part.out
    assert "PENDING" in part.out
    whole = call("run", TOY, "--no-report", "--workers", "1")
    assert "[15/15] toy placebo" in whole.err
    assert "SUPPORTED" in whole.out


def test_exploratory_runs_say_so(call) -> None:  # type: ignore[no-untyped-def]
    ran = call("run", TOY, "--set", "method.level=0.3", "--no-report", "--workers", "1")
    assert "exploratory, its verdicts do not count: method with level=0.3" in ran.out
    assert Store("results").study("toy", "quick") is None


def test_a_failed_trial_gives_code_1_and_is_tried_again(call) -> None:  # type: ignore[no-untyped-def]
    wrong = ["run", TOY, "--scale", "smoke", "--set", "method.fault=error", "--no-report", "--workers", "1"]
    ran = call(*wrong)
    assert ran.code == 1
    assert "told to fail" in ran.err
    assert "failed: " in ran.out
    assert json.loads(call(*wrong, "--json").out)[0]["run"]["failed"][0]["status"] == "failed"


def test_a_diverged_trial_is_a_result(call) -> None:  # type: ignore[no-untyped-def]
    ran = call("run", TOY, "--scale", "smoke", "--set", "method.fault=diverge", "--no-report", "--workers", "1")
    assert ran.code == 0
    assert "(diverged)" in ran.err


def test_a_budget_leaves_the_rest_for_later(call) -> None:  # type: ignore[no-untyped-def]
    ran = call("run", TOY, "--budget", "0.001s", "--no-report", "--workers", "1")
    assert ran.code == 0
    assert "trials not started; the same command goes on" in ran.out


def test_two_papers_share_equal_baselines(call, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    shutil.copytree(TOY, tmp_path / "elsewhere" / "toy", ignore=shutil.ignore_patterns("__pycache__"))
    value = json.loads(call("run", TOY, "elsewhere/toy", "--scale", "smoke", "--json", "--workers", "1").out)
    assert [study["run"]["done"] for study in value] == [3, 3]
    assert len(Store("results").keys()) == 3


# -- the other commands --------------------------------------------------------------------------------------------


def test_show_prints_claims_with_their_places(call) -> None:  # type: ignore[no-untyped-def]
    ran = call("show", TOY)
    assert "method_gain" in ran.out
    assert "paper, table 1" in ran.out
    assert "[blocked: people]" in ran.out
    assert json.loads(call("show", TOY, "--json").out)["slug"] == "toy"


def test_rerun_refresh_merge_export_judge(call, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    assert call("run", TOY, "--no-report", "-q", "--workers", "1").code == 0
    key = Store("results").keys()[0]
    again = call("rerun", key[:10])
    assert (again.code, again.out) == (0, f"ok    {key[:12]}: bit-equal\n")
    assert "nothing to refresh" in call("refresh", TOY).out
    assert call("results", "merge", "results", "results").code == 2
    (tmp_path / "other").mkdir()
    assert call("results", "merge", "other", "results").out.startswith("15 records taken over")
    exported = call("results", "export", TOY, "--to", "reference")
    assert exported.out.split() == ["reference/quick/toy.jsonl", "reference/quick/toy.study.json"]
    rows = ["arm,seed,score"] + [
        f"{arm},{s},{base + s / 1000}"
        for arm, base in (("method", 0.6), ("baseline", 0.5), ("placebo", 0.5))
        for s in range(5)
    ]
    (tmp_path / "measured.csv").write_text("\n".join(rows))
    judged = json.loads(call("judge", TOY, "--metrics", "measured.csv", "--scale", "quick", "--json").out)
    assert {v["claim"]: v["word"] for v in judged["verdicts"]}["parameters"] == "EXACT"
    assert "method_wins" in call("judge", TOY, "--metrics", "measured.csv", "--scale", "quick").out


def test_report_without_and_with_studies(call, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    before = call("report", TOY, "--out", "site")
    assert before.code == 0
    assert "PENDING" in before.out
    call("run", TOY, "--no-report", "-q", "--workers", "1")
    after = call("report", TOY, "--out", "site")
    assert "1 SUPPORTED" in after.out
    assert (tmp_path / "site" / "toy" / "index.html").is_file()


def test_calibrate_uses_seeds_of_its_own(call) -> None:  # type: ignore[no-untyped-def]
    ran = call("calibrate", TOY, "--json", "--workers", "1")
    value = json.loads(ran.out)
    assert value["comparisons"] == 2
    assert min(r.spec.seed for r in Store("results").records()) == 500


def test_data_commands(call) -> None:  # type: ignore[no-untyped-def]
    listed = json.loads(call("data", "list", "--json").out)
    assert {"scenes", "coco"} <= {entry["name"] for entry in listed}
    assert "scenes" in call("data", "list").out
    assert call("data", "where", "scenes").code == 0
    one_line(call("data", "where", "coco"), "coco")
    one_line(call("data", "prepare", "no_such_data"), "unknown dataset")


def test_doctor_reports_as_text_and_json(call) -> None:  # type: ignore[no-untyped-def]
    value = {finding["name"]: finding for finding in json.loads(call("doctor", "--json").out)}
    assert value["torch"]["state"] == "ok"
    assert {"python", "import name", "results", "cache", "gpu", "ray", "data scenes"} <= set(value)
    assert "torch threads" in call("doctor").out


def test_doctor_finds_a_folder_that_cannot_be_written(call, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "file").write_text("")
    ran = call("doctor", "--results", str(tmp_path / "file" / "x"))
    assert ran.code in (1, 2)
    assert "PROBLEM results" in ran.out or "results" in ran.err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str) -> None:
    done = process("completion", shell)
    assert "_REPLICATE_COMPLETE" in done.stdout
    assert done.returncode == 0, done.stderr


def test_completion_completes_commands_and_slugs() -> None:
    environment = {
        **os.environ,
        "_REPLICATE_COMPLETE": "bash_complete",
        "COMP_CWORD": "1",
        "COMP_WORDS": "replicate pl",
    }
    done = subprocess.run(
        [sys.executable, "-c", "import sys; sys.argv = ['replicate']; from replicate.cli import main; main()"],
        env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stdout.split() == ["plain,plan"]


def test_schema_is_printed_and_written(call, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    assert json.loads(call("schema").out)["title"] == "paper.yaml of replicate"
    call("schema", "--out", "deep/schema.json")
    assert (tmp_path / "deep" / "schema.json").read_text() == call("schema").out


# -- processes -----------------------------------------------------------------------------------------------------


def test_a_closed_pipe_is_quiet() -> None:
    command = f"{sys.executable} -m replicate show {TOY} | true"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""


def test_ctrl_c_is_one_line_and_the_same_command_goes_on(tmp_path: Path) -> None:
    words = ["run", TOY, "--no-report", "--workers", "1", "--set", "method.sleep_s=0.3", "--arms", "method"]
    running = subprocess.Popen(
        [sys.executable, "-m", "replicate", *words],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert running.stderr is not None
    said = ""
    while "[1/5]" not in said:
        line = running.stderr.readline()
        assert line, said
        said += line
    time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    _, rest = running.communicate(timeout=60)
    assert running.returncode == cli.INTERRUPTED
    assert rest.strip().splitlines()[-1] == "replicate: interrupted; the same command goes on from here"
    assert "Traceback" not in rest
    done = process(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(Store(tmp_path / "results").keys()) == 5


# -- Python --------------------------------------------------------------------------------------------------------


def test_the_python_interface() -> None:
    study = replicate.run(TOY, scale="quick", results="here", workers=1)
    assert {v.claim: v.word.value for v in study.verdicts()}["method_wins"] == "SUPPORTED"
    frame = study.frame()
    assert set(frame["arm"]) == {"baseline", "method", "placebo"}
    assert len(frame[(frame["name"] == "score") & (frame["arm"] == "method")]) == 5
    assert "SUPPORTED" in study.text()
    assert study.outcome is not None
    assert len(study.outcome.done) == 15
    changed = replicate.run(TOY, sets={"method.level": 0.2}, seeds=1, results="here", workers=1)
    assert changed.plan.exploratory
    with pytest.raises(UserError, match="unknown engine"):
        replicate.run(TOY, engine="rai")
