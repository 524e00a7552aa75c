"""Assignment against brute force, written as the papers state it."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torchvision.ops import box_iou

from replicate.tasks.detection.assign import IGNORE, Grid, assign, make_grid

CLASSES = 5


def _objects(seed: int, batch: int = 3, most: int = 6, side: int = 64) -> tuple[Tensor, Tensor]:
    draws = torch.Generator().manual_seed(seed)
    corner = torch.rand(batch, most, 2, generator=draws) * (side - 8)
    size = 4 + torch.rand(batch, most, 2, generator=draws) ** 2 * 50
    boxes = torch.cat((corner, (corner + size).clamp(max=side)), -1)
    labels = torch.randint(0, CLASSES, (batch, most), generator=draws)
    labels[0, 2:] = -1
    boxes[0, 2:] = 0.0
    labels[1] = -1
    return boxes, labels


def _grid(style: str) -> Grid:
    return make_grid([(8, 8), (4, 4), (2, 2)], (8, 16, 32), style)


def _brute_centre(grid: Grid, boxes: Tensor, labels: Tensor, radius: float, reach: float) -> Tensor:
    found = torch.full((len(boxes), len(grid.points)), -9)
    for b in range(len(boxes)):
        for p, ((x, y), s) in enumerate(zip(grid.points.tolist(), grid.stride.tolist(), strict=True)):
            best = (math.inf, CLASSES, -9)
            for m, (x1, y1, x2, y2) in enumerate(boxes[b].tolist()):
                if labels[b, m] < 0 or not (x1 < x < x2 and y1 < y < y2):
                    continue
                far = max(x - x1, x2 - x, y - y1, y2 - y)
                low = 0 if s == 8 else s * reach / 2
                high = math.inf if s == 32 else s * reach
                near = max(abs(x - (x1 + x2) / 2), abs(y - (y1 + y2) / 2)) < radius * s
                if near and low < far <= high:
                    best = min(best, ((x2 - x1) * (y2 - y1), int(labels[b, m]), m))
            found[b, p] = best[2]
    return found


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("reach", [2.0, 8.0])
def test_centre_sampling(seed: int, reach: float) -> None:
    grid, (boxes, labels) = _grid("fcos"), _objects(seed)
    targets = assign(grid, boxes, labels, CLASSES, {"radius": 1.5, "reach": reach})
    match = _brute_centre(grid, boxes, labels, 1.5, reach)
    assert (match >= 0).any()
    expected = torch.where(match >= 0, labels.gather(1, match.clamp(min=0)), CLASSES)
    assert torch.equal(targets.labels, expected)
    image, where = torch.nonzero(match >= 0, as_tuple=True)
    assert torch.equal(targets.boxes[image, where], boxes[image, match[image, where]])


@pytest.mark.parametrize("seed", range(5))
def test_iou_matching(seed: int) -> None:
    grid, (boxes, labels) = _grid("retina"), _objects(seed)
    assert grid.anchors is not None
    targets = assign(grid, boxes, labels, CLASSES, {"positive": 0.5, "negative": 0.4})
    anchors = grid.anchors
    for b in range(len(boxes)):
        valid = [m for m in range(boxes.shape[1]) if labels[b, m] >= 0]
        iou = box_iou(anchors, boxes[b, valid])  # ties are exact: the same floats as in the batched form
        expected = torch.full((len(anchors),), CLASSES)
        if valid:
            best, which = iou.max(1)
            expected[(best >= 0.4) & (best < 0.5)] = IGNORE
            owner = torch.where(best >= 0.5, which, -1)
            for k in range(len(valid)):  # later objects take the anchor from earlier ones
                owner[iou[:, k] == iou[:, k].max()] = k
            expected[owner >= 0] = labels[b][valid][owner[owner >= 0]]
            assert torch.equal(targets.boxes[b, owner >= 0], boxes[b][valid][owner[owner >= 0]])
        assert torch.equal(targets.labels[b], expected)


def test_every_object_has_an_anchor_even_when_none_fits_well() -> None:
    boxes = torch.tensor([[[30.0, 30.0, 33.0, 34.0]]])
    targets = assign(_grid("retina"), boxes, torch.tensor([[2]]), CLASSES, {"positive": 0.5, "negative": 0.4})
    assert (targets.labels == 2).any()


def test_geometry_of_anchors() -> None:
    grid = make_grid([(2, 3)], (8,), "retina")
    assert grid.anchors is not None
    assert grid.sizes == (2 * 3 * 9,)
    size = grid.anchors[:, 2:] - grid.anchors[:, :2]
    torch.testing.assert_close(size.prod(1).sqrt()[:3], torch.tensor([32.0, 32 * 2 ** (1 / 3), 32 * 2 ** (2 / 3)]))
    torch.testing.assert_close((size[:, 1] / size[:, 0])[:9], torch.tensor([0.5, 1.0, 2.0]).repeat_interleave(3))
    centre = (grid.anchors[:, 2:] + grid.anchors[:, :2]) / 2
    torch.testing.assert_close(centre[9:18], torch.tensor([[8.0, 0.0]]).expand(9, 2))


@pytest.mark.parametrize("style", ["fcos", "retina"])
def test_no_object_is_all_background(style: str) -> None:
    rules = {"radius": 1.5, "reach": 2.0, "positive": 0.5, "negative": 0.4}
    for boxes, labels in (
        (torch.zeros(2, 0, 4), torch.zeros(2, 0, dtype=torch.long)),
        (torch.zeros(2, 3, 4), torch.full((2, 3), -1)),
    ):
        assert bool((assign(_grid(style), boxes, labels, CLASSES, rules).labels == CLASSES).all())
