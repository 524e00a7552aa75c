"""Controls of the verdict itself: A/A comparisons, a planted effect, shuffled labels.

Everything goes through ``replicate.verdict.judge``, on small studies built here from plain numbers, so that what is
calibrated is what judges the papers.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from replicate.errors import UserError
from replicate.judgement import Judgement, Word
from replicate.manifest import Manifest
from replicate.records import Record, Spec
from replicate.stats import ALPHA, POWER, Prior, clopper_pearson, estimate, fit_prior, smallest_effect
from replicate.study import Study
from replicate.tasks.base import Gate, Metric
from replicate.verdict import claim_digest, contrast_digest, judge

METRIC = "score"
_RANDOM_PAIRINGS = 500
_ALARMS = frozenset({Word.SUPPORTED, Word.NOT_SPECIFIC, Word.SPECIFICITY_OPEN, Word.CONTRADICTED, Word.OPPOSITE})
_OPPOSITE = frozenset({Word.CONTRADICTED, Word.OPPOSITE})


@dataclass(frozen=True)
class Calibration:
    """How often the verdict code sees a difference between an arm and itself.

    ``nominal`` is the rate that the rules promise: 0.05 for each direction. Disjoint seed blocks make independent
    comparisons: only they enter ``rate``, its Clopper-Pearson ``interval`` and ``passed``. ``random_rate`` repeats
    the comparison on random blocks of the same seeds: they overlap, so it is a description without an interval.
    The renamed no-op arm reuses the arm's own values and has an interval of its own; both must pass.
    """

    comparisons: int
    alarms: int
    supported: int
    opposite: int
    block: int
    rate: float
    interval: tuple[float, float]
    nominal: float
    passed: bool
    random_rate: float | None
    random_pairings: int
    noop_comparisons: int
    noop_alarms: int
    noop_interval: tuple[float, float]
    says: str

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dict."""
        return asdict(self)


@dataclass(frozen=True)
class Control:
    """One control with its outcome; ``passed`` is None when the numbers do not decide."""

    name: str
    passed: bool | None
    says: str
    hits: int | None = None
    trials: int | None = None


