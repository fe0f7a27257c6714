"""``stream``: finds out what a file is and hands it to the one reader for it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ....support import checks
from ....support.errors import FileFormatError
from . import idx
from .numpy_files import open_npy, open_npz
from .source import Stream
from .table import open_table

__all__ = ["stream"]

TABLES = (".csv", ".csv.gz", ".tsv", ".tsv.gz")


def stream(
    path: str | os.PathLike[str],
    *,
    array: str | None = None,
    columns: Sequence[str | int] | None = None,
    weights: str | int | None = None,
    missing: str = "error",
    delimiter: str | None = None,
) -> Stream:
    """A data file as an iterable of arrays of some samples each, read in constant memory.

    Parameters
    ----------
    path : str or path
        One of

        - ``file.npy``: mapped into memory;
        - ``file.npz``: one array, unpacked piece by piece (in one piece if it is in Fortran order);
        - ``file.csv``, ``file.tsv``, also with ``.gz``: numeric columns, samples in rows;
        - an IDX file (MNIST and relatives), also ``.gz``; images come as (n, height, width, 1).
    array : str, optional
        Of a .npz: the array's name. Not needed for the only one, or one called ``x``.
    columns : sequence of str or int, optional
        Of a table: names, or positions from 0 (from the end if negative). Default: all.
    weights : str or int, optional
        Of a table: the column of the samples' weights, which is no feature then. The stream gives pairs
        ``(samples, weights)``.
    missing : {"error", "skip"}
        Of a table: rows with an empty cell, NA, NaN, null, none, ? or - are an error that names line and column, or
        left out and counted (``Stream.skipped``).
    delimiter : str, optional
        Of a table: one character. Default: comma, semicolon or tab, whichever the first line has most of.

    Returns
    -------
    Stream
        What `population` takes: ``bn.population(bn.data.stream("x.csv"))``. Numbers without a second axis come as
        (n, 1).

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    FileFormatError
        If the file is not what it should be, when that shows: some damage only while iterating.
    ValueError
        For options of another kind of file, and columns that are not there.

    Notes
    -----
    A table's first row is a header if one of its cells is not a number, or if columns are named.
    """
    checks.one_of(missing, "missing", ("error", "skip"))
    if delimiter is not None and (not isinstance(delimiter, str) or len(delimiter) != 1):
        raise ValueError(f"delimiter must be one character, got {delimiter!r}")
    file = Path(path)
    if file.is_dir():
        raise IsADirectoryError(f"{path}: is a folder, expected a file")
    if not file.exists():
        raise FileNotFoundError(f"{path}: no such file")
    name = file.name.lower()
    table = name.endswith(TABLES)
    if array is not None and not name.endswith(".npz"):
        raise ValueError(f"array must be None for {path}: only .npz files hold named arrays")
    if not table and (columns is not None or weights is not None or delimiter is not None):
        raise ValueError(f"columns, weights and delimiter must be None for {path}: it is no table")
    if table:
        if isinstance(columns, str):
            raise TypeError(f"columns must be a sequence of columns, got the text {columns!r}")
        return open_table(file, columns, weights, missing, delimiter)
    if name.endswith(".npy"):
        return open_npy(file)
    if name.endswith(".npz"):
        return open_npz(file, array)
    if "ubyte" in name or idx.looks_like(file):
        return idx.open_idx(file)
    raise FileFormatError(f"{path}: expected .npy, .npz, .csv, .tsv (both also .gz) or an IDX file")
