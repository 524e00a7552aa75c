"""Batches of images of like shape, so that little of a padded batch is padding."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def aspect_batches(shapes: Sequence[tuple[int, int]], batch_size: int, *, seed: int, epoch: int) -> list[list[int]]:
    """Indices of one epoch in batches that are all landscape or all portrait, in random order.

    ``shapes`` are (height, width). Every image appears; the last batch of each group is filled up with images drawn
    again from that group, so that all batches are full. The order depends on (seed, epoch) only.
    """
    generator = np.random.default_rng([seed, epoch])
    wide = np.array([w >= h for h, w in shapes], bool)
    batches: list[list[int]] = []
    for group in (np.flatnonzero(wide), np.flatnonzero(~wide)):
        if len(group) == 0:
            continue
        order = generator.permutation(group)
        short = -len(order) % batch_size
        order = np.concatenate([order, generator.choice(group, short)])
        batches += order.reshape(-1, batch_size).tolist()
    return [batches[k] for k in generator.permutation(len(batches))]
