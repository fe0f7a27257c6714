"""State dicts in .npz: arrays of plain numbers under their names, as numpy.savez writes them, compressed or not.

A net that bncore saved is another format on top of the same one, see npz.py. Never unpickles.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from typing import IO, Any

import numpy as np

from ..support.errors import FileFormatError
from .archive import write_entry

__all__ = ["read_array", "read_shapes", "write"]

Array = np.ndarray[Any, Any]
Layout = tuple[tuple[int, ...], bool, np.dtype[Any]]  # shape, Fortran order, dtype


def read_shapes(archive: zipfile.ZipFile) -> dict[str, tuple[np.dtype[Any], tuple[int, ...]]]:
    """Type and shape of every array, in the order of the file."""
    found: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {}
    for entry in archive.infolist():
        if entry.filename.endswith("data.pkl"):
            raise FileFormatError(
                "a pickle of PyTorch, which bncore never reads: save the state dict as .safetensors"
            )
        name = entry.filename.removesuffix(".npy")
        if name == entry.filename or name in found:
            wrong = "two entries of one name" if name in found else "no array"
            raise FileFormatError(f"{entry.filename!r}: {wrong}")
        with archive.open(entry) as file:
            shape, _, dtype = _layout(file, entry)
        found[name] = (dtype, shape)
    return found


def read_array(archive: zipfile.ZipFile, name: str) -> Array:
    """One array, in C order and in the machine's byte order."""
    entry = archive.getinfo(f"{name}.npy")
    with archive.open(entry) as file:
        shape, fortran, dtype = _layout(file, entry)
        values = np.frombuffer(file.read(), dtype)
    values = values.reshape(shape[::-1]).T if fortran else values.reshape(shape)
    return np.ascontiguousarray(values, dtype.newbyteorder("=")).reshape(shape)


def write(path: Any, names: Mapping[str, Any], read: Callable[[str], Array]) -> None:
    """Arrays whose values ``read(name)`` gives one at a time. Equal contents give equal bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name in names:
            write_entry(archive, name, read(name))


def _layout(file: IO[bytes], entry: zipfile.ZipInfo) -> Layout:
    """The header of an entry, judged: plain numbers, and as many bytes as they take."""
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_2_0(file)
    else:
        raise FileFormatError(f"entry {entry.filename!r} is not an array of .npy format 1.0 or 2.0")
    if dtype.kind not in "biufc":
        raise FileFormatError(f"entry {entry.filename!r} holds {dtype}, expected plain numbers")
    promised = file.tell() + dtype.itemsize * int(np.prod(shape, dtype=object))
    if entry.file_size != promised:
        raise FileFormatError(
            f"entry {entry.filename!r} has {entry.file_size} bytes, its header says {promised}"
        )
    return shape, fortran, dtype
