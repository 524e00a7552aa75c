"""What each scale means for detection: data, model, recipe, gate. Light: imports no torch."""

from __future__ import annotations

from typing import Any

from replicate.tasks.base import Gate, Metric, Profile

METRICS: dict[str, Metric] = {
    "AP": Metric("AP points", says="COCO box AP: mean over IoU .50 to .95, all classes, 100 boxes an image"),
    "AP50": Metric("AP points", says="box AP at IoU .50"),
    "AP75": Metric("AP points", says="box AP at IoU .75"),
    "APs": Metric("AP points", says="box AP of small objects (area below the profile's first edge)"),
    "APm": Metric("AP points", says="box AP of medium objects (area between the profile's edges)"),
    "APl": Metric("AP points", says="box AP of large objects (area above the profile's second edge)"),
}

_FOCAL = {"alpha": 0.25, "gamma": 2.0}

_TINY: dict[str, Any] = {
    "world": {
        "size": 64,
        "num_classes": 5,
        "objects": [3, 8],
        "scale": [0.12, 0.95],
        "distractors": [0, 1],
        "sprites_per_class": 2,
        "holdout": "photo",
    },
    "train_images": 3000,
    "train_data_seed": 0,
    "eval_images": 600,
    "eval_data_seed": 0,
    "eval_split": "test",
    "style": "fcos",
    "backbone": {"name": "tiny", "widths": [32, 64, 64, 64], "blocks": [0, 1, 1, 1], "out_stages": [1, 2, 3], "stem_stride": 4},
    "channels": 32,
    "levels": 4,
    "head_gain": 8.0,
    "pred_gain": 1.0,
    "channels_last": True,
    "pretrained": False,
    "assign": {"radius": 1.5, "reach": 3.0},
    "loss": {**_FOCAL, "box_weight": 1.0, "quality": "centerness"},
    "decode": {"candidates": 200, "score": 0.05, "nms": 0.5, "most": 100},
    "area_edges": [196.0, 784.0],
    "optimizer": {"name": "adamw", "lr": 0.003, "weight_decay": 0.01},
    "schedule": {"name": "onecycle", "warmup": 0.1},
    "steps": 300,
    "batch": 32,
    "eval_batch": 50,
    "clip": 10.0,
    "flip": 0.5,
    "jitter": 0.1,
    "amp": False,
    "curve_points": 4,
    "curve_images": 100,
    "checkpoint_every": 200,
    "cost_size": [64, 64],
}

PROFILES: dict[str, Profile] = {
    "quick": Profile("quick", 1, "scenes", _TINY, "AP", seconds=45.0),
}
