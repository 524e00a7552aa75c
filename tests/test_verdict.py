"""Every word of the verdict table, and the order of its rules."""

import json
from dataclasses import replace
from typing import Any

import pytest

from replicate.errors import UserError
from replicate.judgement import Word
from replicate.manifest import Manifest
from replicate.records import Record, Spec
from replicate.study import Study
from replicate.tasks.base import Checked, Gate, Metric
from replicate.verdict import claim_digest, contrast_digest, judge

N = 5
PAPER = {"where": "paper", "locator": "table 2"}
NOISE = (0.3, -0.2, 0.1, -0.3, 0.1)
ARMS = {
    "plain": ("baseline", 20.0),
    "pconv": ("method", 23.0),
    "far": ("placebo", 20.1),
    "lite": ("variant", 24.0),
    "broken": ("variant", 1.0),
}


def claim(name: str, kind: str = "ordering", **more: Any) -> dict[str, Any]:
    return {"id": name, "says": name, "kind": kind, "metric": "ap", "unit": "AP", "source": PAPER, **more}


def contrast(name: str, better: str, worse: str, **more: Any) -> dict[str, Any]:
    text = {"id": name, "better": better, "worse": worse, "metric": "ap", **more}
    return text if "placebo" in text else {"placebo_reason": "none fits", **text}


CONTRASTS = [
    contrast("gain", "pconv", "plain", placebo="far", primary=1),
    contrast("lite_gain", "lite", "pconv", primary=2),
    contrast("collapse", "plain", "broken"),
]


class Case:
    """A paper with records that tests bend."""

    def __init__(self, claims: list[dict[str, Any]], contrasts: list[dict[str, Any]] | None = None, **study: Any):
        self.scale = study.pop("scale", "long")
        n = study.pop("n", N)
        text = {
            "schema": 1, "slug": "toy", "version": 1, "title": "Toy", "year": 2020, "venue": "none",
            "family": "none", "licence": "Apache-2.0", "summary": "A toy.", "task": "own",
            "arms": {
                name: {"role": role, "builder": f"toy:{name}", "says": name} for name, (role, _) in ARMS.items()
            },
            "contrasts": CONTRASTS if contrasts is None else contrasts,
            "claims": claims,
            "scales": {self.scale: {"profile": "toy", "seeds": n}},
        }  # fmt: skip
        self.manifest = Manifest.model_validate(text)
        self.metrics = {"ap": Metric("AP"), "loss": Metric("nats", higher_is_better=False, worst=9.0)}
        self.gate: Gate | None = None
        self.protocol = "reduced"
        self.checks: dict[str, Checked] = {}
        self.records: dict[str, Record] = {}
        keys: dict[str, dict[str, str]] = {}
        for shift, (arm, (_, level)) in enumerate(ARMS.items()):
            for seed in range(n):
                spec = Spec(f"toy:{arm}", 1, {}, "own", "toy", 1, {}, None, self.scale, seed)
                noise = NOISE[(seed + shift) % 5] * (1 + seed / 100)
                metrics = {"ap": level + noise, "loss": 30 - level - noise}
                self.records[spec.key] = Record(spec.key, spec, "ok", metrics)
                keys.setdefault(arm, {})[str(seed)] = spec.key
        fixed = {
            "claims": {c.id: claim_digest(c) for c in self.manifest.claims},
            "contrasts": {c.id: contrast_digest(c) for c in self.manifest.contrasts},
        }
        self.study = Study("toy", self.scale, "toy", 1, 1, n, tuple(range(n)), keys=keys, **{**fixed, **study})

    def set(self, arm: str, values: list[float] | None = None, *, metric: str = "ap", **changes: Any) -> None:
        for i, key in enumerate(self.study.keys[arm].values()):
            record = self.records[key]
            metrics = record.metrics if values is None else {**record.metrics, metric: values[i]}
            self.records[key] = record.with_(metrics=metrics, **changes)

    def key(self, arm: str, seed: int) -> str:
        return self.study.keys[arm][str(seed)]

    def judge(self):
        return judge(
            self.manifest, self.study, self.records, metrics=self.metrics, gate=self.gate, protocol=self.protocol,
            checks=self.checks, command="replicate run toy",
        )  # fmt: skip

    def verdict(self, name: str = "c"):
        return self.judge().verdict(name)

    def word(self, name: str = "c") -> Word:
        return self.verdict(name).word


