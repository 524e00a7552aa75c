"""The report on synthetic studies: realistic, empty, hostile, and large."""

from __future__ import annotations

import csv
import io
import json
import math
import random
import re
import time
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from replicate.errors import UserError
from replicate.judgement import ContrastResult, Estimate, GateResult, Judgement, Verdict, Word
from replicate.manifest import Manifest
from replicate.records import Record, Spec
from replicate.report import assemble, build, figures, html, markdown, model, numbers, terminal, write
from replicate.report.words import LOOKS, look
from replicate.study import Study
from replicate.tasks.base import Checked, Gate, Metric

METRICS = {
    "AP": Metric("AP points", worst=0.0, says="box AP, IoU 0.50 to 0.95"),
    "AP50": Metric("AP points"),
    "APs": Metric("AP points"),
    "APm": Metric("AP points"),
    "APl": Metric("AP points"),
}
SKILL = {  # final AP of each synthetic arm
    "plain": 11.0,
    "pconv": 12.6,
    "ibn_pconv": 13.1,
    "lite": 13.4,
    "full": 14.6,
    "individual_bn": 6.5,
    "placebo": 11.4,
    "placebo_deform": 12.7,
}
FAMILIES = {"AP by object size": ("APs", "APm", "APl")}


def manifest(title: str = "Scale-Equalizing Pyramid Convolution for Object Detection", says: str = "") -> Manifest:
    roles = {"plain": "baseline", "full": "method", "placebo": "placebo", "placebo_deform": "placebo"}
    here = {"where": "paper", "locator": "table 2"}

    def claim(id_: str, kind: str, text: str, **more: Any) -> dict[str, Any]:
        return {
            "id": id_,
            "kind": kind,
            "says": says or text,
            "metric": "AP",
            "unit": "AP points",
            "source": here,
        } | more

    claims = [
        claim("pconv_order", "ordering", "PConv beats the plain head", contrasts=["pconv_plain"]),
        claim("ibn_order", "ordering", "iBN helps on top of PConv", contrasts=["ibn_pconv"], low=0.2, high=1.2),
        claim("sepc_order", "ordering", "SEPC beats iBN + PConv", contrasts=["sepc_ibn"]),
        claim("individual_bn", "ordering", "Individual BN collapses", contrasts=["none_individual"]),
        claim("lite_over_ibn", "ordering", "SEPC-lite beats PConv + iBN", contrasts=["lite_ibn"]),
        claim("gain4", "gain", "SEPC adds more than 4 AP", contrasts=["sepc_plain"], low=4.0),
        claim("retina_r50", "absolute", "RetinaNet R50 reaches 39.6", value=39.6, baseline=35.6, arm="full"),
        claim("flops", "structural", "One PConv costs 1.4985 of a conv", value=1.4985, check="flops", unit="ratio"),
        claim("equal", "structural", "Zero offsets make SEPC equal PConv", check="equal", unit="none"),
        claim(
            "latency",
            "efficiency",
            "7 % more time",
            value=7,
            unit="%",
            blocked={"why": "compute", "says": "1080Ti"},
        ),
    ]
    contrasts = [
        {"id": "pconv_plain", "better": "pconv", "worse": "plain", "placebo": "placebo", "primary": 1},
        {"id": "sepc_ibn", "better": "full", "worse": "ibn_pconv", "placebo": "placebo_deform", "primary": 2},
        {"id": "ibn_pconv", "better": "ibn_pconv", "worse": "pconv", "placebo_reason": "adds no capacity"},
        {"id": "none_individual", "better": "pconv", "worse": "individual_bn", "placebo_reason": "a collapse"},
        {"id": "lite_ibn", "better": "lite", "worse": "ibn_pconv", "placebo": "placebo_deform"},
        {"id": "sepc_plain", "better": "full", "worse": "plain", "placebo": "placebo"},
    ]
    return Manifest.model_validate(
        {
            "schema": 1, "slug": "sepc", "version": 1, "title": title, "year": 2020, "venue": "CVPR",
            "family": "detection", "arxiv": "2005.03101", "code": "github.com/jshilong/SEPC",
            "licence": "Apache-2.0", "task": "detection",
            "summary": "A convolution over (scale, y, x) in the head, corrected for the pyramid's uneven blur.",
            "arms": {
                a: {"role": roles.get(a, "variant"), "builder": a, "says": says or f"the {a} head"} for a in SKILL
            },
            "contrasts": [{"metric": "AP"} | c for c in contrasts],
            "claims": claims,
            "scales": {"quick": {"profile": "small", "seeds": 5}, "long": {"profile": "small", "seeds": 10}},
            "deviations": [
                {"what": says or "data", "paper": "COCO", "ours": "sprites on photographs", "sign": "?"},
                {"what": "backbone", "paper": "ResNet-50", "ours": "small CNN", "sign": "-"},
            ],
        }
    )  # fmt: skip


