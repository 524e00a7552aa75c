"""``render``: a split of the scenes world as arrays, deterministic from (seed, split, index) and cached on disk."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from replicate.datasets.base import cache_folder, digest_files
from replicate.tasks.base import DataError

from . import assets, compose
from .cache import Arrays, open_or_make
from .classes import CLASSES, TEST_PHOTOS, TRAIN_PHOTOS, VAL_PHOTOS

Split = Literal["train", "val", "test"]
Holdout = Literal["photo", "sprite+photo"]

VERSION = 1
"""Version of the drawing itself: raised whenever the same configuration gives other pixels."""

CHECKSUM = "23ca66dea77142d598e73c9bc02325ea740e4f48d156685b72080897c57ab027"
"""Pin of :func:`checksum`, as in the card: the data checksum in a trial's key must be true of its pixels."""

_SPLIT_PHOTOS = {"train": TRAIN_PHOTOS, "val": VAL_PHOTOS, "test": TEST_PHOTOS}
_MOST_OBJECTS = 200


@dataclass(frozen=True)
class SceneConfig:
    """Everything that decides what is drawn, beside the number of images."""

    split: Split
    seed: int
    size: int = 96
    """Width and height in pixels."""
    num_classes: int = 10
    objects: tuple[int, int] = (1, 6)
    """Fewest and most objects asked for; crowding may leave some out, never the first."""
    scale: tuple[float, float] = (0.1, 0.7)
    """Longer side of an object as a fraction of the image, log-uniform; never below 6 pixels."""
    distractors: tuple[int, int] = (0, 2)
    """Fewest and most sprites that belong to no class."""
    holdout: Holdout = "photo"
    """``photo``: val and test show the sprites of train on other photographs; ``sprite+photo``: both are unseen."""
    sprites_per_class: int | None = None
    """Use at most this many drawings of each class (None: all)."""
    min_visible: float = 0.5
    """Fraction of an object's pixels that must stay visible."""
    rotation: float = 15.0
    """Largest rotation in degrees, either way."""
    flip: bool = True
    brightness: float = 0.25
    """Largest relative change of a sprite's brightness."""
    blur: float = 0.3
    """Probability of a slightly blurred sprite."""
    style: Literal["twemoji"] = "twemoji"

    def __post_init__(self) -> None:
        low, high = self.scale
        checks = {
            "split": self.split in get_args(Split),
            "holdout": self.holdout in get_args(Holdout),
            "style": self.style == "twemoji",
            "seed": self.seed >= 0,
            "size": 32 <= self.size <= 4096,
            "num_classes": 1 <= self.num_classes <= len(CLASSES),
            "objects": 1 <= self.objects[0] <= self.objects[1] <= _MOST_OBJECTS,
            "distractors": 0 <= self.distractors[0] <= self.distractors[1] <= _MOST_OBJECTS,
            "scale": 0 < low <= high <= 1,
            "sprites_per_class": self.sprites_per_class is None or self.sprites_per_class >= 1,
            "min_visible": 0 < self.min_visible <= 0.6,
            "rotation": 0 <= self.rotation <= 180,
            "brightness": 0 <= self.brightness < 1,
            "blur": 0 <= self.blur <= 1,
        }
        for name, fine in checks.items():
            if not fine:
                raise DataError(f"scenes: {name}={getattr(self, name)!r} is out of range; see SceneConfig")

    def pools(self) -> compose.Pools:
        """What may appear in this split."""
        split = self.split if self.holdout == "sprite+photo" else None
        names = list(CLASSES)[: self.num_classes]
        sprites = tuple(assets.sprites_of(name, split, self.sprites_per_class) for name in names)
        return compose.Pools(_SPLIT_PHOTOS[self.split], sprites, assets.sprites_of(None, split, None))

    def digest(self, count: int) -> str:
        """Name of the cached world: configuration, count, drawing version and content of the ingredients."""
        facts = [VERSION, count, dataclasses.asdict(self), ingredients_digest()]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


@cache
def ingredients_digest() -> str:
    """SHA-256 of every sprite, photograph and the name list, as installed here."""
    return digest_files(assets.asset_files())


def checksum(root: Path | None = None) -> str:
    """What identifies this world: its ingredients as installed here, and the version of the drawing.

    ``root`` is not used: the ingredients lie in several packages.
    """
    return hashlib.sha256(f"scenes {VERSION} {ingredients_digest()}".encode()).hexdigest()


@dataclass(frozen=True)
class ObjectFacts:
    """What can be said about one object: raw material of captions and questions."""

    name: str
    class_name: str
    colour: str
    size: Literal["small", "medium", "large"]
    centre: tuple[float, float]
    """x, y as fractions of the image."""
    visible: float


