"""One level shared by planned looks: a study may be extended as planned (5, 10, 20 seeds), each look at its share.

The shares follow the Pocock-type spending function alpha(t) = alpha log(1 + (e - 1) t) of Lan and DeMets (1983), t
being the share of the last look's seeds. The nominal level of each look is solved on the Brownian scale and applied
to the p-values of the t tests (the significance-level approach).
"""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

from replicate.stats.estimates import ALPHA

_Array = npt.NDArray[np.float64]
LOOKS = (5, 10, 20)
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(200)
_REACH = 8.0


@lru_cache(maxsize=64)
def stage_alphas(looks: tuple[int, ...] = LOOKS, alpha: float = ALPHA) -> tuple[float, ...]:
    """Nominal one-sided level of each look, so that all looks together raise at most ``alpha`` false alarms.

    ``looks`` are growing numbers of seeds. One look has the whole level.
    """
    if not looks or any(a >= b for a, b in pairwise(looks)) or looks[0] < 1:
        raise ValueError("looks must be positive and growing")
    times = [n / looks[-1] for n in looks]
    spent = [alpha * math.log(1 + (math.e - 1) * t) for t in times]
    levels = [spent[0]]
    grid, mass = _start(times[0], -float(ndtri(levels[0])))
    for k in range(1, len(looks)):
        step = math.sqrt(times[k] - times[k - 1])
        target = spent[k] - spent[k - 1]

        z = float(brentq(_excess, -2.0, 8.0, args=(grid, mass, times[k], step, target), xtol=1e-10))
        levels.append(float(ndtr(-z)))
        new_grid, weights = _nodes(times[k], z)
        density = np.exp(-(((new_grid[:, None] - grid[None, :]) / step) ** 2) / 2) / (step * math.sqrt(2 * math.pi))
        grid, mass = new_grid, weights * (density @ mass)
    return tuple(levels)


def _excess(z: float, grid: _Array, mass: _Array, time: float, step: float, target: float) -> float:
    """Chance of crossing z at this look without having stopped before, minus its share."""
    return float(mass @ ndtr((grid - z * math.sqrt(time)) / step)) - target


def _nodes(time: float, z: float) -> tuple[_Array, _Array]:
    low, high = -_REACH * math.sqrt(time), z * math.sqrt(time)
    return (high - low) / 2 * _NODES + (high + low) / 2, (high - low) / 2 * _WEIGHTS


def _start(time: float, z: float) -> tuple[_Array, _Array]:
    """Quadrature points and masses of the process at the first look, where it has not stopped."""
    grid, weights = _nodes(time, z)
    return grid, weights * np.exp(-(grid**2) / (2 * time)) / math.sqrt(2 * math.pi * time)
