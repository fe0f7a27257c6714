"""One pass in which norms normalize by their batch, as in training, and what that shows.

Measures; does not judge.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ... import functional as F
from ...layers import BatchNorm, Dropout, Layer
from ..walk import ArrayWalk, normalize_by
from .records import Noise
from .samples import Samples

__all__ = ["BatchWalk", "Observed", "noise_of", "observe"]

Array = np.ndarray[Any, Any]


@dataclass
class Observed:
    """What one norm received, summed up batch by batch in constant memory.

    Attributes
    ----------
    total : Statistics
        Of all values of all batches.
    means, variances : Statistics
        Of the batches' means and of their variances (as the norm's convention has them), each
        batch weighing what it holds.
    samples : Statistics
        Of each sample's own mean; None where rows are not samples (inside recurrent layers).
    batches, smallest : int
        How many, and values per channel in the smallest.
    """

    total: F.Statistics
    means: F.Statistics
    variances: F.Statistics
    samples: F.Statistics | None
    batches: int
    smallest: float

    @classmethod
    def of(cls, norm: BatchNorm, x: Array, stats: F.Statistics, packed: bool) -> Observed:
        """One batch."""
        zero = np.zeros_like(stats.mean)
        var = stats.unbiased_var if norm.unbiased else stats.var
        own = None
        if not packed:
            axis = norm.axis % x.ndim
            positions = tuple(a for a in range(1, x.ndim) if a != axis)
            own = F.statistics(x.mean(axis=positions, dtype=np.float64) if positions else x)
        return cls(
            stats,
            F.Statistics(stats.count, stats.mean, zero),
            F.Statistics(stats.count, var, zero),
            own,
            1,
            stats.count,
        )

    def merge(self, other: Observed) -> Observed:
        own = None
        if self.samples is not None and other.samples is not None:
            own = self.samples.merge(other.samples)
        return Observed(
            self.total.merge(other.total),
            self.means.merge(other.means),
            self.variances.merge(other.variances),
            own,
            self.batches + other.batches,
            min(self.smallest, other.smallest),
        )


class BatchWalk(ArrayWalk):
    """Norms normalize by the statistics of the batch; everything else evaluates."""

    def __init__(self, norms: dict[str, BatchNorm]) -> None:
        self.norms = norms

    def norm(self, path: str, norm: BatchNorm, x: Array) -> Array:
        if path not in self.norms:
            return norm(x)
        stats = F.statistics(x, axis=norm.axis)
        self.see(path, norm, x, stats)
        return normalize_by(norm, x, stats)

    def see(self, path: str, norm: BatchNorm, x: Array, stats: F.Statistics) -> None:
        """Look at what a norm receives."""


class _Observer(BatchWalk):
    def __init__(self, norms: dict[str, BatchNorm]) -> None:
        super().__init__(norms)
        self.seen: dict[str, Observed] = {}
        self.packed = False

    def inner(self, path: str, norm: BatchNorm, rows: Array) -> Array:
        self.packed = True
        try:
            return self.norm(path, norm, rows)
        finally:
            self.packed = False

    def see(self, path: str, norm: BatchNorm, x: Array, stats: F.Statistics) -> None:
        if not stats.count:
            return
        for part in _groups(norm, x):
            own = stats if part is x else F.statistics(part, axis=norm.axis)
            here = Observed.of(norm, part, own, self.packed)
            self.seen[path] = self.seen[path].merge(here) if path in self.seen else here


def _groups(norm: BatchNorm, x: Array) -> list[Array]:
    """What of x is normalized together in training: all of it, or ghost batches."""
    size = norm.ghost_batch_size
    if size is None or size >= len(x):
        return [x]
    return [x[begin : begin + size] for begin in range(0, len(x), size)]


def observe(
    net: Layer,
    norms: dict[str, BatchNorm],
    samples: Samples,
    step: Callable[[int], None],
    *,
    dropout: bool = False,
) -> dict[str, Observed]:
    """What each norm receives in batches; with ``dropout`` its masks are drawn as in training.

    ``net`` is in evaluation mode, before and after.
    """
    walk = _Observer(norms)
    droppers = [layer for _, layer in net.named_layers() if isinstance(layer, Dropout)]
    try:
        for layer in droppers:
            layer.training = dropout
        for x in samples:
            walk.run(net, x)
            step(len(x))
    finally:
        for layer in droppers:
            layer.training = False
    return walk.seen


def noise_of(seen: Observed) -> Noise | None:
    """How far batch statistics scatter; None unless two batches with a variance were seen.

    The scatter of random batches without replacement is smaller the more of the data a batch
    holds; dividing by batches - 1 corrects exactly that.
    """
    k, count = seen.batches, seen.total.count
    if k < 2:
        return None
    m = count / k
    correction = k / (k - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.sqrt(seen.means.var * correction / seen.total.var)
        variance = np.sqrt(seen.variances.var * correction) / seen.variances.mean
        expected = None
        if seen.samples is not None:
            size = seen.samples.count / k
            expected = np.sqrt(seen.samples.unbiased_var / size / seen.total.var)
    moving = seen.total.var > 0
    return Noise(
        values=m,
        mean=np.where(moving, mean, 0.0),
        variance=np.where(seen.variances.mean > 0, variance, 0.0),
        expected=None if expected is None else np.where(moving, expected, 0.0),
    )
