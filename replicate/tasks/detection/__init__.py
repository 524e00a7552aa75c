"""One-stage object detection: backbone + FPN + the arm's head, in FCOS or RetinaNet style, judged by COCO AP.

An arm is a head builder ``build(channels, levels, **options) -> nn.Module``: its forward takes the pyramid
``[(B, C, H_l, W_l)]``, finest first, and returns ``[(cls_feature, box_feature)]`` of the same shapes.
Importing this package does not import torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from replicate.tasks.detection.profiles import METRICS, PROFILES

if TYPE_CHECKING:
    from replicate.tasks.base import Outcome, Run

__all__ = ["METRICS", "PROFILES", "run_trial"]


def run_trial(run: Run) -> Outcome:
    """Train the arm's detector and evaluate it (see ``replicate.tasks.detection.trial``)."""
    from replicate.tasks.detection.trial import run_trial as run_it

    return run_it(run)
