"""Running averages replaced by what the whole data set gives.

Measures what every norm of a net really receives, in one or several passes over batches; memory
does not depend on how many there are. The per-batch statistics and their merging are
`functional.statistics`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np

from .. import functional as F
from ..layers import BatchNorm, Concat, Layer, Residual, Sequential
from ..layers.base import locate
from ..support import checks
from ..support.progress import Progress
from ..training.batches import batch_borders
from ..training.evaluation import evaluating
from .report import LayerChange, RecalibrationReport

__all__ = ["recalibrate"]

Array = np.ndarray[Any, Any]
METHODS = ("sequential", "pooled", "average", "ema")
_Visit = Callable[[str, BatchNorm, Array], Array | None]


def recalibrate(
    net: Layer,
    x: Array | Iterable[Array],
    method: str = "sequential",
    *,
    batch_size: int = 256,
    progress: Progress | None = None,
) -> RecalibrationReport:
    """Replace the running statistics of every norm by population statistics of x, in place.

    Parameters
    ----------
    net : Layer
        Its modes are the same afterwards. On an error its statistics are, too.
    x : array or iterable of arrays
        The training inputs: one array, read in even batches along axis 0, or batches as they come;
        ``"sequential"`` reads them several times, so then a list or an object that can be iterated
        again.
    method : {"sequential", "pooled", "average", "ema"}
        * ``"sequential"``: norm by norm, each measured when all before it are fixed at their
          population values. The only one
          that equals what evaluation computes. Norms that do not feed one another (parallel
          branches) share a pass.
        * ``"pooled"``: one pass in which norms normalize by their batch; exact merge of all
          batches.
        * ``"average"``: the same pass; the average of the batches' means and of m/(m-1)·var,
          weighted by samples
          (Ioffe & Szegedy 2015, Algorithm 2). Misses the variance between batches.
        * ``"ema"``: keep what training left behind; nothing is read.
    batch_size : int
        Largest number of samples at a time, if x is one array.
    progress : Progress, optional
        Told of every batch.

    Returns
    -------
    RecalibrationReport

    Raises
    ------
    ValueError
        If x is empty, is an exhaustible iterator where several passes are needed, changes between
        passes or leads to statistics that are not finite; if a batch has one value per channel
        where its own variance is needed.

    Notes
    -----
    Dropout is off. ``running_var`` takes the unbiased or the biased variance as each norm's
    ``unbiased`` says; ``num_batches_tracked`` is left as it is. Norms with frozen or without
    running statistics are left alone.
    """
    if not isinstance(net, Layer):
        raise TypeError(f"net must be a Layer, got {type(net).__name__}")
    checks.one_of(method, "method", METHODS)
    report = RecalibrationReport(method)
    norms = _measurable(net, report)
    before = {path: [a.copy() for a in _running(norm)] for path, norm in norms.items()}
    counts: dict[str, float] = dict.fromkeys(norms, 0)
    try:
        with evaluating(net):
            if method != "ema" and norms:
                measure = _sequential if method == "sequential" else _one_pass
                counts = measure(net, norms, _Batches(x, batch_size, progress), report)
    except BaseException:
        for path, norm in norms.items():
            for running, value in zip(_running(norm), before[path], strict=True):
                running[...] = value
        raise
    report.layers = [
        _change(path, norm, counts[path], *before[path]) for path, norm in norms.items()
    ]
    return report


def _measurable(net: Layer, report: RecalibrationReport) -> dict[str, BatchNorm]:
    """The norms to measure by path; those to leave alone go into the report."""
    norms: dict[str, BatchNorm] = {}
    for path, layer in net.named_layers():
        if not isinstance(layer, BatchNorm):
            continue
        if not layer.track_running_stats:
            report.skipped.append((path, "it has no running statistics"))
        elif layer.frozen:
            report.skipped.append((path, "its statistics are frozen"))
        else:
            norms[path] = layer
    return norms


class _Batches:
    """The data set as batches, as often as needed: checked, counted, and the same size every time."""

    def __init__(
        self, x: Array | Iterable[Array], batch_size: int, progress: Progress | None
    ) -> None:
        self._source: Iterable[Array] = x
        self._progress = progress
        self.exhaustible = isinstance(x, Iterator)
        self.samples = 0
        self.passes = 0
        checks.positive_int(batch_size, "batch_size")
        if isinstance(x, np.ndarray):
            if x.ndim < 2:
                raise ValueError(
                    f"x must have samples along axis 0 and features after it, got shape {x.shape}"
                )
            borders = batch_borders(len(x), batch_size)
            self._source = [x[begin:end] for begin, end in pairwise(borders)]
        elif not isinstance(x, Iterable):
            raise TypeError(f"x must be an array or an iterable of arrays, got {type(x).__name__}")

    def read(self) -> Iterator[Array]:
        samples = 0
        for number, batch in enumerate(self._source):
            if not isinstance(batch, np.ndarray):
                raise TypeError(
                    f"x must be batches that are arrays, got batch {number} as a {type(batch).__name__}"
                )
            if len(batch):
                yield batch
            samples += len(batch)
            if self._progress is not None:
                self._progress.step(samples=len(batch))
        if samples == 0:
            raise ValueError("x must hold at least one sample, got none")
        if self.passes and samples != self.samples:
            raise ValueError(
                f"x must give the same data every time, got {self.samples} samples, then {samples}"
            )
        self.passes += 1
        self.samples = samples


def _sequential(
    net: Layer, norms: dict[str, BatchNorm], batches: _Batches, report: RecalibrationReport
) -> dict[str, float]:
    """Passes over the data until every norm is fixed.

    What a pending norm receives is measured and goes no further, so that one pass measures exactly
    the norms whose predecessors are all fixed.
    """
    if batches.exhaustible and len(norms) > 1:
        raise ValueError(
            "x: method 'sequential' reads the data once per norm layer, and this iterator ends after one time: "
            "pass an array, a list or an object that can be iterated again, or use method='pooled'"
        )
    pending = dict(norms)
    counts: dict[str, float] = {}
    while pending:
        measured: dict[str, F.Statistics] = {}
        for batch in batches.read():
            _run(net, "", batch, _stopping_at(pending, measured))
        for path, stats in measured.items():
            _store(path, pending.pop(path), stats.mean, stats.var, stats.count)
            counts[path] = stats.count
    report.samples, report.passes = batches.samples, batches.passes
    return counts


def _stopping_at(pending: dict[str, BatchNorm], measured: dict[str, F.Statistics]) -> _Visit:
    """Norms that are fixed evaluate; pending ones measure and give nothing."""

    def visit(path: str, norm: BatchNorm, x: Array) -> Array | None:
        if path not in pending:
            return norm(x)
        stats = F.statistics(x, axis=norm.axis)
        measured[path] = measured[path].merge(stats) if path in measured else stats
        return None

    return visit


def _one_pass(
    net: Layer, norms: dict[str, BatchNorm], batches: _Batches, report: RecalibrationReport
) -> dict[str, float]:
    """Methods "pooled" and "average": norms normalize by the statistics of their batch, as in
    training.
    """
    averaging = report.method == "average"
    merge = _weighted if averaging else F.Statistics.merge
    total: dict[str, F.Statistics] = {}

    def visit(path: str, norm: BatchNorm, x: Array) -> Array:
        if path not in norms:
            return norm(x)
        stats = F.statistics(x, axis=norm.axis)
        if averaging and stats.count == 1:
            raise ValueError(
                "method 'average' needs batches of more than one value per channel, got one of a single value"
            )
        here = F.Statistics(stats.count, stats.mean, stats.unbiased_var) if averaging else stats
        total[path] = merge(total[path], here) if path in total else here
        how = {"eps": norm.eps, "axis": norm.axis, "activation": norm.activation}
        return F.normalize(x, stats, norm.weight, norm.bias, **how)[0]

    for batch in batches.read():
        _run(net, "", batch, visit)
    for path, stats in total.items():
        # an average of unbiased variances is unbiased already: as biased variance it is (n-1)/n of
        # that
        var = stats.var * ((stats.count - 1) / stats.count) if averaging else stats.var
        _store(path, norms[path], stats.mean, var, stats.count)
    report.samples, report.passes = batches.samples, batches.passes
    return {path: stats.count for path, stats in total.items()}


def _weighted(a: F.Statistics, b: F.Statistics) -> F.Statistics:
    """The sample-weighted average of both means and of both variances."""
    n = a.count + b.count
    return F.Statistics(
        n, a.mean + (b.mean - a.mean) * (b.count / n), a.var + (b.var - a.var) * (b.count / n)
    )


def _store(path: str, norm: BatchNorm, mean: Array, var: Array, count: float) -> None:
    """Into the running statistics, with the norm's convention for the variance."""
    needed = 2 if norm.unbiased else 1
    if count < needed:
        kind = "an unbiased variance" if norm.unbiased else "a variance"
        raise ValueError(
            f"x: {path} {norm.brief()} sees {count:g} values per channel, {kind} needs {needed}"
        )
    if norm.unbiased:
        var = var * (count / (count - 1))
    running_mean, running_var = _running(norm)
    with np.errstate(over="ignore"):
        running_mean[...], running_var[...] = mean, var
    fine = np.isfinite(running_mean) & np.isfinite(running_var)
    if not fine.all():
        raise ValueError(
            f"x: the statistics of {path} {norm.brief()} are not finite in {running_var.dtype} "
            f"(channel {int(np.argmin(fine))}): NaN, infinity or overflow in what it receives"
        )


