"""Tables in .csv and .csv.gz: numeric feature columns and one target column of numbers or text.

Quoting as in Excel's CSV.

Every complaint names line and column. Missing values are refused, not filled: how to fill them is
not this file's to decide.
"""

from __future__ import annotations

import csv
import gzip
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

from ...support.errors import FileFormatError
from .assemble import Options, Raw

__all__ = ["MISSING", "delimiter_of", "is_number", "open_text", "read"]

MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "?", "-"})


def read(path: Path, options: Options) -> Raw:
    """Features, target and the columns' names.

    The first line is a header if it is the only one that is not numeric, or if ``target`` is a
    name.
    """
    rows = list(_rows(path))
    if not rows:
        raise FileFormatError(f"{path}: this file is empty")
    width = len(rows[0][1])
    for line, row in rows:
        if len(row) != width:
            raise FileFormatError(
                f"{path}: line {line}: expected {width} cells as in the first line, found "
                f"{len(row)}"
            )
    names, column = _columns(path, rows[0][1], options.target)
    body = rows[1:] if names else rows
    if not body:
        raise FileFormatError(f"{path}: only a header, no rows")
    if width < 2:
        raise FileFormatError(
            f"{path}: expected feature columns beside the target, found one column"
        )
    labels = names or [str(i) for i in range(width)]
    x = np.empty((len(body), width - 1))
    for i, (line, row) in enumerate(body):
        features = row[:column] + row[column + 1 :]
        try:
            x[i] = [float(cell) for cell in features]
        except ValueError:
            raise _complaint(path, line, row, column, labels) from None
        if not all(map(math.isfinite, x[i])):
            raise _complaint(path, line, row, column, labels)
    y = _target(path, [(line, row[column].strip()) for line, row in body], labels[column])
    features_named = tuple(name for i, name in enumerate(names) if i != column)
    return Raw(str(path), x, y, feature_names=features_named)


@contextmanager
def open_text(path: Path) -> Iterator[IO[str]]:
    """The text of a .csv or .csv.gz; what is wrong with its bytes becomes one line that names the file."""
    opener = gzip.open if path.name.lower().endswith(".gz") else open
    try:
        with opener(path, "rt", encoding="utf-8-sig", newline="") as file:
            yield file
    except UnicodeDecodeError as error:
        raise FileFormatError(
            f"{path}: not UTF-8 text: byte {error.object[error.start]:#04x}"
        ) from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise FileFormatError(f"{path}: not a whole gzip file: {error}") from None


def delimiter_of(line: str) -> str:
    """Comma, semicolon or tab: what is most often in a file's first line."""
    return max(",;\t", key=line.count)


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """(line number, cells) of every row that is not blank."""
    with open_text(path) as file:
        first = file.readline()
        file.seek(0)
        reader = csv.reader(file, delimiter=delimiter_of(first), strict=True)
        try:
            for row in reader:
                if any(cell.strip() for cell in row):
                    yield reader.line_num, row
        except csv.Error as error:
            raise FileFormatError(f"{path}: line {reader.line_num}: {error}") from None


def _columns(path: Path, first: list[str], target: str | int | None) -> tuple[list[str], int]:
    """(names of the columns, [] without a header; position of the target)."""
    cells = [cell.strip() for cell in first]
    others = list(cells)
    if isinstance(target, int) and -len(cells) <= target < len(cells):
        del others[target]  # a text target does not make the first line a header
    header = isinstance(target, str) or not all(
        is_number(c) or c.lower() in MISSING for c in others
    )
    names = cells if header else []
    if target is None:
        known = ", ".join(names) if names else f"0 to {len(cells) - 1}"
        raise ValueError(f"{path}: target: name the target column (--target), one of {known}")
    if isinstance(target, str):
        if target in names:
            if names.count(target) > 1:
                raise ValueError(
                    f"{path}: target: {names.count(target)} columns are called {target!r}; "
                    "give a position instead"
                )
            return names, names.index(target)
        if target.lstrip("-").isdigit():  # a position from the command line
            return _columns(path, first, int(target))
        raise ValueError(f"{path}: target: no column {target!r}; there are {', '.join(names)}")
    if not isinstance(target, int) or isinstance(target, bool):
        raise TypeError(f"target must be the name or position of a column, got {target!r}")
    if not -len(cells) <= target < len(cells):
        raise ValueError(
            f"{path}: target: expected a position from {-len(cells)} to {len(cells) - 1}, got "
            f"{target}"
        )
    return names, target % len(cells)


def _target(path: Path, cells: list[tuple[int, str]], name: str) -> np.ndarray:
    for line, cell in cells:
        if cell.lower() in MISSING:
            raise FileFormatError(
                f"{path}: line {line}, column {name!r}: missing value {cell!r} in the target"
            )
    values = [cell for _, cell in cells]
    if all(map(is_number, values)):
        return np.array([float(cell) for cell in values])
    return np.array(values)


def _complaint(
    path: Path, line: int, row: list[str], column: int, labels: list[str]
) -> FileFormatError:
    """What is wrong with the first bad feature of this row."""
    bad = next(i for i, cell in enumerate(row) if i != column and not is_number(cell))
    cell = row[bad].strip()
    what = (
        f"missing value {cell!r}"
        if cell.lower() in MISSING
        else f"expected a finite number, found {cell!r}"
    )
    return FileFormatError(f"{path}: line {line}, column {labels[bad]!r}: {what}")


def is_number(cell: str) -> bool:
    """Whether a cell holds a finite number."""
    try:
        return math.isfinite(float(cell))
    except ValueError:
        return False
