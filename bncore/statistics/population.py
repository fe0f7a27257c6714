"""Mean and variance of any amount of data, in one pass and constant memory.

The measuring and merging are `functional`'s; here data of any size and kind is cut into pieces for it. Not here:
files (`training.data.stream` reads them piece by piece) and statistics inside nets (`recalibrate`).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from .. import functional as F
from ..functional.weighted import sample_weights
from ..support import checks
from ..support.progress import Progress
from ..thread_limits import threads as limited_threads
from .weights import WeightFeed

__all__ = ["population"]

Array = np.ndarray[Any, Any]

# Values at a time: of arrays that are read as they are (steps of the progress), and of those that must be converted or
# copied first (a second-level cache holds them)
AS_IT_IS, CONVERTED = 1 << 24, 1 << 18


def population(
    data: Any,
    *,
    axis: int = -1,
    weights: Any = None,
    batch_size: int | None = None,
    progress: Progress | bool | None = None,
    threads: int | None = None,
) -> F.Statistics:
    """Mean and biased variance per channel of data that need not fit into memory.

    ``mean = sum(w x) / sum(w)``, ``var = sum(w (x - mean)**2) / sum(w)``, w = 1 without weights.

    Parameters
    ----------
    data : array or iterable
        * An array of rank >= 2, samples along axis 0: read as it is if it is float32 or float64 and C- or
          Fortran-contiguous, else converted piece by piece (integers, bool, float16, other byte orders and strides),
          never as a whole. ``np.memmap`` and what else has a shape and can be sliced (HDF5, Zarr) may be larger than
          memory.
        * An iterable of such arrays, of any lengths, each read once and forgotten: a generator, a list of files opened
          one by one. With weights it may give pairs ``(array, weights)``.
    axis : int
        The channel axis of every array. All others are reduced.
    weights : array, or iterable of arrays, optional
        One finite number >= 0 per sample, in the order of the samples; an iterable may cut them differently from the
        data. A sample of weight 0 is not looked at.
    batch_size : int, optional
        Largest number of samples at a time. The default keeps pieces in cache; it decides speed, and the last bits.
    progress : Progress or bool, optional
        Told the number of samples of every piece; True shows them on stderr.
    threads : int, optional
        At most so many; the bits do not depend on it.

    Returns
    -------
    Statistics
        ``count`` is the sum of the weights times the positions per sample and channel. What was measured elsewhere
        merges (``a.merge(b)``), pickles, and is what `functional.normalize` takes.

    Warns
    -----
    RuntimeWarning
        Naming the channels whose statistics are not finite: NaN or infinity in a channel poisons that one alone.

    Raises
    ------
    TypeError
        For what is neither array nor iterable, and for data or weights that are not real numbers.
    ValueError
        For arrays of rank < 2, of differing numbers of channels, weights that are too few, too many or negative, and
        an iterable that gives nothing.

    Notes
    -----
    Sums of deviations over blocks, merged in float64 (Chan, Golub & LeVeque 1979): float32 data with a mean of 1e4
    deviations gets its variance to 1e-7, where a plain float32 sum loses all of it.

    Examples
    --------
    >>> stats = bn.population(np.load("x.npy", mmap_mode="r"))
    >>> y, _ = F.normalize(batch, stats, axis=-1)
    """
    if batch_size is not None:
        checks.positive_int(batch_size, "batch_size")
    if threads is not None:
        checks.positive_int(threads, "threads")
    feed = None if weights is None else WeightFeed(weights)
    with limited_threads(threads), _shown(progress, data) as told:
        result = _Merger(axis, batch_size, told)
        for piece, w in _pairs(data, feed, batch_size):
            result.add(piece, w)
    if feed is not None:
        feed.finish()
    stats = result.statistics()
    _report_poison(stats)
    return stats


def _shown(progress: Progress | bool | None, data: Any) -> AbstractContextManager[Progress | None]:
    """The reporter to tell: the one given, which its owner opens, or one of our own."""
    if progress is None or isinstance(progress, (bool, Progress)):
        if progress is True:
            shape: tuple[int, ...] = tuple(getattr(data, "shape", ()))
            return Progress(shape[0] if shape else None, "population")
        return nullcontext(progress or None)
    raise TypeError(f"progress must be a Progress, True or False, got {type(progress).__name__}")


def _pairs(
    data: Any, feed: WeightFeed | None, batch_size: int | None
) -> Iterator[tuple[Array, Array | None]]:
    """Arrays with their weights, if any, in the order of the data."""
    if isinstance(data, np.ndarray):
        source: Iterable[Any] = (data,)
    elif hasattr(data, "shape") and hasattr(data, "__getitem__"):
        source = _slices(data, batch_size)
    elif isinstance(data, Iterable) and not isinstance(data, (str, bytes, dict)):
        source = data
    else:
        raise TypeError(
            f"data must be an array or an iterable of arrays, got {type(data).__name__}"
        )
    for number, item in enumerate(source):
        own = None
        if isinstance(item, tuple) and len(item) == 2:
            item, own = item
            if feed is not None:
                raise TypeError(
                    "weights must be None where data gives (array, weights) pairs, got both"
                )
        if not isinstance(item, np.ndarray) or isinstance(item, np.ma.MaskedArray):
            raise TypeError(
                f"data must be an array or an iterable of arrays, got item {number} as a {type(item).__name__}"
            )
        if item.ndim < 2:
            raise ValueError(
                f"data must have samples along axis 0 and features after it, got shape {item.shape}"
            )
        if own is not None:
            yield item, sample_weights(own, len(item))
        else:
            yield item, None if feed is None else feed.take(len(item))


def _slices(data: Any, batch_size: int | None) -> Iterator[Array]:
    """What is no ndarray but has a shape and slices, in arrays of samples."""
    if len(data.shape) < 2:
        raise ValueError(
            f"data must have samples along axis 0 and features after it, got shape {tuple(data.shape)}"
        )
    n, *rest = data.shape
    step = batch_size or max(1, CONVERTED // max(1, int(np.prod(rest))))
    for begin in range(0, max(n, 1), step):
        yield np.asarray(data[begin : begin + step])


class _Merger:
    """Statistics of all pieces so far."""

    def __init__(self, axis: int, batch_size: int | None, progress: Progress | None) -> None:
        self._axis = checks.integer(axis, "axis")
        self._batch_size = batch_size
        self._progress = progress
        self._total: F.Statistics | None = None

    def add(self, x: Array, weights: Array | None) -> None:
        """One array of any size."""
        axis = self._axis + x.ndim if self._axis < 0 else self._axis
        if not 0 <= axis < x.ndim:
            raise ValueError(
                f"axis must lie in [{-x.ndim}, {x.ndim}) for {x.ndim} dimensions, got {self._axis}"
            )
        if axis == 0 and (weights is not None or self._batch_size is not None):
            what = "weights" if weights is not None else "batch_size"
            raise ValueError(
                f"axis must not be 0 with {what}, which go by the samples along axis 0, got 0"
            )
        if self._total is not None and x.shape[axis] != len(self._total.mean):
            raise ValueError(
                f"data must have {len(self._total.mean)} channels in every array, got shape {x.shape} "
                f"with axis={self._axis}"
            )
        step = self._batch_size or max(1, len(x))
        for begin in range(0, max(len(x), 1), step):
            w = None if weights is None else weights[begin : begin + step]
            self._measure(x[begin : begin + step], w, axis)

    def _measure(self, x: Array, weights: Array | None, axis: int) -> None:
        samples = len(x)
        dtype = _real_type(x.dtype)
        if weights is None and x.flags.f_contiguous and not x.flags.c_contiguous:
            x, axis = x.T, x.ndim - 1 - axis
        as_it_is = x.dtype == dtype and x.flags.c_contiguous and x.flags.aligned
        if as_it_is and axis == 0:
            pieces: Iterator[tuple[Array, Array | None]] = iter([(x, weights)])
        else:
            pieces = _pieces(x, weights, axis, AS_IT_IS if as_it_is else CONVERTED)
        seen = done = 0
        for piece, w in pieces:
            piece = np.ascontiguousarray(piece, dtype)
            if w is None:
                self._merge(F.statistics(piece, axis=axis))
            else:
                self._merge(F.weighted_statistics(piece, w, axis=axis))
            seen += piece.size
            if self._progress is not None and seen:
                now = samples * seen // x.size  # pieces may be parts of samples, or go across them
                self._progress.step(now - done)
                done = now

    def _merge(self, stats: F.Statistics) -> None:
        with np.errstate(invalid="ignore", over="ignore"):  # poisoned channels are reported once
            self._total = stats if self._total is None else self._total.merge(stats)

    def statistics(self) -> F.Statistics:
        if self._total is None:
            raise ValueError("data must give at least one array, got none")
        return self._total


def _real_type(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The type that is measured: float32 where it holds every value, else float64."""
    if dtype.kind not in "iufb":
        raise TypeError(f"data must be real numbers, got {dtype}")
    small = dtype.itemsize <= 2 or (dtype.kind == "f" and dtype.itemsize == 4)
    return np.dtype(np.float32 if small else np.float64)


def _pieces(
    x: Array, weights: Array | None, axis: int, limit: int
) -> Iterator[tuple[Array, Array | None]]:
    """x cut along its axes but the channels', from the front, into pieces of at most ``limit`` values if possible."""
    cut = next((i for i, size in enumerate(x.shape) if i != axis and size > 1), None)
    if x.size <= limit or cut is None:
        yield x, weights
        return
    step = max(1, limit // (x.size // x.shape[cut]))
    for begin in range(0, x.shape[cut], step):
        part = x[(slice(None),) * cut + (slice(begin, begin + step),)]
        w = weights[begin : begin + step] if weights is not None and cut == 0 else weights
        yield from _pieces(part, w, axis, limit)


def _report_poison(stats: F.Statistics) -> None:
    bad = np.flatnonzero(~(np.isfinite(stats.mean) & np.isfinite(stats.var)))
    if len(bad):
        shown = ", ".join(map(str, bad[:10])) + (
            f" and {len(bad) - 10} more" if len(bad) > 10 else ""
        )
        warnings.warn(
            f"the statistics of channel{'s' * (len(bad) > 1)} {shown} are not finite: NaN, infinity or overflow "
            "in the data",
            RuntimeWarning,
            stacklevel=3,
        )
