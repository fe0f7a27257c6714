"""What `bncore stats` reads: data files as pieces with their weights, and which of their features."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ..functional import Statistics
    from ..statistics.weights import WeightFeed
    from ..training.data import Stream

__all__ = ["chunks", "is_table", "open_stream", "selected", "weights_in", "where_weights_are"]

VALUES = 1 << 18  # of a mapped array at a time, where it is not read as it is


def open_stream(args: argparse.Namespace, file: str, weights: str | None) -> Stream:
    from ..training.data import stream

    if not is_table(file):
        return stream(file, array=args.array if file.lower().endswith(".npz") else None)
    columns = None if args.features is None else _listed(args.features)
    return stream(
        file, columns=columns, weights=weights, missing="skip" if args.skip_missing else "error"
    )


def is_table(file: str) -> bool:
    from ..training.data.streams.opening import TABLES

    return file.lower().endswith(TABLES)


def where_weights_are(given: str | None, files: list[str]) -> tuple[str | None, str | None]:
    """(column, None) or (None, file) that holds the weights."""
    if given is None:
        return None, None
    if Path(given).is_file():
        return None, given
    if not all(map(is_table, files)):
        raise ValueError(
            f"--weights: {given!r} is no file, and a column can hold the weights of tables (.csv, .tsv) only"
        )
    return given, None


def weights_in(file: str) -> Iterator[np.ndarray]:
    """The numbers of a file of weights, some at a time."""
    from ..training.data import stream

    for chunk in stream(file):
        if isinstance(chunk, tuple) or chunk.ndim != 2 or chunk.shape[1] != 1:
            raise ValueError(
                f"{file}: expected one weight per sample, found samples of several values"
            )
        yield chunk[:, 0]


def chunks(stream: Stream, flatten: bool, feed: WeightFeed | None) -> Iterator[Any]:
    """Arrays, or pairs of arrays and weights, as `population` takes them."""
    for chunk in stream:
        x, w = chunk if isinstance(chunk, tuple) else (chunk, None)
        step = max(1, len(x))
        if (flatten and x.ndim > 2) or feed is not None:  # a mapped array comes whole
            step = max(1, VALUES // max(1, x[:1].size))
        for begin in range(0, max(1, len(x)), step):
            part = x[begin : begin + step]
            if flatten and x.ndim > 2:
                part = part.reshape(len(part), math.prod(x.shape[1:]))
            if feed is not None:
                yield part, feed.take(len(part))
            else:
                yield part if w is None else (part, w[begin : begin + step])


def _listed(text: str) -> list[str]:
    """Names and positions separated by commas; 8-11 stands for 8,9,10,11."""
    parts: list[str] = []
    for part in (part.strip() for part in text.split(",")):
        ends = re.fullmatch(r"(\d+)-(\d+)", part)
        if ends is not None and int(ends[1]) <= int(ends[2]):
            parts += map(str, range(int(ends[1]), int(ends[2]) + 1))
        elif part:
            parts.append(part)
    if not parts:
        raise ValueError(f"--features: expected names or positions, got {text!r}")
    return parts


def selected(
    wanted: str | None, stats: Statistics, names: tuple[str, ...], file: str
) -> tuple[Statistics, tuple[str, ...]]:
    """The features asked for."""
    from ..functional import Statistics

    if wanted is None:
        return stats, names
    c = len(stats.mean)
    places = []
    for part in _listed(wanted):
        if part in names:
            places.append(names.index(part))
        elif re.fullmatch(r"-?\d+", part) and -c <= int(part) < c:
            places.append(int(part) % c)
        else:
            known = f"{', '.join(names[:12])}" if names else f"positions 0 to {c - 1}"
            raise ValueError(f"{file}: --features: no feature {part!r}; there are {known}")
    chosen = names or tuple(map(str, range(c)))
    return (
        Statistics(stats.count, stats.mean[places], stats.var[places]),
        tuple(chosen[i] for i in places),
    )
