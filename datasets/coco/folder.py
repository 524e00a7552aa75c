"""A COCO instances folder as :class:`replicate.datasets.base.DetectionData`; images are read when asked for."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from replicate.datasets.base import digest_files
from replicate.datasets.registry import where
from replicate.tasks.base import DataError


class CocoFolder:
    """One split of a COCO folder.

    Boxes are clipped to the image; those less than one pixel wide or high, or of area 0, are dropped. Crowd regions
    are no objects: they are kept apart in :meth:`crowd`, for a loss that ignores them. With ``train`` the images
    without a single usable object are left out, as the field does; evaluation keeps every image.
    """

    def __init__(self, root: Path, split: str, *, train: bool = False) -> None:
        self.folder = root / split
        path = root / "annotations" / f"instances_{split}.json"
        try:
            self._raw: dict[str, Any] = json.loads(path.read_bytes())
            categories = sorted(self._raw["categories"], key=lambda c: c["id"])
            self._category_ids = tuple(int(c["id"]) for c in categories)
            self._class_names = tuple(str(c["name"]) for c in categories)
            self._read_annotations(train)
        except OSError as error:
            raise DataError(f"{path}: {error.strerror or error}; a COCO folder has it") from error
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path}: not COCO instances JSON ({type(error).__name__}: {error})") from error
        if not self.folder.is_dir():
            raise DataError(f"{self.folder}: no such folder; the images of {split} go there")

    def _read_annotations(self, train: bool) -> None:
        label_of = {c: k for k, c in enumerate(self._category_ids)}
        by_image: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for annotation in self._raw["annotations"]:
            by_image[annotation["image_id"]].append(annotation)
        self._infos: list[dict[str, Any]] = []
        self._boxes: list[NDArray[np.float32]] = []
        self._labels: list[NDArray[np.int64]] = []
        self._crowd: list[NDArray[np.float32]] = []
        for info in self._raw["images"]:
            height, width, _ = int(info["height"]), int(info["width"]), info["file_name"]
            boxes, labels, crowd = [], [], []
            for annotation in by_image[info["id"]]:
                box = _clipped(annotation["bbox"], width, height)
                if box is None or annotation["area"] <= 0:
                    continue
                if annotation["iscrowd"]:
                    crowd.append(box)
                else:
                    boxes.append(box)
                    labels.append(label_of[annotation["category_id"]])
            if train and not boxes:
                continue
            self._infos.append(info)
            self._boxes.append(np.array(boxes, np.float32).reshape(-1, 4))
            self._labels.append(np.array(labels, np.int64))
            self._crowd.append(np.array(crowd, np.float32).reshape(-1, 4))

    def __len__(self) -> int:
        return len(self._infos)

    @property
    def num_classes(self) -> int:
        """Number of classes, without background."""
        return len(self._category_ids)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Name of each label, in the order of the category ids."""
        return self._class_names

    @property
    def category_ids(self) -> tuple[int, ...]:
        """COCO category id of each label (COCO's own ids have gaps: 80 ids from 1 to 90)."""
        return self._category_ids

    @property
    def image_ids(self) -> tuple[int, ...]:
        """COCO image id of each image."""
        return tuple(int(info["id"]) for info in self._infos)

    def shape(self, i: int) -> tuple[int, int]:
        """Height and width of image ``i`` in pixels, without reading it."""
        return int(self._infos[i]["height"]), int(self._infos[i]["width"])

    def image(self, i: int) -> NDArray[np.uint8]:
        """Image ``i`` as a writable ``(H, W, 3)`` RGB array. Raises DataError when it cannot be read."""
        path = self.folder / self._infos[i]["file_name"]
        try:
            with Image.open(path) as opened:
                pixels = np.array(opened.convert("RGB"))
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error})") from error
        if pixels.shape[:2] != self.shape(i):
            raise DataError(f"{path}: is {pixels.shape[:2]} (H, W), the annotations say {self.shape(i)}")
        return pixels

    def boxes(self, i: int) -> NDArray[np.float32]:
        """Boxes ``(K, 4)`` x1, y1, x2, y2 of the objects of image ``i``."""
        return self._boxes[i].copy()

    def labels(self, i: int) -> NDArray[np.int64]:
        """Labels ``(K,)`` of the objects of image ``i``."""
        return self._labels[i].copy()

    def crowd(self, i: int) -> NDArray[np.float32]:
        """Boxes ``(C, 4)`` of the crowd regions of image ``i``."""
        return self._crowd[i].copy()

    def coco(self) -> dict[str, Any]:
        """The ground truth as the file holds it, crowds included."""
        return self._raw


def _clipped(bbox: list[float], width: int, height: int) -> tuple[float, float, float, float] | None:
    x, y, w, h = bbox
    x1, y1, x2, y2 = max(0.0, x), max(0.0, y), min(float(width), x + w), min(float(height), y + h)
    return (x1, y1, x2, y2) if x2 - x1 >= 1 and y2 - y1 >= 1 else None


def open_coco(split: str, data_paths: Mapping[str, Path] | None = None, *, train: bool = False) -> CocoFolder:
    """A split (``train2017`` or ``val2017``) of the folder that the user named for ``coco``."""
    return CocoFolder(where("coco", data_paths).root, split, train=train)


def checksum(root: Path) -> str:
    """SHA-256 over the annotation files and over names and sizes of the images (not their 19 GB of pixels)."""
    files = [(p.name, p) for p in (root / "annotations").glob("instances_*.json")]
    total = hashlib.sha256(digest_files(files).encode())
    for folder in ("train2017", "val2017"):
        if (root / folder).is_dir():
            for path in sorted((root / folder).glob("*.jpg")):
                total.update(f"{folder}/{path.name}\0{path.stat().st_size}\n".encode())
    return total.hexdigest()
