"""NumPy's .npy, mapped into memory, and .npz, whose arrays are read out of the zip piece by piece. Never unpickles."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from ....support.errors import FileFormatError
from .source import Chunk, Stream, array_chunks, as_samples

__all__ = ["open_npy", "open_npz"]

Header = tuple[tuple[int, ...], bool, np.dtype[Any]]
# what zipfile, zlib and np.lib.format raise on damaged bytes
_DAMAGE = (
    zipfile.BadZipFile, zlib.error, ValueError, TypeError, KeyError, EOFError, RuntimeError,
    NotImplementedError, SyntaxError,
)  # fmt: skip


def open_npy(path: Path) -> Stream:
    """The array of a .npy file, of any size."""
    with _damage(path), open(path, "rb") as file:
        shape, _, dtype = _header(file)
        empty = 0 in shape or dtype.itemsize == 0
        array = (
            np.empty(shape, dtype)  # nothing cannot be mapped
            if empty
            else np.lib.format.open_memmap(path, mode="r")
        )
    return Stream.of_array(str(path), array)


def open_npz(path: Path, wanted: str | None) -> Stream:
    """One array of a .npz file: the one named, the only one, or ``x``."""
    with _damage(path), zipfile.ZipFile(path) as archive:
        names = [n.removesuffix(".npy") for n in archive.namelist() if n.endswith(".npy")]
        chosen = wanted or (names[0] if len(names) == 1 else "x")
        if chosen not in names:
            found = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
            raise FileFormatError(
                f"{path}: no array {chosen!r}: choose one of {found}"
                if names
                else f"{path}: holds no arrays"
            )
        with archive.open(f"{chosen}.npy") as file:
            shape, _, dtype = _header(file)
    name = f"{path}: {chosen}"
    as_samples(name, np.empty((0,) * len(shape), dtype))  # judged before anything is read

    def read(_: Stream) -> Iterator[Chunk]:
        with _damage(path), zipfile.ZipFile(path) as archive, archive.open(f"{chosen}.npy") as file:
            shape, fortran, dtype = _header(file)
            if not fortran:
                yield from array_chunks(file, name, dtype, shape)
            else:  # its samples are scattered over the whole member
                whole = next(array_chunks(file, name, dtype, (1, *shape)))
                yield as_samples(name, whole.reshape(shape[::-1]).T)
            if file.read(1):
                raise FileFormatError(f"{name}: more bytes than its header {shape} promises")

    return Stream(name, read, samples=shape[0])


def _header(file: IO[bytes]) -> Header:
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        header = np.lib.format.read_array_header_1_0(file)
    elif version == (2, 0):
        header = np.lib.format.read_array_header_2_0(file)
    else:
        raise ValueError(f".npy format {version[0]}.{version[1]} is not one of plain numbers")
    if header[2].hasobject:
        raise ValueError("holds Python objects, which are never unpickled")
    return header


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Damage found inside becomes one line that names the file."""
    try:
        yield
    except FileFormatError:
        raise
    except _DAMAGE as error:
        text = " ".join(str(error).split()) or type(error).__name__
        raise FileFormatError(f"{path}: cannot be read as {path.suffix}: {text}") from None
