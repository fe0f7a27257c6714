"""A net in one .npz file: arrays under their state-dict names, and a JSON entry that says how to
build the net.

Reading executes nothing: arrays are plain numbers (never pickled objects) and layers come from the
registry of `bncore.layers`. Whatever is wrong with a file's contents is one FileFormatError with
one line.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from .. import __version__, layers
from ..support.errors import FileFormatError
from ..support.files import atomic_path

__all__ = ["FORMAT", "VERSION", "load", "load_meta", "save"]

FORMAT = "bncore-net"
VERSION = 1
HEADER = "__bncore__"  # no state-dict name starts with an underscore, so it cannot collide

PathLike = str | os.PathLike[str]

_DTYPES = {np.dtype(name) for name in ("float32", "float64", "int64", "uint8")}
# what zipfile, zlib and np.lib.format raise on damaged bytes, beside their own exceptions
_DAMAGE = (
    zipfile.BadZipFile, zlib.error, ValueError, TypeError, KeyError, IndexError, EOFError, OSError, RuntimeError,
    NotImplementedError, SyntaxError, AttributeError, MemoryError, OverflowError, RecursionError,
)  # fmt: skip


def save(
    net: layers.Layer, path: PathLike, *, meta: dict[str, Any] | None = None, force: bool = False
) -> None:
    """Write a net: its architecture, parameters and running statistics.

    Parameters
    ----------
    net : Layer
        Any layer or container, in any mode (the mode is not part of the file).
    path : str or path-like
        Used exactly as given: no suffix is added. The customary one is .npz, and the file is one
        (`numpy.load` shows its arrays) whatever it is called.
    meta : dict, optional
        Anything JSON can hold, to be had back from `load_meta`: data set, accuracy, seed, ...
        Tuples come back as lists.
    force : bool
        Replace an existing file; without it that is a FileExistsError. The file is written beside
        its target and renamed, so that a reader sees the old one or the new one, never half of one.

    Raises
    ------
    TypeError, ValueError
        For a net that is no Layer, or meta that JSON cannot hold.
    FileExistsError
        If the file exists and ``force`` is false.

    Notes
    -----
    Equal nets and equal meta give equal bytes: nothing in the file depends on time or place.
    """
    if not isinstance(net, layers.Layer):
        raise TypeError(f"net must be a Layer, got {type(net).__name__}")
    if meta is not None and not isinstance(meta, dict):
        raise TypeError(f"meta must be a dict, got {type(meta).__name__}")
    header = {
        "format": FORMAT,
        "version": VERSION,
        "bncore": __version__,
        "architecture": net.config(),
        "meta": meta or {},
    }
    try:
        text = json.dumps(header, sort_keys=True)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"meta must hold only what JSON can (dicts, lists, strings, numbers), got {error}"
        ) from None
    arrays = {HEADER: np.frombuffer(text.encode(), np.uint8)} | net.state_dict()
    with (
        atomic_path(path, force) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive,
    ):
        for name, array in arrays.items():
            _write_array(archive, name, np.asarray(array))


def load(path: PathLike) -> layers.Layer:
    """Read a net that `save` wrote, in evaluation mode (``net.train()`` to go on training).

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    Layer
        The net, with its parameters, running statistics and dtypes.

    Raises
    ------
    OSError
        If the file cannot be opened (FileNotFoundError, PermissionError, ...).
    FileFormatError
        If it is foreign, truncated, corrupt or of a newer format. Nothing is ever unpickled or
        executed.
    """
    with _archive(path) as archive:
        header = _header(archive)
        names = [name.removesuffix(".npy") for name in archive.namelist()]
        if len(set(names)) != len(names):
            raise FileFormatError("two entries of one name")
        state = {name: _read_array(archive, name) for name in names if name != HEADER}
        net = layers.build(header["architecture"])
        net.load_state_dict(state, strict=True)
        net.eval()
    return net


def load_meta(path: PathLike) -> dict[str, Any]:
    """The `meta` dict that was saved with a net, without building the net.

    Raises
    ------
    OSError, FileFormatError
        As `load`, as far as the file is read.
    """
    with _archive(path) as archive:
        return dict(_header(archive)["meta"])


@contextmanager
def _archive(path: PathLike) -> Iterator[zipfile.ZipFile]:
    """The open file as a zip archive; damage found while it is used becomes one FileFormatError
    that names the file.
    """
    shown = os.fspath(path)
    with open(path, "rb") as file:
        try:
            start = file.read(4)
            if start != b"PK\x03\x04":
                raise FileFormatError(
                    f"expected a net written by bncore.save (.npz), found {_kind(start)}"
                )
            with zipfile.ZipFile(file) as archive:
                yield archive
        except FileFormatError as error:
            raise FileFormatError(f"{shown}: {_line(error)}") from None
        except zipfile.BadZipFile as error:
            raise FileFormatError(f"{shown}: truncated or corrupt ({_line(error)})") from None
        except _DAMAGE as error:
            raise FileFormatError(f"{shown}: corrupt ({_line(error)})") from error


def _header(archive: zipfile.ZipFile) -> dict[str, Any]:
    """The JSON entry, judged: format, version, and that what it must hold is there."""
    if f"{HEADER}.npy" not in archive.namelist():
        raise FileFormatError(
            f"a zip or .npz file, but not a net written by bncore.save (no entry {HEADER!r})"
        )
    try:
        header = json.loads(_read_array(archive, HEADER).tobytes())
    except UnicodeDecodeError:
        raise FileFormatError("corrupt (its JSON entry is not text)") from None
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise FileFormatError(f"its JSON entry does not say format {FORMAT!r}")
    version = header.get("version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise FileFormatError(f"expected a format version >= 1, found {version!r}")
    if version > VERSION:
        raise FileFormatError(
            f"written in format {version} by bncore {header.get('bncore')}, this is bncore {__version__}, "
            f"which reads formats up to {VERSION}: upgrade bncore"
        )
    for key in ("architecture", "meta"):
        if not isinstance(header.get(key), dict):
            raise FileFormatError(f"its JSON entry has no {key!r}")
    return header


def _write_array(archive: zipfile.ZipFile, name: str, array: np.ndarray) -> None:
    if array.dtype not in _DTYPES:
        raise TypeError(
            f"{name} must have a dtype among {sorted(map(str, _DTYPES))}, got {array.dtype}"
        )
    little_endian = array.astype(array.dtype.newbyteorder("<"), copy=False)
    entry = zipfile.ZipInfo(
        f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0)
    )  # the earliest a zip can say
    with archive.open(entry, "w", force_zip64=array.nbytes >= 1 << 30) as file:
        np.lib.format.write_array(file, little_endian, version=(1, 0), allow_pickle=False)


def _read_array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
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
