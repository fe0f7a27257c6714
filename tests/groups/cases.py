"""Shapes that reach every traversal of group norm, and the arrays to put in them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# (shape, axis, groups): groups of a few columns and of one, many samples to a tile and a tile of many groups, slabs shorter
# than a vector (as columns), longer ones, cut ones; channels-last with few and many channels, rows joined with a tail; the
# channel axis in the middle, with long and short slabs behind it; groups that fill no vector; one sample for all threads.
CASES = [
    ((5, 6), 1, 3),
    ((5, 6), 1, 1),
    ((32, 64), 1, 8),
    ((700, 60), 1, 30),
    ((3, 40_000), 1, 4),
    ((4, 6, 1), 1, 2),
    ((3, 4, 5), 1, 2),
    ((300, 8, 3), 1, 2),
    ((40, 6, 2, 2), 1, 6),
    ((66, 70, 7, 7), 1, 35),
    ((2, 64, 24, 24), 1, 8),
    ((1, 4, 210, 211), 1, 1),
    ((1, 2, 70_001), 1, 2),
    ((3, 5, 4), -1, 2),
    ((7, 9, 10), -1, 5),
    ((2, 24, 24, 64), -1, 8),
    ((3, 33, 33, 3), -1, 1),
    ((1, 210, 211, 4), -1, 2),
    ((2, 3, 4, 5, 6), 2, 2),
    ((2, 5, 6, 2000), 2, 3),
    ((30, 20, 4, 3), 2, 4),
    ((1, 1, 1), 1, 1),
]


# Too large for the oracle in long double: more tiles than there are chunks.
LARGE = [((66, 4, 4200), 1, 2), ((66, 4200, 4), -1, 2), ((66, 2, 17_000), 1, 2)]


@dataclass
class Arrays:
    x: np.ndarray
    weight: np.ndarray
    bias: np.ndarray
    dy: np.ndarray


def arrays(shape, axis, dtype, seed=0):
    rng = np.random.default_rng(seed)
    c = shape[axis]
    wide = [1] * len(shape)
    wide[axis] = c

    def normal(s):
        return rng.standard_normal(s).astype(dtype)

    x = normal(shape) * np.exp(normal(c)).reshape(wide) + 3 * normal(c).reshape(wide)
    return Arrays(x, normal(c), normal(c), normal(shape))
