"""bncore stats: mean and variance per feature of data files of any size; several files are parts of one data set."""

from __future__ import annotations

import argparse
import math
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .options import add_common, add_threads, note
from .report import emit_json, table
from .stats_inputs import chunks, is_table, open_stream, selected, weights_in, where_weights_are

if TYPE_CHECKING:
    from ..functional import Statistics

__all__ = ["add_arguments", "run"]

FIRST, LAST = 16, 4  # features of a long table that are shown


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files",
        metavar="FILE",
        nargs="+",
        help=".npy, .npz, .csv, .tsv, IDX (MNIST; also .gz), or statistics saved by --out (.npz, .json), "
        "which are merged in",
    )
    parser.add_argument(
        "--axis",
        type=int,
        metavar="N",
        help="axis of the features (default: -1, the last; axis 0 holds the samples)",
    )
    parser.add_argument(
        "--flatten", action="store_true", help="every value of a sample is a feature of its own"
    )
    parser.add_argument(
        "--array", metavar="NAME", help="array of a .npz (default: the only one, or x)"
    )
    parser.add_argument(
        "--features",
        metavar="LIST",
        help="only these: names or positions, e.g. height,weight or 0,3,8-11",
    )
    parser.add_argument(
        "--weights",
        metavar="COLUMN|FILE",
        help="weight of every sample: a column of the tables, or a file of as many numbers as all samples",
    )
    parser.add_argument(
        "--skip-missing", action="store_true", help="leave out table rows with missing values"
    )
    parser.add_argument(
        "--out", metavar="FILE", help="save the statistics: .npz, .json, or .csv for other programs"
    )
    parser.add_argument("--all", action="store_true", help="print every feature of a long list")
    add_threads(parser)
    add_common(parser)


@dataclass
class _Found:
    """What the files so far gave together."""

    stats: Statistics | None = None
    names: tuple[str, ...] = ()
    file: str = ""  # the first one: the others must fit to it
    samples: int = 0
    skipped: int = 0

    def add(self, stats: Statistics, names: tuple[str, ...], file: str) -> None:
        """One more part of the data set."""
        if self.stats is None:
            self.stats, self.names, self.file = stats, names, file
            return
        here, there = len(stats.mean), len(self.stats.mean)
        if here != there:
            raise ValueError(
                f"{file}: has {here} features, {self.file} has {there}: no parts of one data set"
            )
        if names and self.names and names != self.names:
            pairs = zip(names, self.names, strict=True)
            one, other = next((a, b) for a, b in pairs if a != b)
            raise ValueError(
                f"{file}: has a feature {one!r} where {self.file} has {other!r}: no parts of one data set"
            )
        self.names = self.names or names
        with np.errstate(invalid="ignore", over="ignore"):
            self.stats = self.stats.merge(stats)


def run(args: argparse.Namespace) -> int:
    from ..io.statistics_file import is_statistics, save_statistics
    from ..support.files import check_target

    if args.out is not None:
        check_target(args.out, args.force)
    if args.flatten and args.axis is not None:
        raise ValueError("--flatten makes every value a feature: give it or --axis, not both")
    saved = [is_statistics(file) for file in args.files]
    if args.weights is not None and all(saved):
        raise ValueError("--weights needs data files: statistics already hold theirs")
    found = _Found()
    start = time.perf_counter()
    _measure(
        args, [f for f, is_saved in zip(args.files, saved, strict=True) if not is_saved], found
    )
    _merge_in(args, [f for f, is_saved in zip(args.files, saved, strict=True) if is_saved], found)
    seconds = time.perf_counter() - start
    assert found.stats is not None  # there is at least one file
    if args.out is not None:
        save_statistics(found.stats, args.out, features=found.names, force=args.force)
    _show(args, found.stats, found, seconds)
    return 0


def _merge_in(args: argparse.Namespace, files: list[str], found: _Found) -> None:
    """Statistics measured before, here or on another machine."""
    from ..io import load_statistics

    for file in files:
        stats, names = load_statistics(file)
        found.add(*selected(args.features, stats, names, file), file)


