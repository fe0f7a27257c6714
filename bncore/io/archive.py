"""Arrays and a JSON entry in one .npz file: what nets and statistics are saved in.

Reading executes nothing: arrays are plain numbers, never pickled objects. Whatever is wrong with a file's contents is one
FileFormatError with one line.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any

import numpy as np

from .. import __version__
from ..support.errors import FileFormatError
from ..support.files import atomic_path

__all__ = [
    "HEADER",
    "PathLike",
    "damage",
    "judge_header",
    "open_archive",
    "read_array",
    "read_header",
    "write_archive",
    "write_entry",
    "zip_of",
]

HEADER = "__bncore__"  # no state-dict name starts with an underscore, so it cannot collide

PathLike = str | os.PathLike[str]

_DTYPES = {np.dtype(name) for name in ("float32", "float64", "int64", "uint8")}
# what zipfile, zlib and np.lib.format raise on damaged bytes, beside their own exceptions
_DAMAGE = (
    zipfile.BadZipFile, zlib.error, ValueError, TypeError, KeyError, IndexError, EOFError, OSError, RuntimeError,
    NotImplementedError, SyntaxError, AttributeError, MemoryError, OverflowError, RecursionError,
)  # fmt: skip


def write_archive(
    path: PathLike, header: dict[str, Any], arrays: Mapping[str, Any], force: bool
) -> None:
    """Equal contents give equal bytes: nothing in the file depends on time or place."""
    text = json.dumps(header, sort_keys=True)
    entries = {HEADER: np.frombuffer(text.encode(), np.uint8)} | dict(arrays)
    with (
        atomic_path(path, force) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive,
    ):
        for name, array in entries.items():
            _write_array(archive, name, np.asarray(array))


@contextmanager
def open_archive(path: PathLike, what: str) -> Iterator[zipfile.ZipFile]:
    """The open file as a zip archive; damage found while it is used becomes one FileFormatError
    that names the file.
    """
    with open(path, "rb") as file, damage(path), zip_of(file, what) as archive:
        yield archive


def zip_of(file: IO[bytes], what: str) -> zipfile.ZipFile:
    """The zip archive in an open file, which must begin like one."""
    start = file.read(4)
    if start != b"PK\x03\x04":
        raise FileFormatError(f"expected {what} (.npz), found {_kind(start)}")
    return zipfile.ZipFile(file)


@contextmanager
def damage(path: PathLike) -> Iterator[None]:
    """Whatever damaged bytes raise inside becomes one FileFormatError that names the file."""
    shown = os.fspath(path)
    try:
        yield
    except FileFormatError as error:
        raise FileFormatError(f"{shown}: {_line(error)}") from None
    except zipfile.BadZipFile as error:
        raise FileFormatError(f"{shown}: truncated or corrupt ({_line(error)})") from None
    except _DAMAGE as error:
        raise FileFormatError(f"{shown}: corrupt ({_line(error)})") from error


def read_header(
    archive: zipfile.ZipFile, form: str, version: int, what: str, dicts: tuple[str, ...] = ()
) -> dict[str, Any]:
    """The JSON entry, judged: format, version, and that the ``dicts`` it must hold are there."""
    if f"{HEADER}.npy" not in archive.namelist():
        raise FileFormatError(f"a zip or .npz file, but not {what} (no entry {HEADER!r})")
    try:
        header = json.loads(read_array(archive, HEADER).tobytes())
    except UnicodeDecodeError:
        raise FileFormatError("corrupt (its JSON entry is not text)") from None
    judge_header(header, form, version)
    for key in dicts:
        if not isinstance(header.get(key), dict):
            raise FileFormatError(f"its JSON entry has no {key!r}")
    return dict(header)


def judge_header(header: Any, form: str, version: int) -> None:
    """Raise unless a header is one of this format, of a version that can be read."""
    if not isinstance(header, dict) or header.get("format") != form:
        raise FileFormatError(f"its JSON entry does not say format {form!r}")
    found = header.get("version")
    if not isinstance(found, int) or isinstance(found, bool) or found < 1:
        raise FileFormatError(f"expected a format version >= 1, found {found!r}")
    if found > version:
        raise FileFormatError(
            f"written in format {found} by bncore {header.get('bncore')}, this is bncore {__version__}, "
            f"which reads formats up to {version}: upgrade bncore"
        )


def _write_array(archive: zipfile.ZipFile, name: str, array: np.ndarray) -> None:
    if array.dtype not in _DTYPES:
        raise TypeError(
            f"{name} must have a dtype among {sorted(map(str, _DTYPES))}, got {array.dtype}"
        )
    write_entry(archive, name, array)


def write_entry(archive: zipfile.ZipFile, name: str, array: np.ndarray) -> None:
    """One array as it is, uncompressed and without a date."""
    little_endian = array.astype(array.dtype.newbyteorder("<"), copy=False)
    entry = zipfile.ZipInfo(
        f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0)
    )  # the earliest a zip can say
    with archive.open(entry, "w", force_zip64=array.nbytes >= 1 << 30) as file:
        np.lib.format.write_array(file, little_endian, version=(1, 0), allow_pickle=False)


def read_array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """One entry, from its bytes alone: `numpy.load` would allocate whatever a damaged header asks
    for.
    """
    entry = archive.getinfo(f"{name}.npy")
    if entry.compress_type != zipfile.ZIP_STORED:
        raise FileFormatError(
            f"entry {name!r} is compressed, bncore.save stores arrays as they are"
        )
    raw = archive.read(entry)
    stream = io.BytesIO(raw)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise FileFormatError(f"entry {name!r} is not an array of .npy format 1.0")
    shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(stream)
    if dtype not in _DTYPES or fortran_order:
        raise FileFormatError(
            f"entry {name!r} holds {'Fortran-ordered ' * fortran_order}{dtype}, expected plain numbers in C order"
        )
    return np.frombuffer(raw, dtype, offset=stream.tell()).reshape(shape)


def _kind(start: bytes) -> str:
    if not start:
        return "an empty file"
    if start[:2] == b"PK":
        return "an empty or truncated zip file"
    if start[:1] == b"\x80":
        return "what may be a pickle, which bncore never reads"
    return f"a file that starts with {start!r}"


def _line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else text[:297] + "..."
