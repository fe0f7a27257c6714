"""What a stream is, and pieces of arrays out of any file of bytes. Knows no format."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

from ....support.errors import FileFormatError

__all__ = ["Chunk", "Stream", "array_chunks", "as_samples"]

Array = np.ndarray[Any, Any]
Chunk = Array | tuple[Array, Array]

VALUES = 1 << 18  # of a chunk, about: a second-level cache holds them


@dataclass
class Stream:
    """Samples of one file: iterate to get arrays of some samples each, as often as you like.

    Attributes
    ----------
    name : str
        The file, and the array in it.
    features : tuple of str
        Names of the last axis, where the file has them.
    samples : int or None
        How many there are, where that is known before reading.
    array : ndarray or None
        All of it, mapped into memory and not read, where the format allows that.
    skipped : int
        Samples left out by the last iteration, for missing values.
    """

    name: str
    read: Callable[[Stream], Iterator[Chunk]]
    features: tuple[str, ...] = ()
    samples: int | None = None
    array: Array | None = None
    skipped: int = 0

    def __iter__(self) -> Iterator[Chunk]:
        self.skipped = 0
        return self.read(self)

    @classmethod
    def of_array(cls, name: str, array: Array) -> Stream:
        """A mapped array: one chunk, which its reader cuts."""
        mapped = as_samples(name, array)
        return cls(name, lambda _: iter([mapped]), samples=len(mapped), array=mapped)


def as_samples(name: str, array: Array) -> Array:
    """Numbers of rank >= 2: a plain list of numbers is samples of one feature."""
    if array.dtype.kind not in "iufb":
        raise FileFormatError(f"{name}: expected real numbers, found {array.dtype}")
    if array.ndim == 0:
        raise FileFormatError(f"{name}: expected samples along axis 0, found a single number")
    return array[:, None] if array.ndim == 1 else array


def array_chunks(
    file: IO[bytes], name: str, dtype: np.dtype[Any], shape: tuple[int, ...]
) -> Iterator[Array]:
    """An array in C order, some samples at a time, from the bytes that follow in ``file``."""
    sample = math.prod(shape[1:])
    step = max(1, VALUES // max(1, sample))
    for begin in range(0, shape[0], step):
        rows = min(step, shape[0] - begin)
        data = file.read(rows * sample * dtype.itemsize)
        if len(data) != rows * sample * dtype.itemsize:
            raise FileFormatError(
                f"{name}: truncated: its header {shape} promises {shape[0]} samples, found "
                f"{begin + len(data) // max(1, sample * dtype.itemsize)}"
            )
        yield as_samples(name, np.frombuffer(data, dtype).reshape(rows, *shape[1:]))
