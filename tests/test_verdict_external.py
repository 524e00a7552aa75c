"""``replicate judge``: numbers from elsewhere, and one clear line for each way a file can be wrong."""

import json

import pytest

from replicate.calibrate import METRIC, Bench
from replicate.errors import UserError
from replicate.external import judge_external, read_metrics
from replicate.judgement import Word

ROWS = [(arm, seed, level + 0.1 * seed * sign) for arm, level, sign in (("method", 5.0, 1), ("base", 3.0, -1))
        for seed in range(5)]  # fmt: skip


@pytest.fixture
def bench():
    return Bench(5)


def write(tmp_path, text, name="numbers.csv"):
    path = tmp_path / name
    path.write_text(text)
    return path


def wide(rows=ROWS):
    return f"arm,seed,{METRIC}\n" + "".join(f"{a},{s},{v}\n" for a, s, v in rows)


def long(rows=ROWS):
    return "arm, seed, metric, value\n" + "".join(f"{a}, {s}, {METRIC}, {v}\n" for a, s, v in rows)


def listed(rows=ROWS):
    return json.dumps([{"arm": a, "seed": s, METRIC: v} for a, s, v in rows])


@pytest.mark.parametrize(("make", "name"), [(wide, "a.csv"), (long, "b.csv"), (listed, "c.json")])
def test_every_format_gives_the_same_verdict(tmp_path, bench, make, name):
    path = write(tmp_path, make(), name)
    judged = judge_external(bench.manifest, path, metrics=bench.metrics)
    verdict = judged.verdict("claim")
    assert verdict.word == Word.SUPPORTED
    assert not verdict.reduced
    assert verdict.ours.mean == pytest.approx(2.4)
    assert verdict.command.endswith(f"--metrics {name} --scale full")
    assert any("known before this study" in note for note in judged.notes)


def test_a_reduced_scale_stays_reduced(tmp_path, bench):
    judged = judge_external(bench.manifest, write(tmp_path, wide()), metrics=bench.metrics, scale="gpu")
    assert judged.verdict("claim").reduced


def test_the_word_diverged_is_a_result(tmp_path, bench):
    rows = [(a, s, "diverged" if (a, s) == ("method", 2) else v) for a, s, v in ROWS]
    judged = judge_external(bench.manifest, write(tmp_path, wide(rows)), metrics=bench.metrics)
    assert judged.contrasts[0].diverged == {"method": 1}
    assert judged.verdict("claim").word == Word.INCONCLUSIVE


def test_an_arm_that_was_not_measured_is_not_tested(tmp_path, bench):
    path = write(tmp_path, wide([r for r in ROWS if r[0] == "base"]))
    assert judge_external(bench.manifest, path, metrics=bench.metrics).verdict("claim").word == Word.NOT_TESTED


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("arm,seed,score\nmetod,0,1\n", r"row 2: unknown arm 'metod'; did you mean 'method'"),
        ("arm,seed,scor\nmethod,0,1\n", r"row 2: unknown metric 'scor'; did you mean 'score'"),
        ("arm,seed,score\nmethod,x,1\n", r"row 2: seed 'x' is not a whole number"),
        ("arm,seed,score\nmethod,0,1\nmethod,1,high\n", r"row 3: score = 'high' is not a number"),
        ("arm,seed,score\nmethod,0,nan\n", r"row 2: score = 'nan' is not finite"),
        ("arm,seed,score\nmethod,0,\n", r"row 2: metric 'score' is missing"),
        ("arm,seed,score\nmethod,0,1\nmethod,0,2\n", r"row 3: arm 'method', seed 0, metric 'score' appears twice"),
        ("arm,seed,score\nmethod,0,1\nbase,1,2\n", r"compared by seed, but seed 0 is in one of them only"),
        ("arm,seed,score\nmethod,0\n", r"row 2: expected 3 columns"),
        ("arm,score\nmethod,1\n", r"row 1: no column 'seed'"),
        ("arm,seed,score,score\nmethod,0,1,1\n", r"row 1: a column name appears twice"),
        ("arm,seed\nmethod,0\n", r"row 2: no metric"),
        ("arm,seed,score\n", r"no rows"),
    ],
)
def test_bad_csv_is_one_line_with_its_row(tmp_path, bench, text, says):
    with pytest.raises(UserError, match=says) as error:
        read_metrics(write(tmp_path, text), bench.manifest, bench.metrics)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[{]", "row 1: not JSON"),
        ("{}", "expected a list of objects"),
        ('[{"seed": 0, "score": 1}]', "item 1: no 'arm'"),
        ('[{"arm": "base", "seed": 0.5, "score": 1}]', "item 1: seed 0.5 is not a whole number"),
        ('[{"arm": "base", "seed": 0, "score": true}]', "item 1: score = 'True' is not a number"),
        ('[{"arm": "base", "seed": 0, "score": null}]', "item 1: metric 'score' is missing"),
    ],
)
def test_bad_json_is_one_line_with_its_item(tmp_path, bench, text, says):
    with pytest.raises(UserError, match=says):
        read_metrics(write(tmp_path, text, "numbers.json"), bench.manifest, bench.metrics)


def test_missing_metric_for_some_seeds(tmp_path, bench):
    from replicate.tasks.base import Metric

    text = "arm,seed,metric,value\nbase,0,score,1\nbase,0,other,1\nbase,1,score,1\n"
    with pytest.raises(UserError, match=r"arm 'base', seed 1: metric 'other' is missing"):
        read_metrics(write(tmp_path, text), bench.manifest, {**bench.metrics, "other": Metric("x")})


def test_missing_file_and_unknown_scale(tmp_path, bench):
    with pytest.raises(UserError, match="cannot read"):
        read_metrics(tmp_path / "none.csv", bench.manifest, bench.metrics)
    with pytest.raises(UserError, match="unknown scale 'ful'; did you mean 'full'"):
        judge_external(bench.manifest, write(tmp_path, wide()), metrics=bench.metrics, scale="ful")
