"""The arrays of a case, the same in every process that asks for them, and the memory they lie in.

Knows neither contenders nor results.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from .cases import Case

Array = np.ndarray[Any, Any]
HUGE = 2 << 20  # bytes of a large page
LINE = 64  # bytes of a cache line
TILE = 1_048_573  # a prime: no two channels of a power of two see the same numbers


class Room:
    """Memory that is used again for the next case: pages a system has not given away lately can cost seconds.

    Arrays start on a boundary of 64 bytes, large ones on large pages (NumPy asks for them from 4 MiB on), and no two
    arrays at the same place of a page: equal places fight for the same sets of the caches, and what a library does
    about that is not the question here.
    """

    def __init__(self) -> None:
        self.free: list[Array] = []
        self.used: list[Array] = []

    def array(self, shape: tuple[int, ...], dtype: str) -> Array:
        """One whose pages exist. What is in it is left over from others."""
        nbytes = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        border = HUGE if nbytes >= 2 * HUGE else LINE
        raw = self._raw(nbytes + border + 64 * LINE)
        start = -raw.ctypes.data % border + len(self.used) * 17 % 64 * LINE
        return raw[start : start + nbytes].view(dtype).reshape(shape)

    def _raw(self, nbytes: int) -> Array:
        fitting = [raw for raw in self.free if nbytes <= raw.nbytes]
        if fitting:
            raw = min(fitting, key=lambda raw: raw.nbytes)
            self.free = [other for other in self.free if other is not raw]
        else:
            self.free.clear()  # all too small: they would only add up
            raw = np.zeros(nbytes, np.uint8)
            raw.fill(1)
        self.used.append(raw)
        return raw

    def leave(self) -> None:
        """Nobody uses its arrays any more."""
        self.free += self.used
        self.used = []


class Data:
    """The arrays of a case. Those of x's size are made when first asked for, to save memory."""

    def __init__(self, case: Case, room: Room, spare: Room) -> None:
        self.case, self.room, self.spare = case, room, spare
        make = lambda seed: self._normals((case.channels,), seed)  # noqa: E731
        self.weight, self.bias = 1 + 0.1 * make(3), 0.1 * make(4)
        self.mean, self.var = 0.7 + 0.1 * make(5), 0.5 + np.abs(make(6))

    @staticmethod
    def key(case: Case) -> tuple[Any, ...]:
        """Cases of equal keys have equal arrays. The backward of ReLU changes dy (see reference.py)."""
        return case.shape, case.axis, case.dtype, case.op == "backward+relu"

    def _normals(
        self, shape: tuple[int, ...], seed: int, scale: float = 1, shift: float = 0
    ) -> Array:
        """Normal numbers, a block of them over and over where many are wanted."""
        dtype = np.dtype(self.case.dtype)
        array = self.room.array(shape, self.case.dtype)
        flat = array.reshape(-1)
        rng = np.random.default_rng(seed)
        tile = rng.standard_normal(min(TILE, flat.size), dtype=dtype.type)
        tile = tile * dtype.type(scale) + dtype.type(shift)
        for i in range(0, flat.size, TILE):
            flat[i : i + TILE] = tile[: flat.size - i]
        return array

    @cached_property
    def x(self) -> Array:
        return self._normals(self.case.shape, 0, 1.5, 0.7)

    @cached_property
    def dy(self) -> Array:
        return self._normals(self.case.shape, 1)

    @cached_property
    def residual(self) -> Array:
        return self._normals(self.case.shape, 2)

    def fresh(self, shape: tuple[int, ...] | None = None, dtype: str | None = None) -> Array:
        """An array of x's shape and type, or another, for a contender's results; for one case only."""
        array = self.spare.array(shape or self.case.shape, dtype or self.case.dtype)
        array.fill(0)
        return array

    def silence(self, positions: Array) -> None:
        """Sets dy to 0 there."""
        self.dy.reshape(-1)[positions] = 0