def record(arm: str, seed: int, scale: str, rng: random.Random, *, steps: int = 12, bad: bool = False) -> Record:
    spec = Spec(f"papers.sepc:{arm}", 1, {"depth": 4}, "detection", "small", 1, {"px": 96}, "scenes@1", scale, seed)
    ap = SKILL[arm] + random.Random(seed).gauss(0, 0.7) + rng.gauss(0, 0.35)
    xs = [50.0 * (i + 1) for i in range(steps)]
    curve = [ap * (1 - math.exp(-x / 180)) + rng.gauss(0, 0.15) for x in xs]
    values = {"AP": ap, "AP50": 2.1 * ap, "APs": 0.4 * ap, "APm": 1.1 * ap, "APl": 1.5 * ap}
    deform = arm in ("lite", "full", "placebo_deform")
    return Record(
        spec.key, spec, "diverged" if bad else "ok",
        metrics={k: 0.0 for k in values} if bad else values,
        curves={"step": xs, "AP": curve, "loss": [3 * math.exp(-x / 300) for x in xs]},
        cost={"head_macs": 9.1e6 * (1.3 if deform else 1), "train_seconds": 31 + 20 * deform + rng.random()},
        seconds=33.0, cpu_seconds=31.0, finished="2026-01-01T00:00:00Z",
        provenance={"code": "ab12", "versions": {"torch": "2.6.0"}, "machine": {"cpu": "x86-64", "cores": 2}},
    )  # fmt: skip


def effect(a: list[float], b: list[float], p: float) -> Estimate:
    e = assemble.estimate({i: x - y for i, (x, y) in enumerate(zip(a, b, strict=True))})
    return replace(e, p=p, p_adjusted=min(1.0, 2 * p), p_opposite=1 - p)


def make(
    scale: str = "long", seeds: int = 10, *, stop: int | None = None, m: Manifest | None = None, **more: Any
) -> model.PaperReport:
    """A report with ``seeds`` seeds of eight arms, of which the first ``stop`` are there."""
    m = m or manifest()
    rng = random.Random(7)
    records, keys = {}, {}
    for arm in SKILL:
        keys[arm] = {}
        for seed in range(seeds):
            r = record(arm, seed, scale, rng, bad=(arm == "individual_bn" and seed == 3))
            keys[arm][str(seed)] = r.key
            if stop is None or seed < stop:
                records[r.key] = r
    digest = dict.fromkeys([c.id for c in m.claims], "0")
    study = Study(m.slug, scale, "small", 1, 1, seeds, tuple(range(seeds)), digest, {}, keys)
    n = min(seeds, seeds if stop is None else stop)
    return build(
        m, study, judge(m, keys, records, n, seeds, scale), records, metrics=METRICS,
        gate=Gate("AP50", 15.0, 1.0, 30.0, "three times untrained"),
        checks={"flops": Checked(True, 1.498534, 1.4985), "equal": Checked(True, detail="bit-equal"),
                "padding": Checked(True, detail="padding 1 keeps the grid")},
        stale=list(records)[:1], metric_families=FAMILIES, cost_axis="train_seconds", **more,
    )  # fmt: skip


def judge(m: Manifest, keys: Any, records: Any, n: int, planned: int, scale: str) -> Judgement:
    def ap(arm: str) -> list[float]:
        return [records[k].metrics["AP"] for k in keys[arm].values() if k in records]

    words = {"pconv_plain": Word.SUPPORTED, "sepc_ibn": Word.SPECIFICITY_OPEN, "ibn_pconv": Word.INCONCLUSIVE,
             "none_individual": Word.SUPPORTED, "lite_ibn": Word.OPPOSITE, "sepc_plain": Word.SUPPORTED}  # fmt: skip
    contrasts = {}
    for c in m.contrasts:
        got = n == planned
        contrasts[c.id] = ContrastResult(
            c.id, words[c.id] if got else Word.PENDING, "because the test says so", c.primary, n, planned,
            effect=effect(ap(c.better), ap(c.worse), 0.004) if n else None,
            over_placebo=effect(ap(c.better), ap(c.placebo), 0.03) if n and c.placebo else None,
            smallest_effect=0.62 if n > 1 else None, seeds_needed=14 if n else None,
            keys=tuple(k for a in (c.better, c.worse) for k in keys[a].values() if k in records),
        )  # fmt: skip
    verdicts = {}
    for c in m.claims:
        word = contrasts[c.contrasts[0]].word if c.contrasts else Word.NOT_TESTED
        computed = None
        if c.kind == "gain" or c.kind == "absolute":
            word = Word.NOT_TESTED
        if c.kind == "structural":
            word, computed = Word.EXACT, 1.498534 if c.value else None
        if c.blocked:
            word = Word.BLOCKED
        verdicts[c.id] = Verdict(
            c.id, word, "one line that says why", scale, reduced=word not in (Word.EXACT, Word.BLOCKED),
            ours=contrasts[c.contrasts[0]].effect if c.contrasts else None, computed=computed, contrasts=c.contrasts,
        )  # fmt: skip
    gates = {a: GateResult(a, "AP50", n, 2.1 * SKILL[a], 15.0, a != "individual_bn") for a in SKILL if n == planned}
    return Judgement(m.slug, scale, True, 0.05, list(contrasts.values()), list(verdicts.values()), gates)
