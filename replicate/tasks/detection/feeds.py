"""Batches as a pure function of (seed, step): a resumed run sees what the uninterrupted one would have seen."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from replicate.datasets.base import DetectionData
from replicate.datasets.coco import CocoFolder, aspect_batches, hflip, resize_shorter
from replicate.nn.init import generator


@dataclass
class Batch:
    """Images with their objects.

    ``images (B, 3, H, W)`` float 0..255, padded with zeros; ``sizes (B, 2)`` height, width without padding;
    ``boxes (B, M, 4)`` in pixels; ``labels (B, M)``, -1 is padding; ``zoom (B, 2)`` new by old width and
    height; ``index (B,)`` number of the image in its dataset.
    """

    images: Tensor
    sizes: Tensor
    boxes: Tensor
    labels: Tensor
    zoom: Tensor
    index: Tensor

    def to(self, device: str) -> Batch:
        """The batch on another device."""
        return Batch(**{name: value.to(device, non_blocking=True) for name, value in vars(self).items()})


class Feed(Protocol):
    """Where batches come from."""

    def train(self, start: int, stop: int) -> Iterator[Batch]:
        """Training batches of steps ``start`` to ``stop - 1``."""
        ...

    def evaluation(self, most: int | None = None) -> Iterator[Batch]:
        """The evaluation images in order, or the first ``most`` of them."""
        ...


def pad_objects(data: DetectionData, most: int | None = None) -> tuple[Tensor, Tensor]:
    """Boxes ``(N, M, 4)`` and labels ``(N, M)`` of the first ``most`` images, padded with label -1."""
    count = len(data) if most is None else min(most, len(data))
    every = [(data.boxes(i), data.labels(i)) for i in range(count)]
    width = max(1, max(len(labels) for _, labels in every))
    boxes, labels = torch.zeros(count, width, 4), torch.full((count, width), -1, dtype=torch.long)
    for i, (box, label) in enumerate(every):
        boxes[i, : len(box)] = torch.from_numpy(np.asarray(box, np.float32))
        labels[i, : len(label)] = torch.from_numpy(np.asarray(label, np.int64))
    return boxes, labels


class MemoryFeed:
    """Images of one size, all in memory: flips and colour changes are drawn for the whole batch at once."""

    def __init__(
        self, train: DetectionData, evaluation: DetectionData, settings: Mapping[str, Any], seed: int, device: str
    ) -> None:
        self.seed, self.device = seed, device
        self.batch, self.eval_batch = int(settings["batch"]), int(settings["eval_batch"])
        self.flip, self.jitter = float(settings["flip"]), float(settings["jitter"])
        self._train = [t.to(device) for t in (_stack(train), *pad_objects(train))]
        self._eval = [t.to(device) for t in (_stack(evaluation), *pad_objects(evaluation))]
        self._orders: dict[int, Tensor] = {}

    def train(self, start: int, stop: int) -> Iterator[Batch]:
        """Every image once an epoch, in a new order; epochs follow each other without a gap."""
        for step in range(start, stop):
            index = self._index(step).to(self.device)
            images, boxes, labels = (t[index] for t in self._train)
            draws = generator(self.seed, "augment", step)
            flip = (torch.rand(self.batch, generator=draws) < self.flip).to(self.device)
            gain = 1 + self.jitter * (2 * torch.rand(self.batch, 1, 1, 1, generator=draws) - 1)
            tint = 255 * self.jitter / 2 * (2 * torch.rand(self.batch, 3, 1, 1, generator=draws) - 1)
            pixels = torch.where(flip[:, None, None, None], images.flip(3), images).float()
            pixels = (pixels * gain.to(self.device) + tint.to(self.device)).clamp(0, 255)
            yield self._pack(pixels, flip_boxes(boxes, flip, images.shape[3]), labels, index)

    def _index(self, step: int) -> Tensor:
        count = len(self._train[0])
        places = torch.arange(step * self.batch, (step + 1) * self.batch)
        return torch.stack([self._order(int(p) // count)[int(p) % count] for p in places])

    def _order(self, epoch: int) -> Tensor:
        if epoch not in self._orders:
            order = torch.randperm(len(self._train[0]), generator=generator(self.seed, "order", epoch))
            self._orders = {**{e: o for e, o in self._orders.items() if e >= epoch - 1}, epoch: order}
        return self._orders[epoch]

    def evaluation(self, most: int | None = None) -> Iterator[Batch]:
        """The evaluation images in order."""
        count = len(self._eval[0]) if most is None else min(most, len(self._eval[0]))
        for start in range(0, count, self.eval_batch):
            index = torch.arange(start, min(start + self.eval_batch, count), device=self.device)
            images, boxes, labels = (t[index] for t in self._eval)
            yield self._pack(images.float(), boxes, labels, index)

    @staticmethod
    def _pack(images: Tensor, boxes: Tensor, labels: Tensor, index: Tensor) -> Batch:
        sizes = torch.tensor(images.shape[2:], device=images.device).expand(len(images), 2)
        return Batch(images, sizes, boxes, labels, torch.ones(len(images), 2, device=images.device), index)


def _stack(data: DetectionData) -> Tensor:
    images: Any = getattr(data, "images", None)
    array = np.stack([data.image(i) for i in range(len(data))]) if images is None else np.array(images)
    return torch.from_numpy(array).permute(0, 3, 1, 2).contiguous()


def flip_boxes(boxes: Tensor, flip: Tensor, width: int | Tensor) -> Tensor:
    """Mirror the boxes ``(B, M, 4)`` of the images where ``flip (B,)`` holds, in images ``width`` pixels wide."""
    mirrored = torch.stack((width - boxes[..., 2], boxes[..., 1], width - boxes[..., 0], boxes[..., 3]), -1)
    return torch.where(flip[:, None, None], mirrored, boxes)


class FolderFeed:
    """Images of any size, read as they are needed and resized to ``short_side`` x ``long_side`` (COCO protocol).

    A batch holds images of one orientation, padded with zeros to a multiple of 32 pixels.
    """

    def __init__(
        self, train: CocoFolder, evaluation: CocoFolder, settings: Mapping[str, Any], seed: int, workers: int
    ) -> None:
        self._train = _TrainSteps(train, settings, seed)
        self._settings, self._data, self.workers = settings, evaluation, workers

    @property
    def steps_per_epoch(self) -> int:
        """Batches that hold every training image once."""
        return self._train.steps_per_epoch

    def train(self, start: int, stop: int) -> Iterator[Batch]:
        """Training batches, read by worker processes."""
        yield from self._read(self._train, range(start, stop))

    def evaluation(self, most: int | None = None) -> Iterator[Batch]:
        """The evaluation images in order."""
        reader = _EvalBatches(self._data, self._settings, most)
        yield from self._read(reader, range(len(reader)))

    def _read(self, dataset: Dataset[Batch], order: range) -> Iterator[Batch]:
        yield from DataLoader(dataset, batch_size=None, sampler=list(order), num_workers=self.workers)


class _TrainSteps(Dataset[Batch]):
    """Item ``step`` is the whole batch of that step."""

    def __init__(self, data: CocoFolder, settings: Mapping[str, Any], seed: int) -> None:
        self.data, self.settings, self.seed = data, settings, seed
        self.batch = int(settings["batch"])
        self._shapes = [data.shape(i) for i in range(len(data))]
        self._epoch, self._plan = 0, self._order(0)
        self.steps_per_epoch = len(self._plan)

    def _order(self, epoch: int) -> list[list[int]]:
        batches: list[list[int]] = aspect_batches(self._shapes, self.batch, seed=self.seed, epoch=epoch)
        return batches

    def __getitem__(self, step: int) -> Batch:
        epoch, place = divmod(step, self.steps_per_epoch)
        if self._epoch != epoch:
            self._epoch, self._plan = epoch, self._order(epoch)
        draws = torch.rand(self.batch, generator=generator(self.seed, "augment", step))
        return _collate(self.data, self._plan[place], (draws < float(self.settings["flip"])).tolist(), self.settings)


class _EvalBatches(Dataset[Batch]):
    def __init__(self, data: CocoFolder, settings: Mapping[str, Any], most: int | None) -> None:
        self.data, self.settings = data, settings
        self.count, self.batch = min(len(data), most or len(data)), int(settings["eval_batch"])

    def __len__(self) -> int:
        return math.ceil(self.count / self.batch)

    def __getitem__(self, k: int) -> Batch:
        index = list(range(k * self.batch, min((k + 1) * self.batch, self.count)))
        return _collate(self.data, index, [False] * len(index), self.settings)


def _collate(data: CocoFolder, index: list[int], flips: list[bool], settings: Mapping[str, Any]) -> Batch:
    pairs, labels = [], [data.labels(i) for i in index]
    for i, flip in zip(index, flips, strict=True):
        pair = resize_shorter(data.image(i), data.boxes(i), int(settings["short_side"]), int(settings["long_side"]))
        pairs.append(hflip(*pair) if flip else pair)
    sizes = torch.tensor([image.shape[:2] for image, _ in pairs])
    height, width = ((int(side) + 31) // 32 * 32 for side in sizes.amax(0))
    most = max(1, max(len(label) for label in labels))
    images = torch.zeros(len(index), 3, height, width)
    boxes, classes = torch.zeros(len(index), most, 4), torch.full((len(index), most), -1)
    for k, ((image, found), label) in enumerate(zip(pairs, labels, strict=True)):
        images[k, :, : sizes[k, 0], : sizes[k, 1]] = torch.from_numpy(image).permute(2, 0, 1)
        boxes[k, : len(found)] = torch.from_numpy(found)
        classes[k, : len(label)] = torch.from_numpy(label)
    original = torch.tensor([data.shape(i) for i in index])
    return Batch(images, sizes, boxes, classes, (sizes / original).flip(1), torch.tensor(index))
