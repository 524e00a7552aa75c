"""A tiny made-up folder in exactly COCO's layout: JPEGs, polygons, run-length crowds, category ids with gaps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from replicate.datasets.scenes import Scenes, render

CATEGORIES: dict[str, tuple[tuple[int, str], ...]] = {
    "person": ((1, "person"),),
    "vehicle": (
        (2, "bicycle"), (3, "car"), (4, "motorcycle"), (5, "airplane"), (6, "bus"), (7, "train"), (8, "truck"),
        (9, "boat"),
    ),
    "outdoor": (
        (10, "traffic light"), (11, "fire hydrant"), (13, "stop sign"), (14, "parking meter"), (15, "bench"),
    ),
    "animal": (
        (16, "bird"), (17, "cat"), (18, "dog"), (19, "horse"), (20, "sheep"), (21, "cow"), (22, "elephant"),
        (23, "bear"), (24, "zebra"), (25, "giraffe"),
    ),
    "accessory": ((27, "backpack"), (28, "umbrella"), (31, "handbag"), (32, "tie"), (33, "suitcase")),
    "sports": (
        (34, "frisbee"), (35, "skis"), (36, "snowboard"), (37, "sports ball"), (38, "kite"), (39, "baseball bat"),
        (40, "baseball glove"), (41, "skateboard"), (42, "surfboard"), (43, "tennis racket"),
    ),
    "kitchen": (
        (44, "bottle"), (46, "wine glass"), (47, "cup"), (48, "fork"), (49, "knife"), (50, "spoon"), (51, "bowl"),
    ),
    "food": (
        (52, "banana"), (53, "apple"), (54, "sandwich"), (55, "orange"), (56, "broccoli"), (57, "carrot"),
        (58, "hot dog"), (59, "pizza"), (60, "donut"), (61, "cake"),
    ),
    "furniture": (
        (62, "chair"), (63, "couch"), (64, "potted plant"), (65, "bed"), (67, "dining table"), (70, "toilet"),
    ),
    "electronic": (
        (72, "tv"), (73, "laptop"), (74, "mouse"), (75, "remote"), (76, "keyboard"), (77, "cell phone"),
    ),
    "appliance": ((78, "microwave"), (79, "oven"), (80, "toaster"), (81, "sink"), (82, "refrigerator")),
    "indoor": (
        (84, "book"), (85, "clock"), (86, "vase"), (87, "scissors"), (88, "teddy bear"), (89, "hair drier"),
        (90, "toothbrush"),
    ),
}  # fmt: skip
"""COCO's 80 categories with their ids, by supercategory."""

_ID_OF_CLASS = (1, 3, 53, 18, 16, 72, 37, 85, 64, 32)
"""COCO category that stands in for each of the first ten scene classes."""

_SHAPES = ((96, 128), (128, 96), (128, 128))
_LICENCE = {"id": 1, "name": "Attribution License", "url": "http://creativecommons.org/licenses/by/2.0/"}


def fake_twin(path: Path, *, train: int = 6, val: int = 4) -> None:
    """Write both image folders and ``annotations/``; the last train image has only a crowd, one is grey."""
    (path / "annotations").mkdir(parents=True, exist_ok=True)
    for split, count, first in (("train", train, 9), ("val", val, 139)):
        scenes = render("train" if split == "train" else "val", count, seed=7, size=128, cached=False)
        folder = path / f"{split}2017"
        folder.mkdir(exist_ok=True)
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for i in range(count):
            image_id = first + 16 * i  # COCO's image ids have gaps, too
            height, width = _SHAPES[i % len(_SHAPES)]
            picture = Image.fromarray(scenes.image(i)[:height, :width])
            name = f"{image_id:012d}.jpg"
            (picture.convert("L") if i == 1 else picture).save(folder / name, quality=90)
            images.append(_image(image_id, name, height, width))
            only_crowd = split == "train" and i == count - 1
            for fields in _objects(scenes, i, height, width, crowd=i == 0 or only_crowd, crowd_only=only_crowd):
                annotations.append({**fields, "image_id": image_id, "id": 1000 + 7 * len(annotations)})
        facts = {
            "info": {
                "description": "fake twin of COCO 2017", "url": "", "version": "1.0", "year": 2017,
                "contributor": "", "date_created": "2017/09/01",
            },
            "licenses": [_LICENCE],
            "images": images,
            "annotations": annotations,
            "categories": [
                {"supercategory": group, "id": k, "name": name}
                for group, members in CATEGORIES.items()
                for k, name in members
            ],
        }  # fmt: skip
        text = json.dumps(facts)
        (path / "annotations" / f"instances_{split}2017.json").write_text(text, encoding="utf-8")


def _image(image_id: int, name: str, height: int, width: int) -> dict[str, Any]:
    return {
        "license": 1,
        "file_name": name,
        "coco_url": "",
        "height": height,
        "width": width,
        "date_captured": "2017-09-01 00:00:00",
        "flickr_url": "",
        "id": image_id,
    }


def _objects(scenes: Scenes, i: int, height: int, width: int, *, crowd: bool, crowd_only: bool) -> list[dict[str, Any]]:
    """Annotations of one image, cropped to ``height`` and ``width``; the crowd, if any, comes last."""
    found: list[dict[str, Any]] = []
    masks = scenes.masks(i)[:, :height, :width]
    for mask, label in zip(masks, scenes.labels(i), strict=True):
        polygons = _polygons(mask)
        if polygons and not crowd_only:
            fields = _fields(mask, _ID_OF_CLASS[int(label)], iscrowd=0)
            found.append({"segmentation": polygons, **fields})
    if crowd:
        region = np.zeros((height, width), bool)
        region[height // 2 :, : width // 3] = True
        runs = {"counts": _runs(region), "size": [height, width]}
        found.append({"segmentation": runs, **_fields(region, 1, iscrowd=1)})
    return found


def _fields(mask: NDArray[np.bool_], category_id: int, *, iscrowd: int) -> dict[str, Any]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    x, y = float(columns[0]), float(rows[0])
    bbox = [x, y, float(columns[-1] + 1) - x, float(rows[-1] + 1) - y]
    return {"area": float(mask.sum()), "iscrowd": iscrowd, "bbox": bbox, "category_id": category_id}


def _polygons(mask: NDArray[np.bool_]) -> list[list[float]]:
    from skimage.measure import find_contours

    outlines = find_contours(np.pad(mask, 1).astype(np.float32), 0.5)  # type: ignore[no-untyped-call]
    flat = [(outline[:, ::-1] - 0.5).clip(0).ravel().round(2).tolist() for outline in outlines]
    return [polygon for polygon in flat if len(polygon) >= 6]


def _runs(mask: NDArray[np.bool_]) -> list[int]:
    """Uncompressed run lengths in column order, zeros first: how COCO's files write crowds."""
    flat = np.concatenate([[False], mask.T.ravel()])
    changes = np.flatnonzero(flat[1:] != flat[:-1])
    return [int(n) for n in np.diff(np.concatenate([[0], changes, [mask.size]]))]