def gate(floor: float = 5.0) -> Gate:
    return Gate("ap", floor, 1.0, 10.0, "three times untrained")


def one(contrast_id: str = "gain", **more: Any) -> Case:
    return Case([claim("c", contrasts=[contrast_id])], **more)


# ---- the words ------------------------------------------------------------------------------------------------


def test_supported_says_so_with_numbers_and_keys():
    verdict = one().verdict()
    assert verdict.word == Word.SUPPORTED
    assert verdict.reduced
    assert verdict.says.startswith("pconv - plain = +3.0")
    assert "(n = 5)" in verdict.says
    assert "over its placebo (far): +2.9" in verdict.says
    assert len(verdict.keys) == 15
    assert verdict.command == "replicate run toy"
    assert verdict.ours.p <= verdict.ours.p_adjusted <= 0.05


def test_placebo_as_good_is_not_specific():
    case = one()
    case.set("far", [23.2, 22.9, 23.1, 22.8, 23.0])
    verdict = case.verdict()
    assert verdict.word == Word.NOT_SPECIFIC
    assert "more than half of the gain" in verdict.says


def test_noisy_placebo_leaves_specificity_open():
    case = one()
    case.set("far", [28.0, 16.0, 26.0, 15.0, 27.0])
    assert case.word() == Word.SPECIFICITY_OPEN


def test_placebo_that_was_not_run_leaves_specificity_open():
    case = one()
    keys = {arm: k for arm, k in case.study.keys.items() if arm != "far"}
    case.study = replace(case.study, keys=keys)
    verdict = case.verdict()
    assert verdict.word == Word.SPECIFICITY_OPEN
    assert "not run" in verdict.says


def test_placebo_below_the_gate_certifies_nothing():
    case = one()
    case.gate = gate()
    case.set("far", [1.0, 1.1, 0.9, 1.0, 1.05])
    judged = case.judge()
    assert judged.verdict("c").word == Word.SPECIFICITY_OPEN
    assert "certifies nothing" in judged.verdict("c").says
    assert not judged.gates["far"].passed
    assert judged.gates["plain"].passed


@pytest.mark.parametrize(
    ("scale", "protocol", "word"),
    [
        ("long", "reduced", Word.OPPOSITE),
        ("long", "full", Word.CONTRADICTED),
        ("full", "reduced", Word.CONTRADICTED),
    ],
)
def test_opposite_effect(scale, protocol, word):
    case = one(scale=scale)
    case.protocol = protocol
    case.set("pconv", [18.0, 18.2, 17.9, 18.1, 18.0])
    verdict = case.verdict()
    assert verdict.word == word
    assert verdict.reduced == (word == Word.OPPOSITE)


def test_inconclusive_names_what_it_could_have_seen():
    case = one()
    case.set("pconv", [20.9, 19.4, 20.8, 19.6, 20.7])
    judged = case.judge()
    assert judged.verdict("c").word == Word.INCONCLUSIVE
    result = judged.contrast("gain")
    assert result.smallest_effect > 0
    assert result.seeds_needed > N
    assert "smallest effect these seeds could see" in result.says
    assert f"about {result.seeds_needed} seeds" in result.says


def test_lower_is_better_is_turned_round():
    case = Case([claim("c", contrasts=["k"])], [contrast("k", "pconv", "plain", metric="loss", primary=1)])
    verdict = case.verdict()
    assert verdict.word == Word.SUPPORTED
    assert verdict.says.startswith("plain - pconv = +3.0")
    case.set("pconv", [12.0, 12.1, 11.9, 12.2, 12.0], metric="loss")
    assert case.word() == Word.OPPOSITE