@dataclass(frozen=True)
class SceneFacts:
    """One scene in words: its photograph, its objects, and how they lie to each other."""

    photo: str
    objects: tuple[ObjectFacts, ...]
    relations: tuple[tuple[int, str, int], ...]
    """(a, word, b): object a is ``left of``, ``right of``, ``above`` or ``below`` b, or ``overlaps`` it."""


class Scenes:
    """Rendered images with boxes, labels, masks and facts; satisfies ``replicate.datasets.base.DetectionData``.

    ``images`` is ``(N, S, S, 3)`` uint8, ``instances`` ``(N, S, S)`` uint8 (0 photograph, k the k-th object, 255
    distractor), ``objects`` every object of every image in one record array, ``photos`` ``(N,)`` the photographs.
    All are read-only and may be memory-mapped from the cache.
    """

    def __init__(self, config: SceneConfig, arrays: Arrays) -> None:
        self.config = config
        self.images: NDArray[np.uint8] = arrays["images"]
        self.instances: NDArray[np.uint8] = arrays["instances"]
        self.objects: NDArray[np.void] = arrays["objects"]
        self.photos: NDArray[np.int32] = arrays["photos"]
        self._starts: list[int] = arrays["starts"].tolist()

    def __len__(self) -> int:
        return len(self.images)

    @property
    def num_classes(self) -> int:
        """Number of classes, without background."""
        return self.config.num_classes

    @property
    def class_names(self) -> tuple[str, ...]:
        """Name of each label."""
        return tuple(CLASSES)[: self.num_classes]

    @property
    def category_ids(self) -> tuple[int, ...]:
        """COCO category id of each label: labels count from 0, COCO from 1."""
        return tuple(range(1, self.num_classes + 1))

    @property
    def image_ids(self) -> tuple[int, ...]:
        """COCO image id of each image."""
        return tuple(range(1, len(self) + 1))

    def _rows(self, i: int) -> NDArray[np.void]:
        if not 0 <= i < len(self):
            raise IndexError(f"image {i} of {len(self)}")
        return self.objects[self._starts[i] : self._starts[i + 1]]

    def image(self, i: int) -> NDArray[np.uint8]:
        """Image ``i`` as a writable ``(S, S, 3)`` RGB array."""
        return np.array(self.images[i])

    def boxes(self, i: int) -> NDArray[np.float32]:
        """Boxes ``(K, 4)`` x1, y1, x2, y2 around the visible pixels of the objects of image ``i``."""
        return np.array(self._rows(i)["box"], dtype=np.float32)

    def labels(self, i: int) -> NDArray[np.int64]:
        """Labels ``(K,)`` of the objects of image ``i``."""
        return self._rows(i)["label"].astype(np.int64)

    def masks(self, i: int) -> NDArray[np.bool_]:
        """Visible pixels ``(K, S, S)`` of the objects of image ``i``."""
        ids = np.arange(1, len(self._rows(i)) + 1, dtype=np.uint8)
        return np.asarray(self.instances[i][None] == ids[:, None, None])

    def facts(self, i: int) -> SceneFacts:
        """Image ``i`` in words."""
        rows, size = self._rows(i), self.config.size
        objects = []
        for row in rows:
            x1, y1, x2, y2 = (float(v) / size for v in row["box"])
            sprite, side = int(row["sprite"]), float(row["side"]) / size
            objects.append(
                ObjectFacts(
                    name=assets.catalogue()[sprite].name.replace("_", " ").replace("-", " "),
                    class_name=self.class_names[int(row["label"])],
                    colour=assets.colour_name(sprite),
                    size="small" if side < 0.2 else "medium" if side < 0.4 else "large",
                    centre=((x1 + x2) / 2, (y1 + y2) / 2),
                    visible=float(row["visible"]),
                )
            )
        photo = _SPLIT_PHOTOS[self.config.split][int(self.photos[i])]
        return SceneFacts(photo, tuple(objects), _relations(rows, size))

    def coco(self, *, segmentation: bool = True) -> dict[str, Any]:
        """Ground truth in COCO's instances format, with compressed RLE masks unless ``segmentation`` is False."""
        if segmentation:
            return self._coco_with_masks
        annotations = [{k: v for k, v in a.items() if k != "segmentation"} for a in self._annotations(masks=False)]
        return {**self._coco_head(), "annotations": annotations}

    @cached_property
    def _coco_with_masks(self) -> dict[str, Any]:
        return {**self._coco_head(), "annotations": self._annotations(masks=True)}

    def _coco_head(self) -> dict[str, Any]:
        size = self.config.size
        images = [{"id": k, "file_name": f"{k:012d}.png", "width": size, "height": size} for k in self.image_ids]
        return {
            "info": {
                "description": f"scenes {self.config.split}, seed {self.config.seed}",
                "version": str(VERSION),
            },
            "licenses": [],
            "images": images,
            "categories": [
                {"id": k, "name": n, "supercategory": "object"}
                for k, n in zip(self.category_ids, self.class_names, strict=True)
            ],
        }

    def _annotations(self, *, masks: bool) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for i, image_id in enumerate(self.image_ids):
            segments = _rle(self.masks(i)) if masks else [None] * len(self._rows(i))
            for row, segment in zip(self._rows(i), segments, strict=True):
                x1, y1, x2, y2 = (float(v) for v in row["box"])
                found.append(
                    {
                        "id": len(found) + 1,
                        "image_id": image_id,
                        "category_id": int(row["label"]) + 1,
                        "bbox": [x1, y1, x2 - x1, y2 - y1],
                        "area": float(row["area"]),
                        "segmentation": segment,
                        "iscrowd": 0,
                    }
                )
        return found


