"""Running averages replaced by what the whole data set gives.

Measures what every norm of a net really receives, in one or several passes over batches; memory
does not depend on how many there are. The per-batch statistics and their merging are
`functional.statistics`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from .. import functional as F
from ..layers import BatchNorm, InstanceNorm, Layer
from ..support import checks
from ..support.progress import Progress
from ..training.evaluation import evaluating
from .batches import Batches
from .report import LayerChange, RecalibrationReport
from .walk import ArrayWalk, normalize_by

__all__ = ["measurable", "recalibrate", "running_statistics"]

Array = np.ndarray[Any, Any]
METHODS = ("sequential", "pooled", "average", "ema")


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

    Not every net gains. A `BatchRenorm` trains towards its running statistics, so they are part of what the net
    learned, and measuring afresh changes that; so it may for any net whose running statistics answer well. Compare the
    loss on the training data before and after (`bncore.evaluate`), or let `diagnose` do so, and keep the better.
    """
    if not isinstance(net, Layer):
        raise TypeError(f"net must be a Layer, got {type(net).__name__}")
    checks.one_of(method, "method", METHODS)
    report = RecalibrationReport(method)
    norms, report.skipped = measurable(net)
    before = {path: running_statistics(norm) for path, norm in norms.items()}
    states = {path: norm.state_dict() for path, norm in norms.items()}
    counts: dict[str, float] = dict.fromkeys(norms, 0)
    try:
        with evaluating(net):
            if method != "ema" and norms:
                measure = _sequential if method == "sequential" else _one_pass
                counts = measure(net, norms, Batches(x, batch_size, progress), report)
    except BaseException:
        for path, norm in norms.items():
            norm.load_state_dict(states[path])
        raise
    report.layers = [
        _change(path, norm, counts[path], before[path]) for path, norm in norms.items()
    ]
    return report


def measurable(net: Layer) -> tuple[dict[str, BatchNorm], list[tuple[str, str]]]:
    """The norms with running statistics of their own by path; paths to leave alone and why."""
    norms: dict[str, BatchNorm] = {}
    skipped = []
    for path, layer in net.named_layers():
        if isinstance(layer, InstanceNorm) and layer.running_mean is not None:
            skipped.append((path, "averages over single samples are not measured"))
        if not isinstance(layer, BatchNorm):
            continue
        if not layer.track_running_stats:
            skipped.append((path, "it has no running statistics"))
        elif layer.frozen:
            skipped.append((path, "its statistics are frozen"))
        else:
            norms[path] = layer
    return norms, skipped


def running_statistics(norm: BatchNorm) -> tuple[Array, Array]:
    """Copies of a norm's running mean and variance, in float64."""
    return np.array(norm.running_mean, np.float64), np.array(norm.running_var, np.float64)


def _sequential(
    net: Layer, norms: dict[str, BatchNorm], batches: Batches, report: RecalibrationReport
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
        walk = _UpToPending(pending)
        for batch in batches.read():
            walk.run(net, batch)
        if not walk.measured:
            raise ValueError(
                f"net: a whole pass over x brought nothing to {', '.join(map(repr, pending))}"
            )
        for path, stats in walk.measured.items():
            _store(path, pending.pop(path), stats.mean, stats.var, stats.count)
            counts[path] = stats.count
    report.samples, report.passes = batches.samples, batches.passes
    return counts


class _UpToPending(ArrayWalk):
    """Norms that are fixed evaluate; pending ones measure and give nothing."""

    def __init__(self, pending: dict[str, BatchNorm]) -> None:
        self.pending = pending
        self.measured: dict[str, F.Statistics] = {}

    def norm(self, path: str, norm: BatchNorm, x: Array) -> Array | None:
        if path not in self.pending:
            return norm(x)
        stats = F.statistics(x, axis=norm.axis)
        self.measured[path] = self.measured[path].merge(stats) if path in self.measured else stats
        return None


def _one_pass(
    net: Layer, norms: dict[str, BatchNorm], batches: Batches, report: RecalibrationReport
) -> dict[str, float]:
    """Methods "pooled" and "average": norms normalize by the statistics of their batch, as in
    training.
    """
    averaging = report.method == "average"
    walk = _ByBatch(norms, averaging)
    for batch in batches.read():
        walk.run(net, batch)
    for path, stats in walk.total.items():
        # an average of unbiased variances is unbiased already: as biased variance it is (n-1)/n of
        # that
        var = stats.var * ((stats.count - 1) / stats.count) if averaging else stats.var
        _store(path, norms[path], stats.mean, var, stats.count)
    report.samples, report.passes = batches.samples, batches.passes
    return {path: stats.count for path, stats in walk.total.items()}


class _ByBatch(ArrayWalk):
    """Norms normalize by their batch; its statistics are merged, or averaged."""

    def __init__(self, norms: dict[str, BatchNorm], averaging: bool) -> None:
        self.norms = norms
        self.averaging = averaging
        self.total: dict[str, F.Statistics] = {}

    def norm(self, path: str, norm: BatchNorm, x: Array) -> Array:
        if path not in self.norms:
            return norm(x)
        stats = here = F.statistics(x, axis=norm.axis)
        if self.averaging:
            if stats.count == 1:
                raise ValueError(
                    "method 'average' needs batches of more than one value per channel, got one of a single value"
                )
            here = F.Statistics(stats.count, stats.mean, stats.unbiased_var)
        if path in self.total:
            merge = _weighted if self.averaging else F.Statistics.merge
            here = merge(self.total[path], here)
        self.total[path] = here
        return normalize_by(norm, x, stats)


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
    norm.set_running(mean, var)
    fine = np.logical_and(*map(np.isfinite, running_statistics(norm)))
    if not fine.all():
        raise ValueError(
            f"x: the statistics of {path} {norm.brief()} are not finite in {norm.dtype} "
            f"(channel {int(np.argmin(fine))}): NaN, infinity or overflow in what it receives"
        )


def _change(path: str, norm: BatchNorm, count: float, before: tuple[Array, Array]) -> LayerChange:
    (mean, var), (old_mean, old_var) = running_statistics(norm), before
    with np.errstate(divide="ignore", invalid="ignore"):
        shift = np.where(mean == old_mean, 0.0, np.abs(mean - old_mean) / np.sqrt(var + norm.eps))
        ratio = np.where(var == old_var, 1.0, (var + norm.eps) / (old_var + norm.eps))
    return LayerChange(path, count, shift, ratio)
