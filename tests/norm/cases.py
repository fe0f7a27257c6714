"""Shapes that reach every traversal of the norm kernels, and the arrays to put in them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# (shape, axis): columns narrower and wider than every vector, joined rows with a tail, blocks and chunks of rows with
# remainders, short slabs walked as columns and as slabs, slabs shorter than a vector, cut slabs, any rank and axis.
SHAPES = [
    ((4, 4), 1),
    ((2, 1), 1),
    ((32, 64), 1),
    ((33, 10), 1),
    ((1000, 3), 1),
    ((301, 130), -1),
    ((9000, 17), 1),
    ((5000, 1), 1),
    ((2, 3, 5, 7), 1),
    ((2, 3, 5, 7), -1),
    ((2, 3, 5, 7), 2),
    ((3, 2, 1), 1),
    ((40, 9, 3), 1),
    ((17, 70, 2, 2), 1),
    ((33, 16, 7, 7), 1),
    ((20, 5, 33, 33), 1),
    ((1, 2, 70001), 1),
    ((1, 1, 4099), 1),
    ((2, 2, 2, 2, 3), 1),
]


@dataclass
class Arrays:
    x: np.ndarray
    weight: np.ndarray
    bias: np.ndarray
    residual: np.ndarray
    dy: np.ndarray
    running_mean: np.ndarray
    running_var: np.ndarray


def arrays(shape, axis, dtype, seed=0):
    rng = np.random.default_rng(seed)
    c = shape[axis]

    def normal(s):
        return rng.standard_normal(s).astype(dtype)

    scale = np.exp(rng.standard_normal(c)).astype(dtype)
    offset = normal(c) * 3
    wide = [1] * len(shape)
    wide[axis] = c
    x = normal(shape) * scale.reshape(wide) + offset.reshape(wide)
    running_var = np.exp(normal(c)).astype(dtype)
    return Arrays(x, normal(c), normal(c), normal(shape), normal(shape), normal(c), running_var)