# ---- gates ----------------------------------------------------------------------------------------------------


def test_baseline_below_the_gate():
    case = one()
    case.gate = gate(21.0)
    verdict = case.verdict()
    assert verdict.word == Word.INCONCLUSIVE_GATE
    assert "plain did not pass" in verdict.says


def test_a_method_below_the_gate_is_a_result():
    case = one()
    case.gate = gate()
    case.set("pconv", [1.0, 1.1, 0.9, 1.2, 1.0])
    assert case.word() == Word.OPPOSITE


def test_a_collapsed_variant_may_lose():
    case = one("collapse")
    case.gate = gate()
    verdict = case.verdict()
    assert verdict.word == Word.SUPPORTED
    assert case.judge().gates["broken"].passed is False


def test_steps_between_variants_need_the_papers_baseline():
    case = one("lite_gain")
    case.gate = gate(21.0)
    assert case.word() == Word.INCONCLUSIVE_GATE


def test_gate_of_a_lower_is_better_metric():
    case = one()
    case.gate = Gate("loss", 5.0, 20.0, 8.0, "below")
    assert case.word() == Word.INCONCLUSIVE_GATE
    case.gate = Gate("loss", 12.0, 20.0, 8.0, "below")
    assert case.word() == Word.SUPPORTED


# ---- pending, diverged, failed --------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["failed", "timeout"])
@pytest.mark.parametrize("arm", ["plain", "pconv", "far"])
def test_crashes_are_pending(status, arm):
    case = one()
    key = case.key(arm, 2)
    case.records[key] = Record(key, case.records[key].spec, status)
    verdict = case.verdict()
    assert verdict.word == Word.PENDING
    assert "4 of 5 seeds" in verdict.says
    assert "seed 2" in verdict.says


def test_missing_records_are_pending():
    case = one()
    del case.records[case.key("plain", 4)]
    assert "seed 4 not run" in case.verdict().says


def test_a_diverged_run_is_scored_at_worst_and_counted():
    case = one()
    key = case.key("pconv", 1)
    case.records[key] = Record(key, case.records[key].spec, "diverged")
    judged = case.judge()
    result = judged.contrast("gain")
    assert result.word == Word.INCONCLUSIVE
    assert result.diverged == {"pconv": 1}
    assert result.n == N
    assert result.effect.per_seed[1] == pytest.approx(-case.records[case.key("plain", 1)].metrics["ap"])
    assert "diverged, scored 0: 1 of 5 runs of pconv" in result.says


def test_a_nan_metric_of_a_finished_run_is_a_divergence():
    case = one()
    case.set("pconv", [23.0, float("nan"), 23.1, 22.9, 23.0])
    assert case.judge().contrast("gain").diverged == {"pconv": 1}


def test_a_metric_that_no_record_has_is_pending_with_its_name():
    case = Case([claim("c", contrasts=["k"])], [contrast("k", "pconv", "plain", metric="speed", primary=1)])
    verdict = case.verdict()
    assert verdict.word == Word.PENDING
    assert "'speed'" in verdict.says


def test_equal_values_everywhere_are_not_certainty():
    case = one()
    case.set("plain", [20.0] * 5)
    case.set("pconv", [20.5] * 5)
    case.set("far", [20.0] * 5)
    result = case.judge().contrast("gain")
    assert result.effect.p == 0.5**5


def test_one_seed_decides_nothing():
    case = one(n=1)
    verdict = case.verdict()
    assert verdict.word == Word.INCONCLUSIVE
    assert "one seed" in verdict.says


# ---- scales ---------------------------------------------------------------------------------------------------


