"""IDX files of any element type and rank, plain (mapped into memory) or .gz (unpacked piece by piece).

Format: http://yann.lecun.com/exdb/mnist/; numbers are big-endian. ``training.data.idx`` pairs images with labels.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from ....support.errors import FileFormatError
from .source import Chunk, Stream, array_chunks

__all__ = ["looks_like", "open_idx"]

_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def looks_like(path: Path) -> bool:
    """Whether the file begins like an IDX file."""
    try:
        with _whole(path), _open(path) as file:
            _header(path, file)
    except FileFormatError:
        return False
    return True


def open_idx(path: Path) -> Stream:
    """Images (rank 3) come as (n, height, width, 1): one channel, last."""
    with _whole(path), _open(path) as file:
        dtype, shape = _header(path, file)
    images = (*shape, 1) if len(shape) > 2 else shape
    if path.name.lower().endswith(".gz"):
        return Stream(str(path), lambda _: _unpacked(path, images), samples=shape[0])
    offset, size = 4 + 4 * len(shape), math.prod(shape) * dtype.itemsize
    found = path.stat().st_size - offset
    if found != size:
        what = "truncated" if found < size else "too long"
        raise FileFormatError(
            f"{path}: {what}: its header {shape} promises {size} bytes, found {found}"
        )
    if size == 0:  # nothing cannot be mapped
        return Stream.of_array(str(path), np.empty(images, dtype))
    mapped = np.memmap(path, dtype, mode="r", offset=offset, shape=images)
    return Stream.of_array(str(path), mapped)


def _unpacked(path: Path, images: tuple[int, ...]) -> Iterator[Chunk]:
    with _whole(path), _open(path) as file:
        dtype, shape = _header(path, file)
        yield from array_chunks(file, str(path), dtype, images)
        if file.read(1):
            raise FileFormatError(f"{path}: too long: more than its header {shape} promises")


def _open(path: Path) -> IO[bytes]:
    if path.name.lower().endswith(".gz"):
        return gzip.open(path)  # type: ignore[return-value]
    return open(path, "rb")


def _header(path: Path, file: IO[bytes]) -> tuple[np.dtype[Any], tuple[int, ...]]:
    head = file.read(4)
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in _TYPES or head[3] == 0:
        raise FileFormatError(
            f"{path}: expected the magic number of IDX (two zero bytes, type, rank), found "
            f"{head.hex() or 'an empty file'}"
        )
    sizes = file.read(4 * head[3])
    if len(sizes) < 4 * head[3]:
        raise FileFormatError(f"{path}: truncated within its header")
    return np.dtype(_TYPES[head[2]]), struct.unpack(f">{head[3]}I", sizes)


@contextmanager
def _whole(path: Path) -> Iterator[None]:
    try:
        yield
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise FileFormatError(f"{path}: not a whole gzip file: {error}") from None
