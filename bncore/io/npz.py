"""A net in one .npz file: arrays under their state-dict names, and a JSON entry that says how to
build the net.

Reading executes nothing: arrays are plain numbers (never pickled objects) and layers come from the
registry of `bncore.layers`. Whatever is wrong with a file's contents is one FileFormatError with
one line.
"""

from __future__ import annotations

import json
import zipfile
from typing import Any

from .. import __version__, layers
from ..support.errors import FileFormatError
from .archive import HEADER, PathLike, open_archive, read_array, read_header, write_archive

__all__ = ["FORMAT", "HEADER", "VERSION", "load", "load_meta", "save"]

FORMAT = "bncore-net"
VERSION = 1
WHAT = "a net written by bncore.save"


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
        json.dumps(header)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"meta must hold only what JSON can (dicts, lists, strings, numbers), got {error}"
        ) from None
    write_archive(path, header, net.state_dict(), force)


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
    with open_archive(path, WHAT) as archive:
        header = _header(archive)
        names = [name.removesuffix(".npy") for name in archive.namelist()]
        if len(set(names)) != len(names):
            raise FileFormatError("two entries of one name")
        state = {name: read_array(archive, name) for name in names if name != HEADER}
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
    with open_archive(path, WHAT) as archive:
        return dict(_header(archive)["meta"])


def _header(archive: zipfile.ZipFile) -> dict[str, Any]:
    return read_header(archive, FORMAT, VERSION, WHAT, ("architecture", "meta"))