def test_smoke_judges_structure_only():
    case = Case([claim("c", contrasts=["gain"]), claim("s", "structural", check="params")], scale="smoke")
    case.checks = {"params": Checked(True, 5.0, 5.0, "5 parameters")}
    assert case.word("c") == Word.NOT_TESTED
    structural = case.verdict("s")
    assert (structural.word, structural.scale, structural.reduced) == (Word.EXACT, None, False)
    assert structural.says == "5 parameters"


def test_quick_judges_primaries_only():
    case = Case([claim("a", contrasts=["gain"]), claim("b", contrasts=["collapse"])], scale="quick")
    assert case.word("a") == Word.SUPPORTED
    assert case.word("b") == Word.NOT_TESTED


def test_reduced_scales_show_sizes_and_do_not_judge_them():
    claims = [
        claim("g", "gain", value=1.5, contrasts=["gain"]),
        claim("a", "absolute", value=37.0, arm="pconv"),
    ]
    case = Case(claims)
    gain, absolute = case.verdict("g"), case.verdict("a")
    assert gain.word == absolute.word == Word.NOT_TESTED
    assert gain.ours.mean == pytest.approx(3.0, abs=0.2)
    assert "its sign here: SUPPORTED" in gain.says
    assert absolute.ours.mean == pytest.approx(23.0, abs=0.2)
    assert absolute.against is None


def test_released_weights_compare_one_evaluation():
    rules = {"margin": 0.3, "margin_source": "half of the gain", "rounding": 0.1}
    claims = [claim("a", "absolute", value=23.2, arm="pconv", **rules), claim("c", contrasts=["gain"])]
    case = Case(claims, scale="weights", n=1)
    case.set("pconv", [23.0])
    assert case.word("a") == Word.REPRODUCED
    assert "evaluation reproduced" in case.verdict("a").says
    assert case.word("c") == Word.NOT_TESTED
    case.set("pconv", [22.8])
    assert case.word("a") == Word.NOT_REPRODUCED


def test_contrast_not_planned_at_this_scale():
    case = one(contrasts=[contrast("gain", "pconv", "plain", primary=1, scales=["gpu"])])
    assert case.word() == Word.NOT_TESTED
    case = one()
    case.study = replace(case.study, contrasts={})
    assert case.word() == Word.NOT_TESTED


# ---- structural, blocked, qualitative -------------------------------------------------------------------------


def test_structural_words():
    case = Case([claim("s", "structural", check="ratio", value=1.4985, tolerance=0.0001)])
    assert case.word("s") == Word.PENDING
    case.checks = {"ratio": Checked(False, 1.7, 1.4985, "1.7 on a 160 pixel pyramid")}
    verdict = case.verdict("s")
    assert (verdict.word, verdict.says, verdict.computed) == (Word.REFUTED, "1.7 on a 160 pixel pyramid", 1.7)
    assert verdict.command == "replicate check toy"
    # a check more lenient than the claim does not decide
    case.checks = {"ratio": Checked(True, 1.4990, 1.4985, "about right")}
    assert case.word("s") == Word.REFUTED
    case.checks = {"ratio": Checked(True, 1.49853, 1.4985)}
    assert case.word("s") == Word.EXACT


def test_no_claim_is_ever_dropped():
    blocked = {"why": "weights", "says": "never released"}
    claims = [
        claim("b", "absolute", value=50.1, blocked=blocked),
        claim("bs", "structural", blocked=blocked),
        claim("q", "qualitative"),
        claim("c", contrasts=["gain"]),
        claim("e", "efficiency"),
    ]
    case = Case(claims)
    case.records = {}
    judged = case.judge()
    assert [v.claim for v in judged.verdicts] == [c["id"] for c in claims]
    assert [v.word for v in judged.verdicts] == [
        Word.BLOCKED, Word.BLOCKED, Word.NOT_TESTED, Word.PENDING, Word.NOT_TESTED
    ]  # fmt: skip
    assert judged.verdict("b").says == "weights: never released"


# ---- many contrasts -------------------------------------------------------------------------------------------


