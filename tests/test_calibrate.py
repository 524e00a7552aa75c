"""A/A calibration and the planted and shuffled controls."""

import math

import numpy as np
import pytest

from replicate import calibrate as module
from replicate.calibrate import METRIC, Bench, calibrate, negative_control, positive_control, prior_of, values_of
from replicate.errors import UserError
from replicate.judgement import Word


def arm(n, seed=0, shift=0.0):
    return dict(enumerate(np.random.default_rng(seed).normal(10 + shift, 1, n).tolist()))


def test_blocks_are_disjoint_and_counted():
    result = calibrate(arm(105), block=5)
    assert result.comparisons == 10
    assert result.alarms == result.supported + result.opposite
    assert result.interval[0] <= result.rate <= result.interval[1]
    assert result.nominal == pytest.approx(0.10)
    assert result.passed
    assert 0.02 < result.random_rate < 0.25
    assert "10 independent A/A comparisons" in result.says


def test_a_single_comparison_says_how_little_it_says():
    result = calibrate(arm(10))
    assert result.comparisons == 1
    assert result.random_rate is None
    assert "gross fault" in result.says


def test_a_drift_over_seeds_fails_the_calibration():
    """Blocks that differ systematically (a machine that warms up, say) are what A/A is there to find."""
    drifting = {s: v + (3.0 if (s // 5) % 2 else 0.0) for s, v in arm(100).items()}
    result = calibrate(drifting)
    assert not result.passed
    assert "FAILED" in result.says


def test_noop_arm_with_its_own_stream():
    values = arm(50)
    good = calibrate(values, noop=arm(50, seed=1))
    assert good.noop_comparisons == 10
    assert good.passed
    bad = calibrate(values, noop=arm(50, seed=1, shift=3.0))
    assert bad.noop_alarms >= 8
    assert not bad.passed


def test_a_broken_test_is_caught(monkeypatch):
    """With a verdict that cries at every difference the calibration fails: it can fail."""
    monkeypatch.setattr(Bench, "word", lambda self, **arms: Word.SUPPORTED)
    assert not calibrate(arm(100)).passed


@pytest.mark.parametrize(("n", "block"), [(9, 5), (20, 1)])
def test_too_few_seeds_is_one_line(n, block):
    with pytest.raises(UserError, match="calibrate"):
        calibrate(arm(n), block)


def test_positive_control_finds_the_planted_effect_and_notices_when_it_is_lost(monkeypatch):
    values = arm(200)
    assert positive_control(values).passed
    monkeypatch.setattr(module, "smallest_effect", lambda *a: 1e-3)
    lost = positive_control(values)
    assert lost.passed is False
    assert lost.trials == 20
    with pytest.raises(UserError, match="too few"):
        positive_control(arm(9))
    monkeypatch.undo()
    assert positive_control(dict.fromkeys(range(10), 1.0)).passed is None


def test_negative_control():
    chance = {s: v - 10 for s, v in arm(10).items()}
    assert negative_control(chance, 0.0).passed is True
    assert negative_control(chance, -3.0).passed is False
    assert "leaks" in negative_control(chance, -3.0).says
    assert negative_control(chance, 0.0, tolerance=0.01).passed is None
    assert negative_control(chance, 0.0, tolerance=2.0).passed is True
    assert negative_control({0: 0.0}, 0.0).passed is None


def test_values_of_scores_diverged_runs():
    bench = Bench(3)
    records = list(bench.records(base=[1.0, math.nan, 3.0]).values())
    assert values_of(records, METRIC, -1.0) == {0: 1.0, 1: -1.0, 2: 3.0}
    with pytest.raises(UserError, match="no metric 'other'"):
        values_of(records, "other", 0.0)


def test_prior_needs_ten_groups():
    assert prior_of([arm(5, s) for s in range(9)]) is None
    prior = prior_of([arm(5, s) for s in range(40)])
    assert prior.groups == 40
    assert prior.variance == pytest.approx(1.0, rel=0.3)
