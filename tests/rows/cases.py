"""Shapes that reach every path of the row kernels, the arrays to put in them, and both norms under one call."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bncore import functional as F

# (shape, number of normalized axes): single values, rows shorter than a vector, transposed tiles with and without empty
# lanes, rows of whole vectors and with an end, groups of four and a rest, blocks within a row, column sums moved on, many
# chunks, few long rows cut in pieces, any number of axes.
SHAPES = [
    ((7,), 1),
    ((1, 1), 1),
    ((5, 1), 1),
    ((9, 3), 1),
    ((70, 8), 1),
    ((33, 31), 1),
    ((32, 64), 1),
    ((3, 65), 1),
    ((200, 100), 1),
    ((6, 4100), 1),
    ((3, 5, 20), 2),
    ((2, 3, 4, 5), 3),
    ((2, 3, 4), 3),
    ((300, 100), 1),
    ((3, 33_000), 1),
    ((2, 131_075), 1),
]
KINDS = ["layer", "rms", "partial"]
PARTIAL = 0.4


@dataclass
class Arrays:
    x: np.ndarray
    weight: np.ndarray
    bias: np.ndarray
    dy: np.ndarray


def arrays(shape, axes, dtype, seed=0):
    rng = np.random.default_rng(seed)

    def normal(s):
        return rng.standard_normal(s).astype(dtype)

    lead = shape[: len(shape) - axes]
    wide = (*lead, *(1,) * axes)
    x = normal(shape) * np.exp(normal(wide)) + 2 * normal(wide)
    inner = shape[len(shape) - axes :]
    return Arrays(x, normal(inner), normal(inner), normal(shape))


def trailing(axes):
    """The `axis` argument: the last one as an integer, several as a tuple."""
    return -1 if axes == 1 else tuple(range(-axes, 0))


def leading(kind, d):
    """How many values of a row the mean square takes."""
    return max(1, int(PARTIAL * d)) if kind == "partial" else d


def norm(kind, x, weight=None, bias=None, **kw):
    if kind == "layer":
        return F.layer_norm(x, weight, bias, **kw)
    return F.rms_norm(x, weight, bias, partial=PARTIAL if kind == "partial" else None, **kw)


def norm_backward(kind, dy, saved, **kw):
    return (F.layer_norm_backward if kind == "layer" else F.rms_norm_backward)(dy, saved, **kw)


def oracle(kind):
    """The name of the formula in tests/reference/rows.py."""
    return "layer" if kind == "layer" else "rms"
