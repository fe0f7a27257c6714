"""Population statistics in a file: .npz and .json, which can be read again and merged, and .csv for other programs."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..functional import Statistics
from ..support.errors import FileFormatError
from ..support.files import atomic_path
from .archive import (
    HEADER,
    PathLike,
    judge_header,
    open_archive,
    read_array,
    read_header,
    write_archive,
)

__all__ = ["is_statistics", "load_statistics", "save_statistics"]

FORMAT = "bncore-statistics"
VERSION = 1
WHAT = "statistics written by bncore.save_statistics"

Array = np.ndarray[Any, Any]


def save_statistics(
    stats: Statistics, path: PathLike, *, features: Sequence[str] = (), force: bool = False
) -> None:
    """Write statistics, exactly: what `load_statistics` gives has the same bits.

    Parameters
    ----------
    stats : Statistics
    path : str or path-like
        Its suffix decides: ``.json``, ``.csv`` (one line per feature; not to be read again), anything else is .npz with
        the arrays ``count``, ``mean`` and ``var``.
    features : sequence of str, optional
        Names of the channels.
    force : bool
        Replace an existing file.

    Raises
    ------
    TypeError, ValueError
        For what is no Statistics, or names whose number differs from that of the channels.
    FileExistsError
        If the file exists and ``force`` is false.
    """
    if not isinstance(stats, Statistics):
        raise TypeError(f"stats must be Statistics, got {type(stats).__name__}")
    names = [str(name) for name in features]
    if names and len(names) != len(stats.mean):
        raise ValueError(
            f"features must be {len(stats.mean)} names, one per channel, got {len(names)}"
        )
    header = {
        "format": FORMAT,
        "version": VERSION,
        "bncore": __version__,
        "features": names,
    }
    kind = Path(path).suffix.lower()
    if kind == ".json":
        numbers = {"mean": _plain(stats.mean), "var": _plain(stats.var)}
        _write_text(path, force, json.dumps({**header, "count": float(stats.count), **numbers}))
    elif kind == ".csv":
        _write_table(stats, names, path, force)
    else:
        arrays = {"count": np.float64(stats.count), "mean": stats.mean, "var": stats.var}
        write_archive(path, header, arrays, force)


def load_statistics(path: PathLike) -> tuple[Statistics, tuple[str, ...]]:
    """Read what `save_statistics` wrote as .npz or .json.

    Returns
    -------
    stats : Statistics
    features : tuple of str
        Names of the channels, empty if none were saved.

    Raises
    ------
    OSError
        If the file cannot be opened.
    FileFormatError
        If it is foreign, truncated, corrupt or of a newer format. Nothing is ever unpickled.
    """
    with open(path, "rb") as file:
        is_json = file.read(1) == b"{"
    if is_json:
        header = _read_json(path)
        numbers = {key: header.get(key) for key in ("count", "mean", "var")}
    else:
        with open_archive(path, WHAT) as archive:
            header = read_header(archive, FORMAT, VERSION, WHAT)
            numbers = {key: read_array(archive, key) for key in ("count", "mean", "var")}
    return _judge(os.fspath(path), header.get("features"), numbers)


def is_statistics(path: PathLike) -> bool:
    """Whether a file says that it holds statistics, damaged or not."""
    try:
        with open(path, "rb") as file:
            start = file.read(4)
        if start[:1] == b"{":
            return Path(path).suffix.lower() == ".json"
        if start != b"PK\x03\x04":
            return False
        with open_archive(path, WHAT) as archive:
            if f"{HEADER}.npy" not in archive.namelist():
                return False
            return FORMAT.encode() in read_array(archive, HEADER).tobytes()
    except (OSError, FileFormatError):
        return False


def _plain(values: Array) -> list[float | None]:
    """JSON has no word for NaN and infinity: both become null, which is read as NaN."""
    return [float(v) if np.isfinite(v) else None for v in values]


def _write_text(path: PathLike, force: bool, text: str) -> None:
    with atomic_path(path, force) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def _write_table(stats: Statistics, names: list[str], path: PathLike, force: bool) -> None:
    with (
        atomic_path(path, force) as temporary,
        open(temporary, "w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(["feature", "count", "mean", "std", "var"])
        with np.errstate(invalid="ignore"):
            std = np.sqrt(stats.var)
        for i, (mean, s, var) in enumerate(zip(stats.mean, std, stats.var, strict=True)):
            name = names[i] if names else i
            writer.writerow([name, *map(float, (stats.count, mean, s, var))])


def _read_json(path: PathLike) -> dict[str, Any]:
    shown = os.fspath(path)
    try:
        header = json.loads(Path(path).read_text(encoding="utf-8"))
        judge_header(header, FORMAT, VERSION)
    except FileFormatError as error:
        raise FileFormatError(f"{shown}: {error}") from None
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"{shown}: truncated or corrupt ({error})") from None
    return dict(header)


def _judge(shown: str, names: Any, numbers: dict[str, Any]) -> tuple[Statistics, tuple[str, ...]]:
    """Statistics from what a file holds, or one line on what is wrong with it."""
    try:
        count = float(numbers["count"])
        mean, var = (np.array(numbers[key], np.float64) for key in ("mean", "var"))
    except (TypeError, ValueError):
        raise FileFormatError(
            f"{shown}: corrupt (count, mean and var are not all numbers)"
        ) from None
    if mean.ndim != 1 or mean.shape != var.shape:
        raise FileFormatError(
            f"{shown}: corrupt (mean and var have shapes {mean.shape} and {var.shape})"
        )
    if not 0 <= count < np.inf or np.any(var < 0):
        raise FileFormatError(f"{shown}: corrupt (a negative or infinite count, or a variance < 0)")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise FileFormatError(f"{shown}: its JSON entry has no 'features'")
    if names and len(names) != len(mean):
        raise FileFormatError(f"{shown}: corrupt ({len(names)} names of {len(mean)} features)")
    return Statistics(count, mean, var), tuple(names)
