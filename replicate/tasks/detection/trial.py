"""One trial: build the arm's detector, train it, evaluate it, count its cost."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from replicate import cost
from replicate.datasets.base import DetectionData
from replicate.nn.backbone import ResNet50
from replicate.nn.init import keyed_build, stream_seed
from replicate.tasks.base import DataError, Diverged, Outcome, Run
from replicate.tasks.detection.decode import decode
from replicate.tasks.detection.evaluate import coco_metrics
from replicate.tasks.detection.feeds import Batch, Feed, FolderFeed, MemoryFeed
from replicate.tasks.detection.fit import Trainer
from replicate.tasks.detection.model import Detector, scale_head_


def run_trial(run: Run) -> Outcome:
    """Train and evaluate the arm of ``run``: a pure function of arm, profile, seed, device and threads.

    Raises DataError for missing data and Diverged when training or its result is not finite.
    """
    settings = run.settings
    torch.manual_seed(stream_seed("global", run.seed))
    train, evaluation, feed, steps = load_data(run)
    model = build_detector(run, train.num_classes).to(run.device)
    if settings["channels_last"]:
        model = model.to(memory_format=torch.channels_last)
    trainer = Trainer(model, settings, steps, device=run.device, workdir=run.workdir)
    truth = evaluation.coco()
    few = int(settings["curve_images"])

    def score(detector: Detector) -> float:
        return evaluate(detector, feed, evaluation, truth, settings, run.device, few)[0]["AP50"]

    fitted = trainer.fit(feed, score, run.log)
    started = process_time()
    metrics, notes = evaluate(model, feed, evaluation, truth, settings, run.device)
    images = steps * int(settings["batch"])
    return Outcome(
        metrics=metrics,
        curves={"step": [float(s) for s in fitted.steps], "loss": fitted.loss, "AP50": fitted.scores},
        cost={
            "train_seconds": fitted.seconds,
            "train_cpu_seconds": fitted.cpu_seconds,
            "train_images_per_second": images / max(fitted.seconds, 1e-9),
            "eval_cpu_seconds": process_time() - started,
            **_model_cost(model, settings, run.device),
        },
        notes=notes,
    )


def build_detector(run: Run, num_classes: int) -> Detector:
    """The arm's detector with initial weights keyed by seed and parameter name, on the CPU."""
    settings = run.settings
    head = partial(run.arm.build, **run.arm.options)
    model = keyed_build(lambda: Detector(head, settings, num_classes), run.seed)
    scale_head_(model.head, float(settings["head_gain"]))
    if settings["pretrained"]:
        _load_pretrained(model, run.data_paths.get("resnet50"))
    return model


def _load_pretrained(model: Detector, path: Path | None) -> None:
    if path is None:
        raise DataError(
            "detection: no ImageNet weights of ResNet-50; give torchvision's file with --data resnet50=PATH"
        )
    assert isinstance(model.backbone, ResNet50)
    try:
        model.backbone.load_classifier(torch.load(path, map_location="cpu", weights_only=True))
    except (OSError, RuntimeError, KeyError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path}: not the weights of a torchvision ResNet-50 ({reason})") from error


def load_data(run: Run) -> tuple[DetectionData, DetectionData, Feed, int]:
    """Training and evaluation data of the profile, their feed, and the number of training steps."""
    settings = run.settings
    if run.profile.data == "coco":
        from replicate.datasets.coco import open_coco

        photos = open_coco(settings["train_split"], run.data_paths, train=True)
        held_out = open_coco(settings["eval_split"], run.data_paths)
        reader = FolderFeed(photos, held_out, settings, run.seed, workers=int(settings["workers"]))
        steps = min(settings["epochs"] * reader.steps_per_epoch, settings["most_steps"] or sys.maxsize)
        return photos, held_out, reader, steps
    from replicate.datasets.scenes import render

    world = settings["world"]
    train = render("train", settings["train_images"], seed=settings["train_data_seed"], **world)
    evaluation = render(settings["eval_split"], settings["eval_images"], seed=settings["eval_data_seed"], **world)
    return train, evaluation, MemoryFeed(train, evaluation, settings, run.seed, run.device), int(settings["steps"])


def evaluate(
    model: Detector,
    feed: Feed,
    data: DetectionData,
    truth: Mapping[str, Any],
    settings: Mapping[str, Any],
    device: str,
    most: int | None = None,
) -> tuple[dict[str, float], list[str]]:
    """COCO metrics on the evaluation images, or on the first ``most``.

    Raises Diverged on output that is not finite.
    """
    model.eval()
    detections = np.concatenate([np.zeros((0, 7)), *_detect(model, feed.evaluation(most), data, settings, device)])
    if most is not None:
        kept = set(data.image_ids[:most])
        truth = {
            **truth,
            "images": [image for image in truth["images"] if image["id"] in kept],
            "annotations": [a for a in truth["annotations"] if a["image_id"] in kept],
        }
    return coco_metrics(truth, detections, settings["area_edges"])


@torch.no_grad()
def _detect(
    model: Detector, batches: Iterator[Batch], data: DetectionData, settings: Mapping[str, Any], device: str
) -> Iterator[NDArray[np.float64]]:
    image_ids, category_ids = np.array(data.image_ids), np.array(data.category_ids)
    amp = bool(settings["amp"]) and device.startswith("cuda")
    for batch in batches:
        batch = batch.to(device)
        with torch.autocast("cuda", dtype=torch.float16, enabled=amp):
            out = model(batch.images)
        if not bool(torch.isfinite(out.logits).all() & torch.isfinite(out.boxes).all()):
            raise Diverged("the trained detector's output is not finite")
        found = decode(out, batch.sizes, settings["decode"])
        boxes = found.boxes / batch.zoom[found.image].repeat(1, 2)
        wide = torch.cat((boxes[:, :2], boxes[:, 2:] - boxes[:, :2]), 1).double().cpu().numpy()
        where = batch.index[found.image].cpu().numpy()
        yield np.column_stack(
            (image_ids[where], wide, found.scores.double().cpu().numpy(), category_ids[found.labels.cpu().numpy()])
        )


def _model_cost(model: Detector, settings: Mapping[str, Any], device: str) -> dict[str, float]:
    height, width = settings["cost_size"]
    image = torch.zeros(1, 3, height, width, device=device)
    model.eval()
    trainable, total = cost.count_parameters(model)
    head_trainable, _ = cost.count_parameters(model.head)
    with torch.no_grad():
        return {
            "parameters": float(trainable),
            "parameters_total": float(total),
            "head_parameters": float(head_trainable),
            "macs": float(cost.count_macs(model, (image,))),
            "head_macs": float(cost.count_macs(model.head, (model.fpn(model.backbone(image)),))),
            "latency_ms": cost.latency_ms(lambda: model(image), repeats=10, warmup=3, device=device).median_ms,
            "peak_memory_mb": cost.peak_memory_mb(device),
        }