def test_fixed_sequence_stops_at_the_first_that_does_not_hold():
    case = Case([claim("a", contrasts=["gain"]), claim("b", contrasts=["lite_gain"])])
    assert case.word("b") == Word.SUPPORTED
    case.set("plain", [23.5, 22.4, 23.4, 22.6, 23.2])
    judged = case.judge()
    assert judged.verdict("a").word == Word.INCONCLUSIVE
    second = judged.contrast("lite_gain")
    assert second.effect.p < 0.05 < second.effect.p_adjusted
    assert judged.verdict("b").word == Word.INCONCLUSIVE
    assert "did not hold" in judged.verdict("b").says


def test_a_later_primary_waits_for_a_pending_one():
    case = one("lite_gain")
    del case.records[case.key("far", 0)]
    verdict = case.verdict()
    assert verdict.word == Word.PENDING
    assert "gain" in verdict.says


def test_contradictions_do_not_wait_for_the_sequence():
    case = one("lite_gain")
    case.set("plain", [23.5, 22.4, 23.4, 22.6, 23.2])
    case.set("lite", [10.0, 10.2, 9.9, 10.1, 10.0])
    assert case.word() == Word.OPPOSITE


def secondary(*pairs: tuple[str, str]) -> list[dict[str, Any]]:
    return [contrast(f"s{i}", better, worse) for i, (better, worse) in enumerate(pairs)]


def test_holm_over_secondaries_counts_a_removed_contrast():
    pairs = [("pconv", "plain"), ("lite", "plain")]
    case = Case([claim("c", contrasts=["s0"])], secondary(*pairs))
    before = case.judge().contrast("s0").effect
    assert before.p_adjusted >= before.p
    case.study = replace(case.study, contrasts={**case.study.contrasts, "gone": "0" * 64})
    after = case.judge().contrast("s0").effect
    assert after.p_adjusted > before.p_adjusted


def test_an_ordering_over_several_contrasts_needs_each():
    case = Case([claim("c", contrasts=["gain", "lite_gain", "collapse"])])
    assert case.word() == Word.SUPPORTED
    assert "3 of 3" in case.verdict().says
    case.set("lite", [24.5, 21.4, 24.4, 21.6, 23.2])
    assert case.word() == Word.INCONCLUSIVE
    case.set("lite", [20.0, 20.2, 19.9, 20.1, 20.0])
    assert case.word() == Word.OPPOSITE


def test_equivalence():
    case = Case(
        [claim("c", contrasts=["k"])],
        [contrast("k", "far", "plain", relation="equivalent", margin=1.0, primary=1)],
    )
    verdict = case.verdict()
    assert verdict.word == Word.SUPPORTED
    assert "equivalence margin 1 AP" in verdict.says
    case.set("far", [25.0, 25.2, 24.9, 25.1, 25.0])
    assert case.word() == Word.OPPOSITE
    case.set("far", [24.0, 17.0, 23.0, 16.0, 21.0])
    verdict = case.verdict()
    assert verdict.word == Word.INCONCLUSIVE
    assert "smallest margin these seeds could show" in verdict.says


# ---- plans ----------------------------------------------------------------------------------------------------


def test_claims_and_contrasts_edited_after_the_study_are_not_confirmatory():
    case = Case([claim("c", contrasts=["gain"]), claim("d", contrasts=["collapse"])])
    case.study = replace(case.study, contrasts={**case.study.contrasts, "gain": "0" * 64})
    assert "edited after the study" in case.verdict("c").says
    assert case.word("c") == Word.PENDING
    assert case.word("d") == Word.SUPPORTED
    case.study = replace(case.study, claims={"c": case.study.claims["c"], "d": "0" * 64})
    assert case.word("d") == Word.PENDING
    case.study = replace(case.study, claims={"c": case.study.claims["c"]})
    assert "added after the study" in case.verdict("d").says