def _relations(rows: NDArray[np.void], size: int) -> tuple[tuple[int, str, int], ...]:
    found: list[tuple[int, str, int]] = []
    for a in range(len(rows)):
        for b in range(a + 1, len(rows)):
            p, q = rows[a]["box"].astype(float), rows[b]["box"].astype(float)
            dx, dy = (q[0] + q[2] - p[0] - p[2]) / 2, (q[1] + q[3] - p[1] - p[3]) / 2
            # only what a person would say without doubt: a clear distance along the longer axis
            if max(abs(dx), abs(dy)) > 0.1 * size:
                words = ("left of", "right of") if abs(dx) >= abs(dy) else ("above", "below")
                forward = (dx if abs(dx) >= abs(dy) else dy) > 0
                found += [(a, words[0 if forward else 1], b), (b, words[1 if forward else 0], a)]
            if min(p[2], q[2]) > max(p[0], q[0]) and min(p[3], q[3]) > max(p[1], q[1]):
                found += [(a, "overlaps", b), (b, "overlaps", a)]
    return tuple(found)


def _rle(masks: NDArray[np.bool_]) -> list[dict[str, Any]]:
    from pycocotools import mask as coco_mask

    coded = coco_mask.encode(np.asfortranarray(masks.transpose(1, 2, 0).astype(np.uint8)))
    return [{"size": [int(n) for n in c["size"]], "counts": c["counts"].decode("ascii")} for c in coded]


def _fill(config: SceneConfig, count: int, images: NDArray[Any], instances: NDArray[Any]) -> Arrays:
    """Draw ``count`` scenes into ``images`` and ``instances``; returns the small arrays."""
    pools, split = config.pools(), get_args(Split).index(config.split)
    photos, starts = np.zeros(count, np.int32), np.zeros(count + 1, np.int64)
    objects = []
    for i in range(count):
        images[i], instances[i], rows, photos[i] = compose.draw(compose.Draws(config.seed, split, i), config, pools)
        objects.append(rows)
        starts[i + 1] = starts[i] + len(rows)
    return {
        "objects": np.concatenate(objects) if objects else np.zeros(0, compose.OBJECT),
        "photos": photos,
        "starts": starts,
    }


def render(split: Split, count: int, *, seed: int, cached: bool = True, **options: Any) -> Scenes:
    """``count`` scenes of a split; ``options`` are the fields of :class:`SceneConfig` (size, num_classes, ...).

    Image i depends on (configuration, seed, split, i) only, never on ``count``. With ``cached`` the arrays are kept
    below the cache folder and memory-mapped; else they live in memory. Raises DataError on a bad option.
    """
    known = {f.name for f in dataclasses.fields(SceneConfig)}
    wrong = sorted(set(options) - known)
    if wrong:
        raise DataError(f"scenes: unknown option {wrong[0]!r}; known: {', '.join(sorted(known))}")
    if count < 1:
        raise DataError(f"scenes: count={count} is out of range; ask for at least one image")
    if checksum() != CHECKSUM:
        raise DataError(
            "scenes: installed drawings or photographs are not the pinned ones; run `replicate data verify scenes`"
        )
    pairs: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
    config = SceneConfig(split=split, seed=seed, **pairs)
    shape = (count, config.size, config.size)
    if not cached:
        images, instances = np.empty((*shape, 3), np.uint8), np.empty(shape, np.uint8)
        arrays = {"images": images, "instances": instances, **_fill(config, count, images, instances)}
        for array in arrays.values():
            array.setflags(write=False)
        return Scenes(config, arrays)

    def make(folder: Path) -> None:
        images = open_memmap(folder / "images.npy", "w+", np.uint8, (*shape, 3))
        instances = open_memmap(folder / "instances.npy", "w+", np.uint8, shape)
        small = _fill(config, count, images, instances)
        images.flush()
        instances.flush()
        for name, array in small.items():
            np.save(folder / f"{name}.npy", array)

    facts = {**dataclasses.asdict(config), "count": count, "version": VERSION}
    return Scenes(config, open_or_make(cache_folder() / "scenes" / config.digest(count), make, facts))
