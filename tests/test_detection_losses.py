"""Box codes, losses and decoding against torchvision and against arithmetic by hand."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torchvision.models.detection._utils import BoxCoder
from torchvision.ops import generalized_box_iou, sigmoid_focal_loss

from replicate.tasks.detection.assign import IGNORE, Targets, make_grid
from replicate.tasks.detection.decode import decode
from replicate.tasks.detection.losses import (
    aligned_iou,
    centerness,
    decode_boxes,
    detection_loss,
    encode_deltas,
)
from replicate.tasks.detection.model import Predictions

RULES = {"alpha": 0.25, "gamma": 2.0, "box_weight": 1.5, "quality": "centerness"}
CLASSES = 3


def _boxes(count: int, seed: int = 0) -> torch.Tensor:
    draws = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=draws) * 40
    return torch.cat((corner, corner + 4 + torch.rand(count, 2, generator=draws) * 30), 1)


def test_deltas_are_those_of_torchvision_and_decoding_undoes_them() -> None:
    grid = make_grid([(4, 4)], (8,), "retina")
    assert grid.anchors is not None
    goal = _boxes(len(grid.anchors))
    deltas = encode_deltas(goal, grid.anchors)
    torch.testing.assert_close(deltas, BoxCoder((1.0, 1.0, 1.0, 1.0)).encode_single(goal, grid.anchors))
    torch.testing.assert_close(decode_boxes(deltas, grid), goal, atol=1e-4, rtol=1e-4)
    where = torch.tensor([3, 50])
    torch.testing.assert_close(decode_boxes(deltas[where], grid, where), goal[where], atol=1e-4, rtol=1e-4)


def test_distances_are_in_strides() -> None:
    grid = make_grid([(2, 2), (1, 1)], (8, 16), "fcos")
    raw = torch.tensor([[1.0, 0.5, 2.0, 0.25]]).expand(5, 4)
    boxes = decode_boxes(raw, grid)
    assert boxes[0].tolist() == [4 - 8, 4 - 4, 4 + 16, 4 + 2]
    assert boxes[4].tolist() == [8 - 16, 8 - 8, 8 + 32, 8 + 4]


def test_centerness_by_hand() -> None:
    box = torch.tensor([[0.0, 0.0, 10.0, 20.0]]).expand(3, 4)
    points = torch.tensor([[5.0, 10.0], [2.0, 10.0], [2.0, 5.0]])
    torch.testing.assert_close(centerness(points, box), torch.tensor([1.0, 0.5, math.sqrt(0.25 / 3)]))


def test_aligned_iou_is_the_diagonal_of_all_pairs() -> None:
    a, b = _boxes(20, 1), _boxes(20, 2)
    inside = (a[:, None, 2:].minimum(b[:, 2:]) - a[:, None, :2].maximum(b[:, :2])).clamp(min=0).prod(2)
    area_a, area_b = ((x[:, 2:] - x[:, :2]).prod(1) for x in (a, b))
    expected = (inside / (area_a[:, None] + area_b - inside)).diagonal()
    torch.testing.assert_close(aligned_iou(a, b), expected)


def _fcos_case() -> tuple[Predictions, Targets]:
    grid = make_grid([(4, 4)], (16,), "fcos")
    draws = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 16, CLASSES, generator=draws, requires_grad=True)
    out = Predictions(logits, torch.rand(2, 16, 4, generator=draws) + 0.5, torch.randn(2, 16, generator=draws), grid)
    labels = torch.full((2, 16), CLASSES)
    boxes = torch.zeros(2, 16, 4)
    for image, where, label, box in ((0, 5, 1, (10.0, 12.0, 40.0, 50.0)), (1, 10, 0, (20.0, 20.0, 60.0, 64.0))):
        labels[image, where], boxes[image, where] = label, torch.tensor(box)
    return out, Targets(labels, boxes)


@pytest.mark.parametrize("quality", ["centerness", "iou"])
def test_fcos_loss_is_the_sum_of_its_parts(quality: str) -> None:
    out, targets = _fcos_case()
    assert out.quality is not None
    onehot = torch.zeros(2, 16, CLASSES)
    onehot[0, 5, 1] = onehot[1, 10, 0] = 1
    focal = sigmoid_focal_loss(out.logits, onehot, 0.25, 2.0, reduction="sum") / 2
    giou, weight, branch = [], [], []
    for image, where in ((0, 5), (1, 10)):
        x, y = out.grid.points[where].tolist()
        left, top, right, bottom = (16 * out.boxes[image, where]).tolist()
        box = torch.tensor([[x - left, y - top, x + right, y + bottom]])
        goal = targets.boxes[image, where][None]
        giou.append(1 - generalized_box_iou(box, goal).item())
        weight.append(centerness(out.grid.points[where][None], goal).item())
        aim = torch.tensor(weight[-1]) if quality == "centerness" else aligned_iou(box, goal)[0]
        branch.append(F.binary_cross_entropy_with_logits(out.quality[image, where], aim).item())
    box_loss = sum(g * w for g, w in zip(giou, weight, strict=True)) / sum(weight)
    expected = focal.item() + 1.5 * box_loss + sum(branch) / 2
    assert detection_loss(out, targets, {**RULES, "quality": quality}).item() == pytest.approx(expected, rel=1e-5)


def test_retina_loss_is_the_sum_of_its_parts_and_skips_the_ignored() -> None:
    grid = make_grid([(2, 2)], (8,), "retina")
    assert grid.anchors is not None
    draws = torch.Generator().manual_seed(1)
    logits = torch.randn(1, 36, CLASSES, generator=draws, requires_grad=True)
    deltas = torch.randn(1, 36, 4, generator=draws, requires_grad=True)
    labels = torch.full((1, 36), CLASSES)
    labels[0, 3:9], labels[0, 12], labels[0, 20] = IGNORE, 2, 0
    goal = _boxes(36)[None]
    onehot = torch.zeros(36, CLASSES)
    onehot[12, 2] = onehot[20, 0] = 1
    kept = torch.tensor([i for i in range(36) if not 3 <= i < 9])
    focal = sigmoid_focal_loss(logits[0, kept], onehot[kept], 0.25, 2.0, reduction="sum")
    gap = (deltas[0, [12, 20]] - encode_deltas(goal[0, [12, 20]], grid.anchors[[12, 20]])).abs()
    smooth = torch.where(gap < 0.11, 0.5 * gap**2 / 0.11, gap - 0.055).sum()
    loss = detection_loss(Predictions(logits, deltas, None, grid), Targets(labels, goal), RULES)
    torch.testing.assert_close(loss, (focal + 1.5 * smooth) / 2)
    loss.backward()
    assert logits.grad is not None
    assert not logits.grad[0, 3:9].any()
    assert logits.grad[0, kept].all()


@pytest.mark.parametrize("style", ["fcos", "retina"])
def test_images_without_objects_give_a_finite_loss(style: str) -> None:
    grid = make_grid([(2, 2)], (8,), style)
    count = len(grid.points)
    quality = torch.zeros(1, count) if style == "fcos" else None
    out = Predictions(torch.zeros(1, count, CLASSES, requires_grad=True), torch.ones(1, count, 4), quality, grid)
    targets = Targets(torch.full((1, count), CLASSES), torch.zeros(1, count, 4))
    loss = detection_loss(out, targets, RULES)
    loss.backward()
    assert loss.item() == pytest.approx(count * CLASSES * 0.75 * 0.25 * math.log(2), rel=1e-4)


def _predict(boxes: list[tuple[int, int, float, tuple[float, float, float, float]]]) -> Predictions:
    """Detections planted on a grid of two levels: (image, position, logit of class 1, distances)."""
    grid = make_grid([(4, 4), (2, 2)], (16, 32), "fcos")
    logits, raw = torch.full((2, 20, CLASSES), -10.0), torch.ones(2, 20, 4)
    for image, where, logit, distances in boxes:
        logits[image, where, 1] = logit
        raw[image, where] = torch.tensor(distances)
    return Predictions(logits, raw, torch.full((2, 20), 20.0), grid)


NMS = {"candidates": 100, "score": 0.05, "nms": 0.5, "most": 100}
SIZES = torch.tensor([[64, 64], [64, 48]])


def test_decoding_clips_suppresses_and_sorts() -> None:
    out = _predict(
        [
            (1, 5, 3.0, (1, 1, 1, 1)),
            (0, 5, 1.0, (1, 1, 1, 1)),
            (0, 6, 2.0, (2, 1, 0.1, 1)),
            (0, 15, 0.0, (1, 1, 1, 1)),
        ]
    )
    found = decode(out, SIZES, NMS)
    # on image 0 position 6 covers position 5 and wins; the box of position 15 reaches over the edge
    assert found.image.tolist() == [0, 0, 1]
    assert found.labels.tolist() == [1, 1, 1]
    expected = [math.sqrt(1 / (1 + math.exp(-x))) for x in (2.0, 0.0, 3.0)]
    assert found.scores.tolist() == pytest.approx(expected, rel=1e-4)
    assert found.boxes[1].tolist() == [40, 40, 64, 64]


def test_decoding_clips_to_the_size_of_each_image() -> None:
    found = decode(_predict([(1, 7, 1.0, (1, 1, 1, 1)), (0, 7, 1.0, (1, 1, 1, 1))]), SIZES, NMS)
    assert found.boxes.tolist() == [[40, 8, 64, 40], [40, 8, 48, 40]]


def test_decoding_keeps_the_best_of_each_level_and_image() -> None:
    planted = [(0, i, 0.1 * i, (0.1, 0.1, 0.1, 0.1)) for i in range(20)] + [(1, 3, 0.5, (1.0, 1.0, 1.0, 1.0))]
    found = decode(_predict(planted), SIZES, {**NMS, "candidates": 3, "most": 4})
    level_scores = [15, 14, 13, 19, 18, 17]
    best = sorted(level_scores, reverse=True)[:4]
    assert found.image.tolist() == [0] * 4 + [1]
    assert found.scores[:4].tolist() == pytest.approx([math.sqrt(1 / (1 + math.exp(-0.1 * i))) for i in best], rel=1e-4)


def test_nothing_above_the_threshold_gives_no_detection() -> None:
    found = decode(_predict([]), SIZES, NMS)
    assert len(found.image) == len(found.boxes) == 0