def _measure(args: argparse.Namespace, files: list[str], found: _Found) -> None:
    """Data files, one after the other."""
    from ..statistics import population
    from ..statistics.weights import WeightFeed
    from ..support.progress import Progress

    column, weights_file = where_weights_are(args.weights, files)
    feed = None if weights_file is None else WeightFeed(weights_in(weights_file))
    streams = [open_stream(args, file, column) for file in files]
    total = sum(s.samples or 0 for s in streams) if all(s.samples for s in streams) else None
    with (
        Progress(total, "samples", show=not args.quiet and None) as progress,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", RuntimeWarning)  # `_show` tells poisoned features by name
        for file, stream in zip(files, streams, strict=True):
            axis = -1 if args.axis is None else args.axis
            parts = chunks(stream, args.flatten, feed)
            try:
                stats = population(parts, axis=axis, progress=progress, threads=args.threads)
            except (ValueError, TypeError) as error:
                text = str(error)
                raise type(error)(text if text.startswith(file) else f"{file}: {text}") from None
            names = stream.features if args.axis in (None, -1, 1) else ()
            if not is_table(file):
                stats, names = selected(args.features, stats, names, file)
            found.add(stats, names, file)
            found.skipped += stream.skipped
        found.samples = progress.done
    if feed is not None:
        feed.finish()


def _show(args: argparse.Namespace, stats: Statistics, found: _Found, seconds: float) -> None:
    with np.errstate(invalid="ignore"):
        std = np.sqrt(stats.var)
    names = found.names or tuple(map(str, range(len(std))))
    fine = np.isfinite(stats.mean) & np.isfinite(stats.var)
    poisoned = [names[i] for i in np.flatnonzero(~fine)]
    if args.json:
        emit_json(
            {
                "command": "stats",
                "files": args.files,
                "samples": found.samples,
                "skipped": found.skipped,
                "count": float(stats.count),
                "features": list(names),
                "mean": stats.mean,
                "std": std,
                "var": stats.var,
                "not_finite": poisoned,
                "seconds": seconds,
                "out": args.out,
            }
        )
    else:
        print("\n".join(_text(args, stats, std, names)))
    read = f"{found.samples} samples read in {seconds:.2f} s"
    note(args, read + (f", {found.skipped} left out for missing values" if found.skipped else ""))
    if poisoned:
        shown = ", ".join(poisoned[:10]) + (", ..." if len(poisoned) > 10 else "")
        note(args, f"{len(poisoned)} features are not finite (NaN, infinity or overflow): {shown}")
    if args.out is not None:
        note(args, f"saved {args.out}")


def _text(
    args: argparse.Namespace, stats: Statistics, std: np.ndarray, names: tuple[str, ...]
) -> Iterator[str]:
    """A table, its middle left out if it is long."""
    count = int(stats.count) if float(stats.count).is_integer() else stats.count
    yield f"{len(names)} feature{'s' * (len(names) != 1)}, count {count}"
    rows: list[tuple[str, ...]] = [("feature", "mean", "std", "var")]
    numbers = zip(names, stats.mean, std, stats.var, strict=True)
    rows += [(name, _resolved(mean, s), f"{s:.6g}", f"{var:.6g}") for name, mean, s, var in numbers]
    left_out = len(names) - FIRST - LAST
    if left_out > 1 and not args.all:
        rows[1 + FIRST : -LAST] = [(f"... {left_out} more (--all)", "", "", "")]
    yield table(rows)


def _resolved(mean: float, std: float) -> str:
    """A mean to six digits, or as many more as show a thousandth of the standard deviation, and rounding allows."""
    digits = 6
    if mean and std > 0.0 and math.isfinite(mean) and math.isfinite(std):
        digits = max(6, min(15, 4 + math.ceil(math.log10(abs(mean)) - math.log10(std))))
    return f"{mean:.{digits}g}"
