"""Whole trials at toy size: learning, determinism, shared weights, resuming, the COCO folder."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from replicate.datasets.coco import fake_twin
from replicate.nn.backbone import ResNet50
from replicate.tasks.base import Arm, DataError, Diverged, Outcome, Run
from replicate.tasks.detection import METRICS, PROFILES, run_trial
from replicate.tasks.detection.fit import Trainer, learning_rate
from replicate.tasks.detection.heads import PlainHead, plain_head
from replicate.tasks.detection.trial import build_detector

PLAIN = Arm("baseline", plain_head, {})


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPLICATE_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def _run(
    profile: str = "smoke", seed: int = 1000, arm: Arm = PLAIN, workdir: Path | None = None, **changes: Any
) -> Run:
    base = PROFILES[profile]
    return Run(arm, replace(base, settings={**base.settings, **changes}), "smoke", seed, workdir=workdir)


def _without_time(outcome: Outcome) -> dict[str, Any]:
    timed = {"seconds", "latency", "memory", "images_per_second"}
    cost = {k: v for k, v in outcome.cost.items() if not any(word in k for word in timed)}
    return {"metrics": dict(outcome.metrics), "curves": dict(outcome.curves), "cost": cost}


def test_profiles_are_light() -> None:
    code = "import sys, replicate.tasks.detection.profiles; assert not {'torch', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_smoke_trial_is_complete_and_repeatable() -> None:
    first, again, other = (run_trial(_run(seed=seed)) for seed in (1000, 1000, 1001))
    assert set(first.metrics) == set(METRICS)
    assert all(math.isfinite(v) and 0 <= v <= 100 for v in first.metrics.values())
    assert {len(curve) for curve in first.curves.values()} == {PROFILES["smoke"].settings["curve_points"]}
    assert next(iter(first.curves)) == "step"
    assert {"parameters", "macs", "train_seconds", "train_cpu_seconds", "latency_ms"} <= set(first.cost)
    assert _without_time(first) == _without_time(again)
    assert first.curves["loss"] != other.curves["loss"]


@pytest.mark.parametrize(("style", "bar"), [("fcos", 60.0), ("retina", 50.0)])
def test_four_images_are_learned_by_heart(style: str, bar: float, monkeypatch: pytest.MonkeyPatch) -> None:
    import replicate.datasets.scenes as scenes

    base = scenes.render
    monkeypatch.setattr(scenes, "render", lambda split, count, **options: base("train", 4, **options), raising=False)
    rules = {"radius": 1.5, "reach": 3.0, "positive": 0.5, "negative": 0.4}
    changes = {"style": style, "assign": rules, "steps": 150, "batch": 4, "jitter": 0.0, "flip": 0.0}
    changes["eval_data_seed"] = PROFILES["smoke"].settings["train_data_seed"]  # the very same four images
    optimizer = {"name": "adamw", "lr": 0.003, "weight_decay": 0.0}
    assert run_trial(_run(optimizer=optimizer, **changes)).metrics["AP50"] > bar


class _OtherHead(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.extra = nn.Conv2d(channels, channels, 1)
        self.cls_tower = PlainHead(channels, 2).cls_tower
        self.frozen = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.normal_(self.frozen.weight, std=0.5)
        self.frozen.requires_grad_(False)


def test_arms_share_the_weights_whose_names_they_share() -> None:
    def other_head(channels: int, levels: int) -> nn.Module:
        return _OtherHead(channels)

    plain = build_detector(_run(), 5).state_dict()
    model = build_detector(_run(arm=Arm("method", other_head, {})), 5)
    shared = set(plain) & set(model.state_dict())
    assert {name.split(".")[0] for name in shared} >= {"backbone", "fpn", "head", "cls_pred", "box_pred"}
    for name in shared:
        assert torch.equal(plain[name], model.state_dict()[name]), name
    another = build_detector(_run(seed=1001), 5).state_dict()
    assert not torch.equal(plain["head.cls_tower.0.weight"], another["head.cls_tower.0.weight"])
    # the gain for narrow heads leaves frozen kernels alone
    frozen = model.head.get_parameter("frozen.weight")
    assert frozen.std().item() == pytest.approx(0.5, rel=0.05)
    gain = float(PROFILES["smoke"].settings["head_gain"])
    assert plain["head.cls_tower.0.weight"].std().item() == pytest.approx(0.01 * gain, rel=0.1)


class _Killed(Exception):
    pass


def test_a_resumed_trial_equals_the_uninterrupted_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run_trial(_run(workdir=tmp_path / "whole", checkpoint_every=4))
    step: Callable[..., Any] = Trainer._step
    calls = []

    def dies(self: Trainer, batch: Any) -> Any:
        calls.append(self.done)
        if len(calls) == 8:
            raise _Killed
        return step(self, batch)

    monkeypatch.setattr(Trainer, "_step", dies)
    with pytest.raises(_Killed):
        run_trial(_run(workdir=tmp_path / "cut", checkpoint_every=4))
    assert (tmp_path / "cut" / "resume.pt").exists()
    resumed = run_trial(_run(workdir=tmp_path / "cut", checkpoint_every=4))
    assert calls[8:10] == [4, 5]
    assert _without_time(resumed) == _without_time(whole)
    assert resumed.cost["train_seconds"] > 0


def test_an_exploding_run_is_a_divergence() -> None:
    with pytest.raises(Diverged, match="loss"):
        run_trial(_run(optimizer={"name": "sgd", "lr": 1e6, "momentum": 0.9}, clip=1e9))


def test_learning_rates() -> None:
    cycle = {"name": "onecycle", "warmup": 0.1}
    rates = [learning_rate(k, 100, cycle) for k in range(100)]
    assert max(rates) == rates[10] == 1.0
    assert rates[:10] == sorted(rates[:10])
    assert rates[99] < 0.001
    official: Mapping[str, Any] = PROFILES["full"].settings["schedule"]
    steps = 12 * 7330
    assert learning_rate(0, steps, official) == pytest.approx(1 / 3)
    assert learning_rate(500, steps, official) == learning_rate(8 * 7330 - 1, steps, official) == 1.0
    assert learning_rate(8 * 7330, steps, official) == pytest.approx(0.1)
    assert learning_rate(11 * 7330, steps, official) == pytest.approx(0.01)


@pytest.fixture
def twin(tmp_path: Path) -> dict[str, Path]:
    fake_twin(tmp_path / "coco")
    weights = dict(ResNet50().body.state_dict().items())
    torch.save(weights, tmp_path / "resnet50.pth")
    return {"coco": tmp_path / "coco", "resnet50": tmp_path / "resnet50.pth"}


def test_the_full_protocol_runs_on_a_twin_of_coco(twin: dict[str, Path]) -> None:
    base = PROFILES["full"]
    tiny = {"batch": 2, "short_side": 96, "long_side": 128, "most_steps": 2, "workers": 0, "cost_size": [96, 128]}
    run = Run(PLAIN, replace(base, settings={**base.settings, **tiny}), "full", 1000, data_paths=twin)
    outcome = run_trial(run)
    assert set(outcome.metrics) == set(METRICS)
    assert outcome.curves["step"][-1] == 2
    assert outcome.cost["head_parameters"] == 4_720_640


def test_full_data_that_is_missing_is_named(twin: dict[str, Path]) -> None:
    run = Run(PLAIN, PROFILES["full"], "full", 1000, data_paths={})
    with pytest.raises(DataError, match="coco"):
        run_trial(run)
    run.data_paths = {"coco": twin["coco"]}
    with pytest.raises(DataError, match="resnet50=PATH"):
        run_trial(run)
    run.data_paths = {"coco": twin["coco"], "resnet50": twin["coco"] / "annotations" / "instances_val2017.json"}
    with pytest.raises(DataError, match="not the weights of a torchvision ResNet-50"):
        run_trial(run)
