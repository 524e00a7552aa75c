"""Drawing of one scene: a crop of a photograph, then sprites from back to front under a visibility rule."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from . import assets

if TYPE_CHECKING:
    from .world import SceneConfig

OBJECT = np.dtype(
    [
        ("box", "<f4", (4,)),
        ("label", "<i4"),
        ("sprite", "<i4"),
        ("area", "<i4"),
        ("visible", "<f4"),
        ("side", "<f4"),
        ("angle", "<f4"),
        ("gain", "<f4"),
        ("flipped", "?"),
    ]
)
"""One object: tight box of its visible pixels, label, sprite, visible pixels, visible fraction, longer side before
rotation in pixels, rotation in degrees, brightness, mirrored or not."""

CLUTTER_ID = 255
"""Value of distractors in an instance map; objects are 1, 2, ... in drawing order, the photograph is 0."""

_TRIES = 12
_TABLE_STARTS = np.array([0, 256, 512], np.intp)
_SMALLEST_PX = 6.0


class Draws:
    """Uniform random numbers of one image, from (seed, split, index) alone.

    Only raw doubles of PCG64 are used: numpy promises that stream, but not the streams of its distributions.
    """

    def __init__(self, *words: int) -> None:
        self._generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence(words)))
        self._buffer: list[float] = []

    def unit(self) -> float:
        """A number in [0, 1)."""
        if not self._buffer:
            self._buffer = self._generator.random(256).tolist()
        return self._buffer.pop()

    def uniform(self, low: float, high: float) -> float:
        """A number in [low, high)."""
        return low + (high - low) * self.unit()

    def log_uniform(self, low: float, high: float) -> float:
        """A number in [low, high) whose logarithm is uniform."""
        return low * math.exp(math.log(high / low) * self.unit())

    def integer(self, low: int, high: int) -> int:
        """An integer from low to high, both included."""
        return low + int((high - low + 1) * self.unit())

    def pick(self, items: Sequence[int]) -> int:
        """One of the items."""
        return items[int(len(items) * self.unit())]

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self.unit() < probability


@dataclass(frozen=True)
class Pools:
    """What may appear in a split: photograph names, sprites of each label, distractor sprites."""

    photos: tuple[str, ...]
    sprites: tuple[tuple[int, ...], ...]
    clutter: tuple[int, ...]


@dataclass(frozen=True)
class _Part:
    """A sprite ready to paste: premultiplied ``(h, w, 4)`` uint8, its mask and the facts of its making."""

    patch: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    pixels: int
    label: int
    sprite: int
    side: float
    angle: float
    gain: float
    flipped: bool


def background(draws: Draws, name: str, size: int) -> NDArray[np.uint8]:
    """A square crop of a photograph as ``(size, size, 3)``: random place, zoom, mirror, light and tint."""
    views = assets.photo(name)
    levels = views[draws.integer(0, len(views) - 1)]
    full_w, full_h = levels[0].size
    side = min(full_w, full_h) * draws.log_uniform(0.35, 1.0)
    x, y = draws.uniform(0, full_w - side), draws.uniform(0, full_h - side)
    depth = min(len(levels) - 1, max(0, int(math.log2(max(1.0, side / size)))))
    level = levels[depth]
    kx, ky = level.width / full_w, level.height / full_h
    window = (x * kx, y * ky, min(level.width, (x + side) * kx), min(level.height, (y + side) * ky))
    crop = level.resize((size, size), Image.Resampling.BILINEAR, box=window)
    if draws.chance(0.5):
        crop = crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    light, offset = draws.uniform(0.75, 1.2), draws.uniform(-20, 20)
    tables = []
    for _ in range(3):
        gain = light * draws.uniform(0.93, 1.07)
        tables.append(np.clip(np.arange(256) * gain + offset + 0.5, 0, 255).astype(np.uint8))
    return np.concatenate(tables)[np.asarray(crop) + _TABLE_STARTS]


def _part(draws: Draws, config: SceneConfig, sprite: int, label: int, side: float) -> _Part:
    levels = assets.pyramid(sprite)
    # the smallest level that still has the detail wanted; a coarser one looks slightly out of focus
    depth = next((k for k in range(len(levels) - 1, 0, -1) if max(levels[k].w, levels[k].h) >= side), 0)
    if draws.chance(config.blur):
        depth = min(len(levels) - 1, depth + 1)
    level = levels[depth]
    angle = draws.uniform(-config.rotation, config.rotation)
    flipped = draws.chance(0.5) and config.flip
    gain = draws.uniform(1 - config.brightness, 1 + config.brightness)
    scale = side / max(level.w, level.h)
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    w = max(3, math.ceil(scale * (abs(level.w * cos) + abs(level.h * sin))) + 2)
    h = max(3, math.ceil(scale * (abs(level.w * sin) + abs(level.h * cos))) + 2)
    mirror = -1.0 if flipped else 1.0
    a, b, d, e = mirror * cos / scale, mirror * sin / scale, -sin / scale, cos / scale
    centre_x, centre_y = level.image.width / 2, level.image.height / 2
    matrix = (a, b, centre_x - a * w / 2 - b * h / 2, d, e, centre_y - d * w / 2 - e * h / 2)
    drawn = level.image.transform((w, h), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    if scale > 1.5 and draws.chance(config.blur):
        drawn = drawn.filter(ImageFilter.BoxBlur(1))
    patch = np.asarray(drawn)
    mask = patch[:, :, 3] >= 128
    return _Part(patch, mask, int(mask.sum()), label, sprite, side, angle, gain, flipped)


def _parts(draws: Draws, config: SceneConfig, pools: Pools) -> list[_Part]:
    """Objects and distractors of one scene, in drawing order: mostly from large to small."""
    ordered: list[tuple[float, _Part]] = []
    wanted = draws.integer(*config.objects)
    for k in range(wanted + draws.integer(*config.distractors)):
        label = draws.integer(0, config.num_classes - 1) if k < wanted else -1
        sprite = draws.pick(pools.sprites[label] if label >= 0 else pools.clutter)
        side = max(_SMALLEST_PX, config.size * draws.log_uniform(*config.scale))
        ordered.append((-math.log(side) + draws.uniform(-0.7, 0.7), _part(draws, config, sprite, label, side)))
    ordered.sort(key=lambda pair: pair[0])
    return [part for _, part in ordered]


def _paste(canvas: NDArray[np.uint8], part: _Part, y0: int, x0: int, y1: int, x1: int, py: int, px: int) -> None:
    patch = part.patch[py : py + y1 - y0, px : px + x1 - x0].astype(np.float32)
    window = canvas[y0:y1, x0:x1]
    alpha = patch[:, :, 3:]
    # premultiplied: brighter colours are cut at full intensity times alpha
    colour = np.minimum(patch[:, :, :3] * part.gain, alpha)
    window[:] = colour + window * (1 - alpha / 255) + 0.5


def draw(
    draws: Draws, config: SceneConfig, pools: Pools
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.void], int]:
    """One scene: image ``(S, S, 3)``, instance map ``(S, S)``, objects ``(K,)`` of OBJECT, photo index.

    A sprite goes where it keeps ``min_visible`` of its pixels inside the image and takes no earlier object below
    that fraction; after a few failed places it is left out. The first object goes to the centre if need be.
    """
    size = config.size
    photo = draws.integer(0, len(pools.photos) - 1)
    canvas = background(draws, pools.photos[photo], size)
    owner = np.zeros((size, size), np.uint8)
    left: list[int] = [0]  # visible pixels of each object, by instance id
    placed: list[_Part] = []
    for part in _parts(draws, config, pools):
        h, w = part.mask.shape
        for attempt in range(_TRIES):
            x = round(draws.uniform(0.3 * w, size - 0.3 * w) - w / 2)
            y = round(draws.uniform(0.3 * h, size - 0.3 * h) - h / 2)
            if attempt == _TRIES - 1 and not placed:
                x, y = (size - w) // 2, (size - h) // 2
            y0, x0, y1, x1 = max(0, y), max(0, x), min(size, y + h), min(size, x + w)
            mask = part.mask[y0 - y : y1 - y, x0 - x : x1 - x]
            inside = int(mask.sum())
            if inside < max(4, config.min_visible * part.pixels):
                continue
            window = owner[y0:y1, x0:x1]
            hidden = np.bincount(window[mask], minlength=len(left))[1 : len(left)].tolist()
            if any(n and left[k + 1] - n < config.min_visible * placed[k].pixels for k, n in enumerate(hidden)):
                continue
            for k, n in enumerate(hidden):
                left[k + 1] -= n
            if part.label >= 0:
                placed.append(part)
                left.append(inside)
            window[mask] = len(placed) if part.label >= 0 else CLUTTER_ID
            _paste(canvas, part, y0, x0, y1, x1, y0 - y, x0 - x)
            break
    return canvas, owner, _objects(owner, placed), photo


def _objects(owner: NDArray[np.uint8], placed: list[_Part]) -> NDArray[np.void]:
    objects = np.zeros(len(placed), OBJECT)
    for k, part in enumerate(placed):
        mine = owner == k + 1
        rows, columns = np.flatnonzero(mine.any(1)), np.flatnonzero(mine.any(0))
        area = int(mine.sum())
        box = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
        visible = area / part.pixels
        objects[k] = (
            box, part.label, part.sprite, area, visible, part.side, part.angle, part.gain, part.flipped,
        )  # fmt: skip
    return objects
