"""The arrays of a case, the same in every process that asks for them, and where the pages they lie on matter.

Knows neither contenders nor results.
"""

from __future__ import annotations

import itertools
from functools import cached_property
from typing import Any

import numpy as np

from .cases import Case

Array = np.ndarray[Any, Any]
HUGE = 2 << 20  # bytes of a large page
LINE = 64  # bytes of a cache line
_made = itertools.count()
TILE = 1_048_573  # a prime: no two channels of a power of two see the same numbers


def aligned(shape: tuple[int, ...], dtype: str) -> Array:
    """An array whose pages exist, on a boundary of 64 bytes, a large one on large pages.

    NumPy asks for large pages from 4 MiB on. No two arrays made one after the other start at the same place of a page: equal
    places fight for the same sets of the caches, and what a library does about that is not the question here.
    """
    nbytes = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    border = HUGE if nbytes >= 2 * HUGE else LINE
    raw = np.empty(nbytes + border + 64 * LINE, np.uint8)
    start = -raw.ctypes.data % border + next(_made) * 17 % 64 * LINE
    array = raw[start : start + nbytes].view(dtype).reshape(shape)
    array.fill(0)
    return array


def normals(shape: tuple[int, ...], dtype: str, seed: int) -> Array:
    """Standard normal numbers, a block of them over and over where many are wanted."""
    array = aligned(shape, dtype)
    flat = array.reshape(-1)
    rng = np.random.default_rng(seed)
    tile = rng.standard_normal(min(TILE, flat.size), dtype=np.dtype(dtype).type)
    for i in range(0, flat.size, TILE):
        flat[i : i + TILE] = tile[: flat.size - i]
    return array


class Data:
    """The arrays of a case. Those of x's size are made when first asked for, to save memory."""

    def __init__(self, case: Case) -> None:
        self.case = case
        make = lambda seed: normals((case.channels,), case.dtype, seed)  # noqa: E731
        self.weight, self.bias = 1 + 0.1 * make(3), 0.1 * make(4)
        self.mean, self.var = 0.7 + 0.1 * make(5), 0.5 + np.abs(make(6))

    @staticmethod
    def key(case: Case) -> tuple[Any, ...]:
        """Cases of equal keys have equal arrays. The backward of ReLU changes dy (see reference.py)."""
        return case.shape, case.axis, case.dtype, case.op == "backward+relu"

    @cached_property
    def x(self) -> Array:
        x = normals(self.case.shape, self.case.dtype, 0)
        x *= 1.5
        x += 0.7
        return x

    @cached_property
    def dy(self) -> Array:
        return normals(self.case.shape, self.case.dtype, 1)

    @cached_property
    def residual(self) -> Array:
        return normals(self.case.shape, self.case.dtype, 2)

    def silence(self, positions: Array) -> None:
        """Sets dy to 0 there."""
        self.dy.reshape(-1)[positions] = 0
