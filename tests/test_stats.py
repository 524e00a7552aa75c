"""Formulas of replicate.stats against independent computations."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as reference
from scipy.special import polygamma

from replicate import stats


def per_seed(values):
    return dict(enumerate(values))


def test_estimate_agrees_with_scipy():
    values = [1.2, 0.4, 2.0, -0.3, 1.1]
    e = stats.estimate(per_seed(values))
    test = reference.ttest_1samp(values, 0, alternative="greater")
    assert e.p == pytest.approx(test.pvalue)
    assert e.p_opposite == pytest.approx(1 - test.pvalue)
    for level, low, high in ((0.95, e.low, e.high), (0.90, e.low90, e.high90)):
        wanted = reference.ttest_1samp(values, 0).confidence_interval(level)
        assert (low, high) == pytest.approx((wanted.low, wanted.high))


def test_one_seed_has_no_interval_and_no_p():
    e = stats.estimate({3: 1.5})
    assert math.isnan(e.sd)
    assert (e.low, e.high, e.p) == (-math.inf, math.inf, None)


@pytest.mark.parametrize("n", [2, 3, 5, 6, 10])
def test_no_spread_is_a_sign_flip_and_not_certainty(n):
    e = stats.estimate(per_seed([0.1 * 3] * n))
    assert e.sd == 0
    assert e.p == 0.5**n
    assert e.p_opposite == 1
    # interval and p-value are one test: 0 is outside the 95 % interval exactly when two-sided p <= 0.05
    assert (e.low > 0) == (2 * e.p <= 0.05)
    assert (e.low90 > 0) == (2 * e.p <= 0.10)


def test_ties_at_zero_show_nothing():
    e = stats.estimate(per_seed([0.0] * 5))
    assert (e.p, e.p_opposite) == (1.0, 1.0)


def test_floating_point_noise_is_no_difference():
    better, worse = per_seed([0.1 + 0.2] * 6), per_seed([0.3] * 6)
    assert better != worse
    assert set(stats.paired_differences(better, worse).values()) == {0.0}


def test_differences_pair_by_seed_and_turn_with_the_sign():
    assert stats.paired_differences({1: 3.0, 2: 5.0}, {2: 1.0, 7: 0.0}, -1.0) == {2: -4.0}


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_corrections_keep_their_promises(p):
    h, b = stats.holm(p), stats.benjamini_hochberg(p)
    assert all(raw <= y + 1e-12 and y <= x + 1e-12 for raw, x, y in zip(p, h, b, strict=True))
    assert b == pytest.approx(list(reference.false_discovery_control(p)))
    f = stats.fixed_sequence(p)
    assert all(f[i] == max(p[: i + 1]) for i in range(len(p)))


def test_holm_by_hand():
    assert stats.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


def test_tost_is_the_ninety_percent_interval():
    e = stats.estimate(per_seed([0.2, -0.1, 0.15, 0.05, -0.2]))
    edge = max(abs(e.low90), abs(e.high90))
    assert stats.equivalence_p(e, edge) == pytest.approx(0.05)
    assert stats.equivalence_p(e, edge * 1.01) < 0.05
    far = stats.estimate(per_seed([2.0, 2.5, 1.9, 2.2]))
    assert stats.outside_p(far, far.low) == pytest.approx(0.05)


def test_power_is_that_of_a_simulated_t_test():
    effect = stats.smallest_effect(5, 2.0)
    assert stats.power_of(effect, 2.0, 5) == pytest.approx(0.8, abs=1e-4)
    x = np.random.default_rng(1).normal(effect, 2.0, (20000, 5))
    t = x.mean(1) / (x.std(1, ddof=1) / math.sqrt(5))
    assert np.mean(t > stats.t_quantile(0.95, 4)) == pytest.approx(0.8, abs=0.012)


@settings(max_examples=40)
@given(st.floats(0.05, 5))
def test_seeds_needed_is_the_first_n_that_suffices(effect):
    n = stats.seeds_needed(effect, 1.0)
    assert stats.power_of(effect, 1.0, n) >= 0.799
    if 2 < n < 200:
        assert stats.power_of(effect, 1.0, n - 1) < 0.8001


def test_no_plan_for_a_wrong_sign_or_no_spread():
    assert stats.seeds_needed(-1.0, 1.0) is None
    assert stats.seeds_needed(1.0, 0.0) is None
    assert stats.seeds_needed(1e-6, 1.0) is None
    assert stats.smallest_effect(5, math.nan) is None
    assert stats.equivalence_seeds(2.0, 1.0, 1.0) is None


def test_equivalence_seeds_hold_their_margin():
    n = stats.equivalence_seeds(0.0, 1.0, 1.0)
    assert stats.smallest_margin(n, 1.0) <= 1.0 < stats.smallest_margin(n - 1, 1.0)


def test_best_of_k_is_the_expected_maximum():
    assert stats.best_of(1) == 0
    assert stats.best_of(2) == pytest.approx(1 / math.sqrt(math.pi))
    assert stats.best_of(3) == pytest.approx(1.5 / math.sqrt(math.pi))
    assert stats.best_of(5) == pytest.approx(1.16296, abs=1e-4)
    draws = np.random.default_rng(0).normal(size=(40000, 20)).max(1)
    assert stats.best_of(20) == pytest.approx(draws.mean(), abs=0.01)


def test_against_absolute_formula():
    values = [70.1, 70.9, 69.8, 70.4]
    d, sd = stats.against_absolute(values, 71.0, m=2, rounding=0.1)
    s = np.std(values, ddof=1)
    assert sd == pytest.approx(s)
    assert d.mean == pytest.approx(np.mean(values) - 71.0)
    assert d.se == pytest.approx(math.sqrt(s**2 / 4 + s**2 / 2 + 0.01 / 12))
    assert d.df == 3


def test_against_gain_formula_and_freedom():
    rng = np.random.default_rng(2)
    shared = rng.normal(size=8)
    a, b = shared + 0.3 * rng.normal(size=8), shared + 0.3 * rng.normal(size=8)
    d, arm = stats.against_gain(per_seed(a), per_seed(b), 0.5, m=3)
    expected = np.var(a - b, ddof=1) / 8 + 2 * arm**2 / 3
    assert arm**2 == pytest.approx((np.var(a, ddof=1) + np.var(b, ddof=1)) / 2)
    assert d.se == pytest.approx(math.sqrt(expected))
    assert d.mean == pytest.approx(np.mean(a - b) - 0.5)
    assert 7 <= d.df <= 14
    same, _ = stats.against_gain(per_seed(a), per_seed(a + 1e-3 * b), 0.5)
    assert same.df == pytest.approx(7, abs=0.1)  # the two arms hold one variance, not two


def test_no_spread_gives_no_comparison_unless_rounding_does():
    assert stats.against_absolute([3.0, 3.0, 3.0], 3.0) is None
    assert stats.against_absolute([3.0], 3.0) is None
    assert stats.against_absolute([3.0, 3.0], 3.0, rounding=0.1) is not None
    assert stats.against_gain({0: 1.0}, {0: 0.5}, 0.5) is None


def test_single_run_claims_are_undecidable_below_three_sd():
    assert pytest.approx(2.93, abs=0.01) == stats.UNDECIDABLE
    assert stats.is_undecidable(2.8, 1.0)
    assert not stats.is_undecidable(3.0, 1.0)
    assert not stats.is_undecidable(2.8, 1.0, m=5)
    assert stats.is_undecidable(4.0, 1.0, gain=True)


def test_prior_needs_ten_groups():
    assert stats.fit_prior([1.0] * 9, [4] * 9) is None
    assert stats.shrink(2.0, 4, None) == (2.0, 4)


def test_prior_finds_the_spread_it_was_drawn_from():
    rng = np.random.default_rng(3)
    d0, s0 = 10.0, 4.0
    true = d0 * s0 / rng.chisquare(d0, 4000)
    sample = true * rng.chisquare(4, 4000) / 4
    prior = stats.fit_prior(list(sample), [4.0] * 4000)
    assert prior.df == pytest.approx(d0, rel=0.25)
    assert prior.variance == pytest.approx(s0, rel=0.08)


def test_prior_is_never_heavier_than_its_groups():
    prior = stats.fit_prior([1.0] * 12, [4.0] * 12)
    assert prior.df == pytest.approx(48)
    assert polygamma(1, prior.df / 2) > 0
    variance, df = stats.shrink(4.0, 4, prior)
    assert df == pytest.approx(52)
    assert prior.variance < variance < 4.0


def test_shrinkage_enters_both_comparisons():
    prior = stats.Prior(20.0, 0.25, 12)
    d, sd = stats.against_absolute([1.0, 3.0, 5.0], 3.0, prior=prior)
    assert d.df == 22
    assert sd < 2.0
    g, arm = stats.against_gain(per_seed([1.0, 3.0, 5.5]), per_seed([0.5, 2.0, 5.0]), 0.5, prior=prior)
    plain, arm0 = stats.against_gain(per_seed([1.0, 3.0, 5.5]), per_seed([0.5, 2.0, 5.0]), 0.5)
    assert arm < arm0
    assert g.se < plain.se
    assert g.df > plain.df


def test_stage_alphas_spend_the_whole_level_once():
    looks = (5, 10, 20)
    levels = stats.stage_alphas(looks)
    assert stats.stage_alphas((7,)) == (0.05,)
    assert sum(levels) > 0.05 > max(levels)  # correlated looks share, none has it all
    rng = np.random.default_rng(4)
    steps = rng.normal(size=(400_000, 3)) * np.sqrt([5, 5, 10])
    z = steps.cumsum(1) / np.sqrt(looks)
    crossed = (z > -reference.norm.ppf(levels)).any(1).mean()
    assert crossed == pytest.approx(0.05, abs=0.0015)
    with pytest.raises(ValueError, match="growing"):
        stats.stage_alphas((10, 5))


@pytest.mark.parametrize(("hits", "trials"), [(0, 10), (10, 10), (3, 40)])
def test_clopper_pearson_agrees_with_scipy(hits, trials):
    wanted = reference.binomtest(hits, trials).proportion_ci(0.95, method="exact")
    assert stats.clopper_pearson(hits, trials) == pytest.approx((wanted.low, wanted.high))


def test_no_trials_say_nothing():
    assert stats.clopper_pearson(0, 0) == (0.0, 1.0)


def test_cluster_interval_widens_with_shared_baselines():
    values = [1.0, 1.0, 0.0, 0.0, 1.0, 1.0]
    alone = stats.cluster_interval(values, range(6))
    shared = stats.cluster_interval(values, "aabbcc")
    assert alone[0] == shared[0] == pytest.approx(4 / 6)
    assert shared[2] - shared[1] > alone[2] - alone[1]
    wanted = reference.ttest_1samp(values, 0).confidence_interval(0.95)
    assert alone[1:] == pytest.approx((wanted.low, wanted.high))
    assert stats.cluster_interval([1.0, 0.0], "aa")[1:] == (-math.inf, math.inf)


def test_item_bootstrap_sees_items_and_clusters():
    rng = np.random.default_rng(5)
    base = rng.normal(size=200)
    patient = np.repeat(np.arange(20), 10)
    lift = 0.5 + rng.normal(size=20)[patient]
    better, worse = dict.fromkeys(range(3), base + lift), dict.fromkeys(range(3), base)
    low, high = stats.item_bootstrap(better, worse)
    assert low < np.mean(lift) < high
    assert high - low == pytest.approx(2 * 1.96 * np.std(lift) / math.sqrt(200), rel=0.15)
    wide = stats.item_bootstrap(better, worse, list(patient))
    assert wide[1] - wide[0] > 2 * (high - low)
    assert stats.item_bootstrap({0: [1.0]}, {0: [0.0]}) == (-math.inf, math.inf)