def _running(norm: BatchNorm) -> tuple[Array, Array]:
    """The two arrays of a norm that has them (norms without are not measured)."""
    assert norm.running_mean is not None and norm.running_var is not None
    return norm.running_mean, norm.running_var


def _run(layer: Layer, path: str, x: Array | None, visit: _Visit) -> Array | None:
    """x through a net in evaluation mode, `visit` standing in for the norms. None is a value not
    known yet.
    """
    if x is None:
        return None
    if type(layer) is Sequential:
        for name, child in layer.children():
            x = _run(child, _join(path, name), x, visit)
        return x
    if type(layer) is Residual:
        parts = {name: _run(child, _join(path, name), x, visit) for name, child in layer.children()}
        main, shortcut = parts["main"], parts.get("shortcut", x)
        if main is None or shortcut is None:
            return None
        return main + shortcut if layer.activation is None else F.relu(main + shortcut)[0]
    if type(layer) is Concat:
        outputs = [_run(child, _join(path, name), x, visit) for name, child in layer.children()]
        known = [y for y in outputs if y is not None]
        return np.concatenate(known, layer.axis) if len(known) == len(outputs) else None
    try:
        if isinstance(layer, BatchNorm):
            return visit(path, layer, x)
        if any(isinstance(inner, BatchNorm) for _, inner in layer.named_layers()):
            raise TypeError(
                "norms inside a container other than Sequential, Residual and Concat cannot be measured"
            )
        return layer(x)
    except Exception as error:
        locate(error, path, layer)
        raise


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _change(
    path: str, norm: BatchNorm, count: float, old_mean: Array, old_var: Array
) -> LayerChange:
    mean, var = (a.astype(np.float64) for a in _running(norm))
    with np.errstate(divide="ignore", invalid="ignore"):
        shift = np.where(mean == old_mean, 0.0, np.abs(mean - old_mean) / np.sqrt(var + norm.eps))
        ratio = np.where(
            var == old_var, 1.0, (var + norm.eps) / (old_var.astype(np.float64) + norm.eps)
        )
    return LayerChange(path, count, shift, ratio)
