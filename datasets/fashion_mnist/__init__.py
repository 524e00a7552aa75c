"""Fashion-MNIST: 60,000 + 10,000 grey images of clothes in ten balanced classes (Xiao et al., 2017)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from replicate.datasets.images import LabelledImages, fake_digits, read_idx, write_idx
from replicate.datasets.registry import where
from replicate.tasks.base import DataError

CLASS_NAMES = (
    "t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip
_PREFIX = {"train": "train", "test": "t10k"}


def load(split: Literal["train", "test"], data_paths: Mapping[str, Path] | None = None) -> LabelledImages:
    """``(N, 28, 28)`` grey images of the official split."""
    if split not in _PREFIX:
        raise DataError(f"fashion_mnist: split={split!r}; train or test")
    root, prefix = where("fashion_mnist", data_paths).root, _PREFIX[split]
    images = read_idx(root / f"{prefix}-images-idx3-ubyte.gz")
    labels = read_idx(root / f"{prefix}-labels-idx1-ubyte.gz")
    return LabelledImages(images, labels.astype(np.int64), CLASS_NAMES)


def fake_twin(path: Path, *, train: int = 50, test: int = 20) -> None:
    """Write four made-up files of the same layout."""
    path.mkdir(parents=True, exist_ok=True)
    for seed, (prefix, count) in enumerate((("train", train), ("t10k", test))):
        images, labels = fake_digits(count, seed)
        write_idx(path / f"{prefix}-images-idx3-ubyte.gz", images)
        write_idx(path / f"{prefix}-labels-idx1-ubyte.gz", labels)
