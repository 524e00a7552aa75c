"""The field's two training transforms: resize to a shorter side of 800 (longer at most 1333) and mirroring."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def resized_shape(height: int, width: int, shorter: int = 800, longer: int = 1333) -> tuple[int, int]:
    """Height and width after the resize: the largest scale that breaks neither limit, rounded to pixels."""
    scale = min(shorter / min(height, width), longer / max(height, width))
    return max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))


def resize_shorter(
    image: NDArray[np.uint8], boxes: NDArray[np.float32], shorter: int = 800, longer: int = 1333
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Image ``(H, W, 3)`` and boxes ``(K, 4)``, both scaled; bilinear."""
    height, width = image.shape[:2]
    new_h, new_w = resized_shape(height, width, shorter, longer)
    pixels = np.array(Image.fromarray(image).resize((new_w, new_h), Image.Resampling.BILINEAR))
    factors = np.array([new_w / width, new_h / height] * 2, np.float32)
    return pixels, boxes * factors


def hflip(image: NDArray[np.uint8], boxes: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Image and boxes mirrored left to right."""
    width = image.shape[1]
    flipped = boxes.copy()
    flipped[:, 0], flipped[:, 2] = width - boxes[:, 2], width - boxes[:, 0]
    return np.ascontiguousarray(image[:, ::-1]), flipped
