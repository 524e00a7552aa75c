"""What a plan will cost and what it can decide, before anything runs."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from replicate.judgement import Word
from replicate.manifest import Claim, Contrast
from replicate.plan import Plan, similar
from replicate.records import Record
from replicate.tasks.base import Metric

LEAST_SEEDS = 5
"""Fewest seeds on which a trained claim is judged (STATISTICS, "Before the run")."""


@dataclass(frozen=True)
class Estimate:
    """Trials and time of a plan."""

    trials: int
    done: int
    """Trials that have a valid record already."""
    cpu_hours: float
    """Of the trials still to run."""
    wall_hours: float
    """The same on ``workers`` workers."""
    workers: int
    measured: int
    """Trials whose time comes from earlier records; the others use the profile's own figure."""


@dataclass(frozen=True)
class Reach:
    """Which verdict words one claim can reach in this plan."""

    claim: str
    kind: str
    words: tuple[Word, ...]
    says: str
    smallest_effect: float | None = None
    """Smallest true effect found with 80 % power, given the spread in earlier records; None when unknown."""
    sd: float | None = None
    """Spread of the paired differences that ``smallest_effect`` rests on."""


@dataclass(frozen=True)
class Outlook:
    """The answer of ``replicate plan``."""

    estimate: Estimate
    reach: tuple[Reach, ...]

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dict."""
        return asdict(self)


def of(plan: Plan, records: Iterable[Record], valid: Iterable[str] = ()) -> Outlook:
    """``records`` are earlier results of any kind (the store's and the reference ones), ``valid`` keys to reuse."""
    known = [record for record in records if record.done]
    return Outlook(cost(plan, known, frozenset(valid)), tuple(_reach(plan, c, known) for c in plan.manifest.claims))


def default_workers(plan: Plan) -> int:
    """Workers that fill the machine: cores / threads, one for a GPU or for trials that measure time."""
    from replicate.machine import cores

    first = plan.trials[0].spec
    if first.device != "cpu" or plan.profile.exclusive:
        return 1
    return max(1, cores() // max(first.threads, 1))


def cost(plan: Plan, known: list[Record], valid: frozenset[str]) -> Estimate:
    """Time of the trials that have no valid record."""
    workers = plan.workers or default_workers(plan)
    total, measured = 0.0, 0
    to_run = [trial for trial in plan.trials if trial.key not in valid]
    by_arm: dict[str, float | None] = {}
    for trial in to_run:
        if trial.arm not in by_arm:
            times = [_seconds(r) for r in known if similar(trial, r)]
            by_arm[trial.arm] = statistics.median(times) if times else None
        seconds = by_arm[trial.arm]
        measured += seconds is not None
        total += trial.seconds if seconds is None else seconds
    rounds = math.ceil(len(to_run) / workers) if to_run else 0
    wall = total / len(to_run) * rounds if to_run else 0.0
    threads = max(plan.trials[0].spec.threads, 1)
    done = len(plan.trials) - len(to_run)
    return Estimate(len(plan.trials), done, total * threads / 3600, wall / 3600, workers, measured)


def _seconds(record: Record) -> float:
    """Seconds that a trial occupies its worker: processor time on a CPU, so that a busy machine does not mislead."""
    if record.spec.device == "cpu" and record.cpu_seconds > 0:
        return record.cpu_seconds / max(record.spec.threads, 1)
    return record.seconds


def _reach(plan: Plan, claim: Claim, known: list[Record]) -> Reach:
    def answer(words: Iterable[Word], says: str, *rest: float | None) -> Reach:
        return Reach(claim.id, claim.kind, tuple(words), says, *rest)

    if claim.blocked is not None:
        return answer([Word.BLOCKED], f"{claim.blocked.why}: {claim.blocked.says}")
    if claim.kind == "structural":
        return answer([Word.EXACT, Word.REFUTED], "computed exactly, no training")
    if claim.kind == "qualitative":
        return answer([Word.NOT_TESTED], "shown, and signed by a person; never counted in a rate")
    if plan.scale == "smoke":
        return answer([Word.NOT_TESTED], "smoke gives no verdict")
    full = plan.scale in ("full", "weights") or plan.profile.protocol == "full"
    if claim.kind == "absolute" and not full:
        return answer([Word.NOT_TESTED], "the size of a number is judged at full scale only")
    contrasts = [plan.manifest.contrast(name) for name in claim.contrasts]
    why = _missing(plan, claim, contrasts)
    if why:
        return answer([Word.NOT_TESTED], why)
    if len(plan.seeds) < LEAST_SEEDS:
        return answer([Word.PENDING], f"{len(plan.seeds)} seeds; a verdict needs {LEAST_SEEDS} or more")
    if claim.kind == "gain" and not full:
        return answer([Word.NOT_TESTED], "the size of a gain is judged at full scale only", *_power(plan, contrasts, known))
    if claim.kind in ("gain", "absolute"):
        words = [Word.REPRODUCED, Word.EXCEEDED, Word.NOT_REPRODUCED, Word.DIFFERS, Word.INCONCLUSIVE]
        return answer(words, "judged against the stated number", *_power(plan, contrasts, known))
    against = Word.CONTRADICTED if full else Word.OPPOSITE
    words = [Word.SUPPORTED, against, Word.INCONCLUSIVE]
    if any(contrast.placebo for contrast in contrasts):
        words[1:1] = [Word.SPECIFICITY_OPEN, Word.NOT_SPECIFIC]
    rank = ", ".join(f"primary {c.primary}" if c.primary else "secondary" for c in contrasts) or "measured"
    return answer(words, f"{rank}, {len(plan.seeds)} paired seeds", *_power(plan, contrasts, known))


def _missing(plan: Plan, claim: Claim, contrasts: list[Contrast]) -> str:
    """Why the claim's contrasts are not part of this plan; empty: they are."""
    for contrast in contrasts:
        if plan.scale not in contrast.scales:
            return f"contrast {contrast.id} is planned at {', '.join(contrast.scales)}"
        needed = [contrast.better, contrast.worse] + ([contrast.placebo] if contrast.placebo else [])
        absent = [arm for arm in needed if arm not in plan.arms]
        if absent:
            return f"contrast {contrast.id} needs {', '.join(absent)}, not run at this scale"
    if claim.arm is not None and claim.arm not in plan.arms:
        return f"arm {claim.arm} is not run at this scale"
    return ""


def _power(plan: Plan, contrasts: list[Contrast], known: list[Record]) -> tuple[float | None, float | None]:
    """(smallest effect, sd) of the hardest of the contrasts; None where no earlier records tell the spread."""
    from replicate.stats import smallest_effect

    found: list[tuple[float, float]] = []
    for contrast in contrasts:
        sd = paired_sd(plan, contrast, known)
        effect = None if sd is None else smallest_effect(len(plan.seeds), sd)
        if sd is None or effect is None:
            return None, None
        found.append((effect, sd))
    return max(found) if found else (None, None)


def paired_sd(plan: Plan, contrast: Contrast, known: list[Record]) -> float | None:
    """Spread of better - worse over the seeds that earlier records of the same profile share (at least three)."""
    sides = [_by_seed(plan, arm, contrast.metric, known) for arm in (contrast.better, contrast.worse)]
    shared = sides[0].keys() & sides[1].keys()
    if len(shared) < 3:
        return None
    return statistics.stdev(sides[0][seed] - sides[1][seed] for seed in shared)


def _by_seed(plan: Plan, arm: str, metric: str, known: list[Record]) -> Mapping[int, float]:
    trial = next((t for t in plan.trials if t.arm == arm), None)
    if trial is None:
        return {}
    stated = plan.task.metrics.get(metric, Metric(unit=""))
    return {
        record.spec.seed: stated.worst if record.status == "diverged" else record.metrics[metric]
        for record in known
        if similar(trial, record) and (record.status == "diverged" or metric in record.metrics)
    }