def test_digests_change_with_rules_and_not_with_wording():
    manifest = one().manifest
    c, k = manifest.claims[0], manifest.contrasts[0]
    assert claim_digest(c) == claim_digest(c.model_copy(update={"says": "better said"}))
    assert claim_digest(c) != claim_digest(c.model_copy(update={"margin": 0.5}))
    assert contrast_digest(k) == contrast_digest(k.model_copy(update={"placebo_reason": "said"}))
    for change in ({"placebo": None}, {"primary": None}, {"worse": "lite"}):
        assert contrast_digest(k) != contrast_digest(k.model_copy(update=change))


def test_planned_looks_share_the_level():
    case = one(looks=(5, 10, 20))
    judged = case.judge()
    assert 0 < judged.alpha < 0.05
    case.study = replace(case.study, planned_n=4)
    with pytest.raises(UserError, match="plans looks at 5, 10, 20 seeds, not at 4"):
        case.judge()


def test_profiles_and_substrates_are_not_mixed():
    case = one()
    key = case.key("pconv", 0)
    spec = case.records[key].spec
    case.records[key] = case.records[key].with_(spec=replace(spec, profile_version=2))
    with pytest.raises(UserError, match="different profiles"):
        case.judge()
    case.records[key] = case.records[key].with_(spec=replace(spec, substrates={"backbone": "aa"}))
    other = case.key("plain", 0)
    case.records[other] = case.records[other].with_(
        spec=replace(case.records[other].spec, substrates={"backbone": "bb"})
    )
    assert "different 'backbone' at seed 0" in case.verdict().says


def test_an_older_analysis_version_is_named():
    case = one()
    case.study = replace(case.study, analysis_version=0)
    assert any("analysis version 0" in note for note in case.judge().notes)


