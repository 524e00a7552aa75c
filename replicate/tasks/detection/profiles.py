"""What each scale means for detection: data, model, recipe, gate. Light: imports no torch.

Sizes of objects follow the images: the edges between small, medium and large (APs, APm, APl) are areas in square
pixels, COCO's own (32**2 and 96**2) for ``full``, else squares of about a fifth and two fifths of the image's side.
How the recipe of the reduced profiles was found, on other seeds and other photographs: docs/tuning/detection.md.
"""

from __future__ import annotations

from typing import Any

from replicate.tasks.base import Gate, Metric, Profile

METRICS: dict[str, Metric] = {
    "AP": Metric("AP points", says="COCO box AP: mean over IoU .50 to .95 and classes"),
    "AP50": Metric("AP points", says="box AP at IoU .50"),
    "AP75": Metric("AP points", says="box AP at IoU .75"),
    "APs": Metric("AP points", says="box AP of small objects (area below the profile's first edge)"),
    "APm": Metric("AP points", says="box AP of medium objects (area between the profile's edges)"),
    "APl": Metric("AP points", says="box AP of large objects (area above the profile's second edge)"),
}

_QUICK: dict[str, Any] = {
    # data: few drawings and classes, since a few hundred steps cannot learn many; every class at every size, 1 to 7
    "world": {
        "size": 64,
        "num_classes": 5,
        "sprites_per_class": 2,
        "objects": [1, 4],
        "scale": [0.12, 0.8],
        "distractors": [0, 1],
        "holdout": "photo",
    },
    "train_images": 2000,
    "train_data_seed": 0,
    "eval_images": 400,
    "eval_data_seed": 1,
    "eval_split": "test",
    # model: strides 4, 8, 16, 32 (from 8 up the small objects are lost: AP50 7 instead of 25)
    "style": "fcos",
    "backbone": {
        "name": "tiny",
        "widths": [16, 32, 48, 64, 64],
        "blocks": [0, 1, 1, 1, 1],
        "out_stages": [1, 2, 3, 4],
        "stem_stride": 2,
    },
    "channels": 32,
    "levels": 4,
    "head_gain": 8.0,
    "pred_gain": 1.0,
    "channels_last": True,
    "pretrained": False,
    "assign": {"radius": 1.5, "reach": 3.0},
    "loss": {"alpha": 0.25, "gamma": 2.0, "box_weight": 1.0, "quality": "centerness"},
    "decode": {"candidates": 200, "score": 0.05, "nms": 0.5, "most": 30},
    "area_edges": [13.0**2, 26.0**2],
    # recipe
    "optimizer": {"name": "adamw", "lr": 0.003, "weight_decay": 0.01},
    "schedule": {"name": "onecycle", "warmup": 0.1},
    "steps": 500,
    "batch": 8,
    "eval_batch": 50,
    "clip": 10.0,
    "flip": 0.5,
    "jitter": 0.1,
    "amp": False,
    "curve_points": 2,
    "curve_images": 100,
    "checkpoint_every": 250,
    "cost_size": [64, 64],
}

_LONG: dict[str, Any] = {**_QUICK, "train_images": 4000, "steps": 1000, "curve_points": 4}

_SMOKE: dict[str, Any] = {
    **_QUICK,
    "train_images": 48,
    "eval_images": 24,
    "steps": 12,
    "batch": 8,
    "curve_points": 2,
    "curve_images": 12,
    "checkpoint_every": 1000,
}

_GPU: dict[str, Any] = {
    **_QUICK,
    "world": {**_QUICK["world"], "size": 320, "num_classes": 20, "sprites_per_class": 8, "scale": [0.06, 0.9]},
    "train_images": 6000,
    "eval_images": 1000,
    # strides 8 to 128, as in the paper
    "backbone": {
        "name": "tiny",
        "widths": [64, 128, 256, 512],
        "blocks": [1, 2, 2, 2],
        "out_stages": [1, 2, 3],
        "stem_stride": 4,
    },
    "channels": 256,
    "levels": 5,
    "head_gain": 2.0,
    "decode": {"candidates": 1000, "score": 0.05, "nms": 0.5, "most": 100},
    "area_edges": [64.0**2, 128.0**2],
    "optimizer": {"name": "adamw", "lr": 0.001, "weight_decay": 0.05},
    "steps": 1500,
    "amp": True,
    "curve_points": 5,
    "curve_images": 200,
    "checkpoint_every": 500,
    "cost_size": [320, 320],
}

_FULL: dict[str, Any] = {
    "train_split": "train2017",
    "eval_split": "val2017",
    "short_side": 800,
    "long_side": 1333,
    "style": "retina",
    "backbone": {"name": "resnet50"},
    "channels": 256,
    "levels": 5,
    "head_gain": 1.0,
    "pred_gain": 1.0,
    "channels_last": True,
    "pretrained": True,
    "assign": {"positive": 0.5, "negative": 0.4},
    "loss": {"alpha": 0.25, "gamma": 2.0, "box_weight": 1.0},
    "decode": {"candidates": 1000, "score": 0.05, "nms": 0.5, "most": 100},
    "area_edges": [32.0**2, 96.0**2],
    "optimizer": {"name": "sgd", "lr": 0.01, "momentum": 0.9, "weight_decay": 0.0001},
    "schedule": {"name": "steps", "warmup": 500, "drops": [8 / 12, 11 / 12]},
    "epochs": 12,
    "most_steps": None,
    "batch": 16,
    "eval_batch": 4,
    "clip": 35.0,
    "flip": 0.5,
    "amp": True,
    "curve_points": 4,
    "curve_images": 500,
    "checkpoint_every": 500,
    "workers": 8,
    "cost_size": [800, 1344],
}

_BAR = 15.0
_UNTRAINED, _LONG_RUN = 0.0, 68.6
"""AP50 of the plain head on tuning seed 1000: without training, and after 960 steps of 8 images (docs/tuning)."""

_QUICK_GATE = Gate(
    "AP50",
    floor=max(_BAR, 3 * _UNTRAINED, _LONG_RUN / 2),
    untrained=_UNTRAINED,
    long_run=_LONG_RUN,
    why="half of what twice the steps reach on a tuning seed, and never below 15",
)
_LONG_GATE = Gate(
    "AP50",
    floor=50.0,
    untrained=_UNTRAINED,
    long_run=100.0,
    why="half of the most that AP50 can be, so half of any longer run",
)

PROFILES: dict[str, Profile] = {
    "smoke": Profile("smoke", 1, "scenes", _SMOKE, "AP", seconds=6.0),
    "quick": Profile("quick", 1, "scenes", _QUICK, "AP", gate=_QUICK_GATE, seconds=55.0),
    "long": Profile("long", 1, "scenes", _LONG, "AP", gate=_LONG_GATE, seconds=105.0),
    "gpu": Profile("gpu", 1, "scenes", _GPU, "AP", seconds=500.0),
    "full": Profile("full", 1, "coco", _FULL, "AP", protocol="full", seconds=12 * 3600.0),
}
