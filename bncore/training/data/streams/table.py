"""Tables in .csv and .csv.gz, some lines at a time: columns of numbers, one of which may be weights.

Blocks of plain lines are parsed by NumPy; a block that it refuses, or that has quotes, is read cell by cell, which also
finds the line and the column to complain about.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any

import numpy as np

from ....support.errors import FileFormatError
from ..csv_file import MISSING, delimiter_of, is_number, open_text
from .source import Chunk, Stream

__all__ = ["open_table"]

Array = np.ndarray[Any, Any]

CELLS = 1 << 16  # of a block of lines, about


@dataclass(frozen=True)
class _Layout:
    """What a table's first row says, and which columns are wanted."""

    path: Path
    delimiter: str
    header: bool
    labels: tuple[str, ...]  # of all columns: names, or positions without a header
    chosen: tuple[int, ...]  # features, then the weights if any
    weighted: bool
    skip: bool  # rows with missing values are left out

    @property
    def block(self) -> int:
        return max(16, CELLS // len(self.labels))


def open_table(
    path: Path,
    columns: Sequence[str | int] | None,
    weights: str | int | None,
    missing: str,
    delimiter: str | None,
) -> Stream:
    """The columns wanted (all of them by default) as float64, with the weights beside them if a column holds them."""
    layout = _layout(path, columns, weights, missing, delimiter)
    features = layout.chosen[: len(layout.chosen) - layout.weighted]
    names = tuple(layout.labels[i] for i in features) if layout.header else ()
    return Stream(str(path), lambda stream: _chunks(layout, stream), names)


def _layout(
    path: Path,
    columns: Sequence[str | int] | None,
    weights: str | int | None,
    missing: str,
    delimiter: str | None,
) -> _Layout:
    with open_text(path) as file:
        line = ""
        for line in file:
            if line.strip():
                break
        delimiter = delimiter or delimiter_of(line)
        try:
            first = next(csv.reader(chain([line], file), delimiter=delimiter, strict=True), [])
        except csv.Error as error:
            raise FileFormatError(f"{path}: line 1: {error}") from None
    cells = [cell.strip() for cell in first]
    if not cells:
        raise FileFormatError(f"{path}: this file is empty")
    by_name = any(isinstance(c, str) and not _is_position(c) for c in (weights, *(columns or ())))
    # text in the first row alone does not make it a header, if the columns wanted are numbers by position
    looked_at = range(len(cells))
    if columns is not None and not by_name:
        looked_at = [int(c) for c in columns if -len(cells) <= int(c) < len(cells)]  # type: ignore[assignment]
    header = by_name or not all(
        is_number(cells[i]) or cells[i].lower() in MISSING for i in looked_at
    )
    labels = tuple(cells) if header else tuple(map(str, range(len(cells))))
    weight = () if weights is None else (_position(path, "weights", weights, labels),)
    chosen = (
        tuple(i for i in range(len(cells)) if i not in weight)
        if columns is None
        else tuple(_position(path, "columns", c, labels) for c in columns)
    )
    if not chosen:
        raise ValueError(f"{path}: columns must name at least one feature, got none")
    return _Layout(
        path, delimiter, header, labels, chosen + weight, bool(weight), missing == "skip"
    )


def _is_position(text: str) -> bool:
    return text.lstrip("-").isdigit()


def _position(path: Path, what: str, column: str | int, labels: tuple[str, ...]) -> int:
    """Where a column is: its name, or its position from 0, or from the end if negative."""
    if isinstance(column, str) and column in labels:
        if labels.count(column) > 1:
            raise ValueError(
                f"{path}: {what}: {labels.count(column)} columns are called {column!r}; give a position instead"
            )
        return labels.index(column)
    if isinstance(column, int) or _is_position(column):
        position = int(column)
        if -len(labels) <= position < len(labels):
            return position % len(labels)
    shown = ", ".join(labels[:12]) + (", ..." if len(labels) > 12 else "")
    raise ValueError(f"{path}: {what}: no column {column!r}; there are {shown}")


def _chunks(layout: _Layout, stream: Stream) -> Iterator[Chunk]:
    samples = 0
    with open_text(layout.path) as file:
        done = 0  # lines
        header = layout.header
        while lines := list(islice(file, layout.block)):
            values = None if header else _plain(layout, lines)
            if values is None:
                rows, extra = _cells(layout, lines, file, done)
                lines += [""] * extra
                if header and rows:
                    rows, header = rows[1:], False
                values = _numbers(layout, rows, stream)
            done += len(lines)
            samples += len(values)
            if len(values):
                yield (values[:, :-1], values[:, -1]) if layout.weighted else values
    if samples == 0:
        raise FileFormatError(f"{layout.path}: no rows of numbers")


def _plain(layout: _Layout, lines: list[str]) -> Array | None:
    """The block's numbers, or None if it is not one of equal, unquoted, complete lines of finite numbers."""
    width, delimiter = len(layout.labels), layout.delimiter
    if any(line.count(delimiter) != width - 1 or '"' in line for line in lines):
        return None
    try:
        values = np.loadtxt(
            lines, delimiter=delimiter, comments=None, usecols=layout.chosen, ndmin=2
        )
    except ValueError:
        return None
    return values if len(values) == len(lines) and np.isfinite(values).all() else None


def _cells(
    layout: _Layout, lines: list[str], file: IO[str], before: int
) -> tuple[list[tuple[int, list[str]]], int]:
    """(line number, cells) of the block's rows that are not blank, and how many more lines the last one took."""
    reader = csv.reader(chain(lines, file), delimiter=layout.delimiter, strict=True)
    rows = []
    try:
        while reader.line_num < len(lines):
            row = next(reader, None)
            if row is None:
                break
            if any(cell.strip() for cell in row):
                rows.append((before + reader.line_num, row))
    except csv.Error as error:
        raise FileFormatError(f"{layout.path}: line {before + reader.line_num}: {error}") from None
    return rows, max(0, reader.line_num - len(lines))


def _numbers(layout: _Layout, rows: list[tuple[int, list[str]]], stream: Stream) -> Array:
    values = np.empty((len(rows), len(layout.chosen)))
    kept = 0
    for line, row in rows:
        if len(row) != len(layout.labels):
            raise FileFormatError(
                f"{layout.path}: line {line}: expected {len(layout.labels)} cells as in the first line, "
                f"found {len(row)}"
            )
        cells = [row[i].strip() for i in layout.chosen]
        if layout.skip and any(cell.lower() in MISSING for cell in cells):
            stream.skipped += 1
            continue
        try:
            values[kept] = [float(cell) for cell in cells]
        except ValueError:
            raise _complaint(layout, line, cells) from None
        if not all(map(math.isfinite, values[kept])):
            raise _complaint(layout, line, cells)
        kept += 1
    return values[:kept]


def _complaint(layout: _Layout, line: int, cells: list[str]) -> FileFormatError:
    """What is wrong with the first bad cell of a row."""
    bad = next(i for i, cell in enumerate(cells) if not is_number(cell))
    what = (
        f"missing value {cells[bad]!r}"
        if cells[bad].lower() in MISSING
        else f"expected a finite number, found {cells[bad]!r}"
    )
    return FileFormatError(
        f"{layout.path}: line {line}, column {layout.labels[layout.chosen[bad]]!r}: {what}"
    )