def test_item_interval_is_shown_beside_the_seeds():
    case = one()
    scores = [0.1 * i for i in range(30)]
    case.set("plain", items={"ap": scores, "cluster": [i // 3 for i in range(30)]})
    case.set("pconv", items={"ap": [s + 1.0 for s in scores], "cluster": [i // 3 for i in range(30)]})
    assert case.judge().contrast("gain").over_items == pytest.approx((1.0, 1.0))


def test_json_is_strict_also_for_one_seed():
    text = json.dumps(one(n=1).judge().to_json(), allow_nan=False)
    assert json.loads(text)["contrasts"][0]["effect"]["low"] is None


# ---- sizes at full strength -----------------------------------------------------------------------------------

MARGIN = {"margin": 1.0, "margin_source": "a third of the gain", "reporting": "mean", "n": 5}


def size(kind: str = "gain", values: list[float] | None = None, **more: Any) -> Case:
    where = {"contrasts": ["gain"]} if kind == "gain" else {"arm": "pconv"}
    case = Case([claim("c", kind, **{**MARGIN, **where, **more})], scale="full")
    if values is not None:
        case.set("pconv", values)
    return case


@pytest.mark.parametrize(
    ("stated", "word"),
    [(3.0, Word.REPRODUCED), (0.5, Word.EXCEEDED), (6.0, Word.NOT_REPRODUCED), (3.9, Word.DIFFERS)],
)
def test_gain_at_full_scale(stated, word):
    verdict = size(value=stated).verdict()
    assert verdict.word == word, verdict.says
    assert verdict.against.mean == pytest.approx(verdict.ours.mean - stated)
    assert f"theirs {stated:g}" in verdict.says
    assert not verdict.reduced


@pytest.mark.parametrize(
    ("stated", "word"), [(23.0, Word.REPRODUCED), (21.0, Word.EXCEEDED), (25.0, Word.NOT_REPRODUCED)]
)
def test_absolute_at_full_scale(stated, word):
    assert size("absolute", value=stated).word() == word


def test_direction_turns_the_good_side():
    high = size("absolute", metric="loss", value=9.0, direction="lower")
    assert high.word() == Word.EXCEEDED  # ours is about 7
    none = size("absolute", metric="loss", value=9.0, direction="none")
    assert none.word() == Word.NOT_REPRODUCED


def test_ranges_and_bounds():
    reach = {"margin": None, "margin_source": None}
    assert size(low=1.0, high=5.0, **reach).word() == Word.REPRODUCED
    assert size(low=2.0, **reach).word() == Word.REPRODUCED
    assert size(low=4.0, **reach).word() == Word.NOT_REPRODUCED
    assert "at least 4" in size(low=4.0, **reach).verdict().says


def test_single_run_claim_within_less_than_three_sd_is_undecidable():
    values = [23.0, 25.0, 21.5, 24.0, 22.0]
    verdict = size("absolute", values, value=23.5, reporting="single", n=None).verdict()
    assert verdict.word == Word.INCONCLUSIVE
    assert "undecidable: single-run claim" in verdict.says


def test_no_margin_is_said():
    verdict = size("absolute", value=23.05, margin=None, margin_source=None).verdict()
    assert verdict.word == Word.INCONCLUSIVE
    assert "no margin" in verdict.says


def test_no_spread_judges_no_size():
    verdict = size("absolute", [23.0] * 5, value=23.0).verdict()
    assert verdict.word == Word.INCONCLUSIVE
    assert "no spread over 5 seeds" in verdict.says


def test_size_below_the_gate_and_size_edited_later():
    case = size("absolute", value=23.0)
    case.gate = gate(21.0)
    assert case.word() == Word.INCONCLUSIVE_GATE
    case.gate = None
    case.study = replace(case.study, claims={"c": "0" * 64})
    assert case.word() == Word.PENDING


def test_many_sizes_are_corrected_together():
    lone = size("absolute", value=24.4).verdict().against
    extra = [claim(f"x{i}", "absolute", value=23.0, arm="pconv", **MARGIN) for i in range(3)]
    case = Case([claim("c", "absolute", value=24.4, arm="pconv", **MARGIN), *extra], scale="full")
    assert case.verdict().against.p_adjusted == pytest.approx(4 * lone.p)


def test_a_size_does_not_wait_for_the_placebo():
    case = size(value=3.0)
    del case.records[case.key("far", 0)]
    assert case.word() == Word.REPRODUCED
    del case.records[case.key("plain", 0)]
    assert case.word() == Word.PENDING


# ---- efficiency -----------------------------------------------------------------------------------------------


def efficiency(scale: str = "long", **more: Any) -> Case:
    faster = contrast("k", "plain", "pconv", metric="latency_ms", primary=1)
    case = Case([claim("c", "efficiency", contrasts=["k"], **more)], [faster], scale=scale)
    for shift, (arm, ms) in enumerate((("plain", 10.0), ("pconv", 10.7))):
        for i, key in enumerate(case.study.keys[arm].values()):
            cost = {"latency_ms": ms * (1 + 0.001 * NOISE[(i + shift) % 5])}
            case.records[key] = case.records[key].with_(cost=cost, provenance={"machine": "one"})
    return case


def test_efficiency_is_an_ordering_at_reduced_scale():
    verdict = efficiency().verdict()
    assert (verdict.word, verdict.reduced) == (Word.SUPPORTED, True)


def test_a_cpu_does_not_judge_a_gpu():
    verdict = efficiency(device="cuda").verdict()
    assert verdict.word == Word.NOT_TESTED
    assert "another kind" in verdict.says


def test_two_machines_do_not_make_a_ratio():
    case = efficiency()
    key = case.key("plain", 3)
    case.records[key] = case.records[key].with_(provenance={"machine": "two"})
    assert "different machines at seed 3" in case.verdict().says


def test_efficiency_ratio_at_full_strength():
    rules = {"value": -6.5, "unit": "percent", "direction": "none", "margin": 1.0, "margin_source": "1 point"}
    verdict = efficiency("full", **rules).verdict()
    assert verdict.word == Word.REPRODUCED, verdict.says
    assert verdict.ours.mean == pytest.approx(100 * (10 / 10.7 - 1), abs=0.05)