class Bench:
    """A study whose numbers can be changed: the verdict code on plain values.

    Arms: ``method`` against ``base``, ``placebo`` as control (or none). One ordering claim, ``claim``. The
    manifest, the study and the specs are built once; ``judge`` only swaps the metrics. ``extra`` replaces fields of
    the manifest (more arms, contrasts, claims).
    """

    def __init__(
        self,
        n: int,
        *,
        placebo: bool = False,
        scale: str = "full",
        gate: Gate | None = None,
        looks: tuple[int, ...] = (),
        worst: float = 0.0,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        arms: dict[str, Any] = {
            "base": {"role": "baseline", "builder": "none:base", "says": "reference"},
            "method": {"role": "method", "builder": "none:method", "says": "compared arm"},
        }
        contrast: dict[str, Any] = {
            "id": "contrast",
            "better": "method",
            "worse": "base",
            "metric": METRIC,
            "primary": 1,
        }
        if placebo:
            arms["placebo"] = {"role": "placebo", "builder": "none:placebo", "says": "control"}
            contrast["placebo"] = "placebo"
        else:
            contrast["placebo_reason"] = "a calibration has no mechanism to control for"
        claim = {
            "id": "claim",
            "says": "method beats base",
            "kind": "ordering",
            "metric": METRIC,
            "unit": "points",
            "source": {"where": "derived", "locator": "calibration"},
            "contrasts": ["contrast"],
        }
        text: dict[str, Any] = {
            "schema": 1,
            "slug": "calibration",
            "version": 1,
            "title": "Calibration",
            "year": 2020,
            "venue": "none",
            "family": "none",
            "licence": "Apache-2.0",
            "summary": "An arm against itself.",
            "task": "own",
            "arms": arms,
            "contrasts": [contrast],
            "claims": [claim],
            "scales": {scale: {"profile": "bench", "seeds": n}},
        }
        self.manifest = Manifest.model_validate({**text, **(extra or {})})
        self.metrics = {METRIC: Metric("points", worst=worst)}
        self.gate = gate
        self._specs: dict[str, list[Spec]] = {
            arm: [Spec(f"none:{arm}", 1, {}, "own", "bench", 1, {}, None, scale, seed) for seed in range(n)]
            for arm in self.manifest.arms
        }
        self._keys = {arm: [spec.key for spec in specs] for arm, specs in self._specs.items()}
        self.study = Study(
            slug="calibration",
            scale=scale,
            profile="bench",
            profile_version=1,
            manifest_version=1,
            planned_n=n,
            seeds=tuple(range(n)),
            claims={c.id: claim_digest(c) for c in self.manifest.claims},
            contrasts={c.id: contrast_digest(c) for c in self.manifest.contrasts},
            keys={arm: {str(seed): key for seed, key in enumerate(keys)} for arm, keys in self._keys.items()},
            looks=looks,
        )

    def records(self, **arms: Sequence[float]) -> dict[str, Record]:
        """Records of these values, one list per arm in the order of the seeds; NaN is a diverged run."""
        out: dict[str, Record] = {}
        for arm, values in arms.items():
            for key, spec, value in zip(self._keys[arm], self._specs[arm], values, strict=True):
                bad = math.isnan(value)
                out[key] = Record(key, spec, "diverged" if bad else "ok", {} if bad else {METRIC: value})
        return out

    def judge(self, **arms: Sequence[float]) -> Judgement:
        """Judge the bench's study on these values."""
        return judge(self.manifest, self.study, self.records(**arms), metrics=self.metrics, gate=self.gate)

    def word(self, **arms: Sequence[float]) -> Word:
        """The verdict on the bench's claim."""
        return self.judge(**arms).verdicts[0].word


def calibrate(
    values_by_seed: Mapping[int, float],
    block: int = 5,
    *,
    noop: Mapping[int, float] | None = None,
    seed: int = 0,
) -> Calibration:
    """A/A: compare one arm with itself, in both directions, through the verdict code.

    ``values_by_seed`` holds the arm's metric (a diverged run at its worst). Its seeds are cut into disjoint blocks
    of ``block``, and block 1 is compared with 2, 3 with 4, ...: each comparison is independent of the others.
    ``noop`` holds the same arm under another name with its own random stream on the same seeds; it is compared pair
    by pair in blocks of ``block`` seeds. It fails when the lower end of an interval lies above the nominal rate.
    Raises UserError when there are fewer seeds than one comparison needs.
    """
    if block < 2:
        raise UserError(f"calibrate: a block needs at least 2 seeds, not {block}")
    seeds = sorted(values_by_seed)
    if len(seeds) < 2 * block:
        raise UserError(
            f"calibrate: {len(seeds)} seeds are too few for two blocks of {block}: "
            f"run at least {2 * block} seeds or use smaller blocks"
        )
    bench = Bench(block)
    found = [
        bench.word(method=[values_by_seed[s] for s in a], base=[values_by_seed[s] for s in b])
        for a, b in _block_pairs(seeds, block)
    ]
    noop_found: list[Word] = []
    if noop is not None:
        shared = [s for s in seeds if s in noop]
        for start in range(0, len(shared) - block + 1, block):
            part = shared[start : start + block]
            noop_found.append(bench.word(method=[noop[s] for s in part], base=[values_by_seed[s] for s in part]))
    alarms, noop_alarms = (sum(w in _ALARMS for w in words) for words in (found, noop_found))
    interval, noop_interval = clopper_pearson(alarms, len(found)), clopper_pearson(noop_alarms, len(noop_found))
    random_rate = _random_rate(bench, values_by_seed, block, seed) if len(seeds) > 2 * block else None
    nominal = 2 * ALPHA
    passed = max(interval[0], noop_interval[0]) <= nominal
    return Calibration(
        comparisons=len(found),
        alarms=alarms,
        supported=sum(w in _ALARMS - _OPPOSITE for w in found),
        opposite=sum(w in _OPPOSITE for w in found),
        block=block,
        rate=alarms / len(found),
        interval=interval,
        nominal=nominal,
        passed=passed,
        random_rate=random_rate,
        random_pairings=_RANDOM_PAIRINGS if random_rate is not None else 0,
        noop_comparisons=len(noop_found),
        noop_alarms=noop_alarms,
        noop_interval=noop_interval,
        says=_says(alarms, len(found), interval, nominal, passed, random_rate, len(noop_found), noop_alarms),
    )


def _block_pairs(seeds: Sequence[int], block: int) -> list[tuple[Sequence[int], Sequence[int]]]:
    starts = range(0, len(seeds) - 2 * block + 1, 2 * block)
    return [(seeds[i : i + block], seeds[i + block : i + 2 * block]) for i in starts]


def _random_rate(bench: Bench, values: Mapping[int, float], block: int, seed: int) -> float:
    draw = random.Random(seed)
    pool = sorted(values)
    alarms = 0
    for _ in range(_RANDOM_PAIRINGS):
        drawn = [values[s] for s in draw.sample(pool, 2 * block)]
        alarms += bench.word(method=drawn[:block], base=drawn[block:]) in _ALARMS
    return alarms / _RANDOM_PAIRINGS


def _says(
    alarms: int,
    trials: int,
    interval: tuple[float, float],
    nominal: float,
    passed: bool,
    random_rate: float | None,
    noop_trials: int,
    noop_alarms: int,
) -> str:
    plural = "comparison" if trials == 1 else "comparisons"
    text = (
        f"{alarms} false alarms in {trials} independent A/A {plural}: rate {alarms / trials:.3f} "
        f"[{interval[0]:.3f}, {interval[1]:.3f}] against a nominal {nominal:.2f} (both directions)"
    )
    if not passed:
        text += "; calibration FAILED: the lower end exceeds the nominal rate"
    elif interval[1] - interval[0] > 0.3:
        text += "; so few comparisons would show only a gross fault"
    if noop_trials:
        text += f"; renamed no-op arm: {noop_alarms} of {noop_trials}"
    if random_rate is not None:
        text += f"; random pairings of the same seeds (not independent, for description only): {random_rate:.3f}"
    return text


def negative_control(values_by_seed: Mapping[int, float], chance: float, tolerance: float = 0.0) -> Control:
    """Shuffled labels give chance: fails when the 95 % interval of the mean lies wholly above chance + tolerance.

    ``values_by_seed`` is the metric (higher is better) of runs trained on shuffled labels. It passes when the
    upper end is at most ``tolerance`` above chance (with tolerance 0: when the interval does not lie above chance);
    otherwise it is undecided.
    """
    e = estimate(values_by_seed)
    text = f"shuffled labels: {e.mean:.4g} [{e.low:.4g}, {e.high:.4g}] (n = {e.n}), chance {chance:.4g}"
    if e.low > chance + tolerance:
        return Control("negative", False, f"{text}: better than chance, something leaks")
    bounded = math.isfinite(e.high) and e.low <= chance + tolerance
    if bounded and (tolerance == 0.0 or e.high <= chance + tolerance):
        return Control("negative", True, f"{text}: nothing beyond chance")
    return Control("negative", None, f"{text}: undecided within {tolerance:.4g}")


def positive_control(values_by_seed: Mapping[int, float], block: int = 5, *, power: float = POWER) -> Control:
    """A planted effect is found: A/A blocks, one of each pair raised by the effect that the plan says it can see.

    The effect is the smallest that ``block`` pairs find with this power, for the spread of the arm's own values
    (differences of unpaired blocks have sqrt(2) times its sd). It fails when the upper end of the Clopper-Pearson
    interval of the rate found lies below the promised power.
    """
    seeds = sorted(values_by_seed)
    pairs = _block_pairs(seeds, block)
    if not pairs:
        raise UserError(f"positive control: {len(seeds)} seeds are too few for two blocks of {block}")
    spread = estimate(values_by_seed).sd
    effect = smallest_effect(block, math.sqrt(2) * spread, ALPHA, power)
    if effect is None:
        return Control("positive", None, "the arm shows no spread over seeds: any effect would be found")
    bench = Bench(block)
    hits = sum(
        bench.word(method=[values_by_seed[s] + effect for s in a], base=[values_by_seed[s] for s in b])
        == Word.SUPPORTED
        for a, b in pairs
    )
    low, high = clopper_pearson(hits, len(pairs))
    text = (
        f"planted effect of {effect:.3g} found in {hits} of {len(pairs)} independent comparisons: rate "
        f"{hits / len(pairs):.2f} [{low:.2f}, {high:.2f}], promised {power:.2f}"
    )
    return Control("positive", high >= power, text, hits, len(pairs))


def values_of(records: Sequence[Record], metric: str, worst: float) -> dict[int, float]:
    """The metric by seed of one arm's finished records, a diverged run at ``worst``."""
    out: dict[int, float] = {}
    for record in records:
        if record.done:
            value = record.metrics.get(metric, math.nan)
            if record.status == "ok" and metric not in record.metrics:
                raise UserError(f"record {record.key[:12]} has no metric {metric!r}")
            ok = record.status == "ok" and math.isfinite(value)
            out[record.spec.seed] = value if ok else worst
    return out


def prior_of(groups: Sequence[Mapping[int, float]]) -> Prior | None:
    """Prior on one arm's variance from A/A groups of a domain and scale; None below ten groups."""
    estimates = [estimate(g) for g in groups if len(g) > 1]
    return fit_prior([e.sd**2 for e in estimates], [e.n - 1 for e in estimates])
