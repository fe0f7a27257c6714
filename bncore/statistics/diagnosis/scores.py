"""The net's answers with one kind of statistics or another, and which norm makes the difference.

Puts statistics into the norms of a net that is its own to change; measures, does not judge.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...layers import BatchNorm, Layer
from ...training import losses
from .observe import BatchWalk
from .results import Gap, Score
from .samples import Samples

__all__ = ["Answers", "default_loss", "put"]

Array = np.ndarray[Any, Any]
Running = dict[str, tuple[Array, Array]]


def put(norms: dict[str, BatchNorm], statistics: Running) -> None:
    """Running statistics by path into the norms; a variance that cannot be, from a damaged file say, is no number."""
    for path, (mean, var) in statistics.items():
        norms[path].set_running(mean, np.where(var < 0, np.nan, var))


def default_loss(samples: Samples) -> str | None:
    """Cross-entropy for classes, mean squared error for quantities; None without targets."""
    _, y = next(samples.pairs())
    if y is None:
        return None
    return "cross_entropy" if y.ndim == 1 and y.dtype.kind in "iu" else "mse"


class Answers:
    """Outputs for one set of samples, compared with those that ``reference`` statistics give.

    Parameters
    ----------
    net : Layer
        In evaluation mode; its norms end up with other statistics.
    norms : dict of path to BatchNorm
        Those whose statistics are exchanged.
    samples : Samples
    reference : dict of path to (running mean, running variance)
    loss : Loss or None
    step : callable
        Told the size of every batch.
    """

    def __init__(
        self,
        net: Layer,
        norms: dict[str, BatchNorm],
        samples: Samples,
        reference: Running,
        loss: losses.Loss | None,
        step: Callable[[int], None],
    ) -> None:
        self._net, self._norms, self._samples = net, norms, samples
        self._reference_statistics, self._loss, self._step = reference, loss, step
        put(norms, reference)
        self._reference = []
        for x in samples:
            self._reference.append(net(x))
            step(len(x))
        flat = [np.float64(y).reshape(len(y), -1) for y in self._reference]
        n = sum(map(len, flat))
        mean = sum(y.sum(axis=0) for y in flat) / n
        self._spread = float(sum(((y - mean) ** 2).sum() for y in flat))

    def with_statistics(self, kind: str, statistics: Running) -> Score:
        """Answers with these running statistics."""
        put(self._norms, statistics)
        return self._score(kind, self._net)

    def with_batches(self) -> Score:
        """Answers where every norm normalizes by its batch; dropout stays off."""
        walk = BatchWalk(self._norms)
        return self._score("batch", lambda x: walk.run(self._net, x))

    def attribute(self, running: Running, whole: float) -> Gap:
        """Reference statistics put into one norm at a time, and running statistics into one at a time.

        ``whole`` is the gap with running statistics in all of them.
        """
        gap = Gap()
        for path in self._norms:
            one = {**running, path: self._reference_statistics[path]}
            gap.closes[path] = 1.0 - _share(self.with_statistics(path, one).gap, whole)
            one = {**self._reference_statistics, path: running[path]}
            gap.opens[path] = _share(self.with_statistics(path, one).gap, whole)
        return gap

    def _score(self, kind: str, answer: Callable[[Array], Any]) -> Score:
        squares = loss = right = 0.0
        n, known = 0, True
        pairs = zip(self._samples.pairs(), self._reference, strict=True)
        with np.errstate(all="ignore"):
            for (x, y), expected in pairs:
                pred = answer(x)
                squares += float(((np.float64(pred) - np.float64(expected)) ** 2).sum())
                n += len(x)
                if self._loss is not None and y is not None:
                    loss += self._loss.value(pred, y) * len(x)
                    accuracy = self._loss.accuracy(pred, y)
                    known = known and accuracy is not None
                    right += (accuracy or 0.0) * len(x)
                self._step(len(x))
            gap = float(np.sqrt(np.float64(squares) / self._spread)) if squares else 0.0
        if self._loss is None:
            return Score(kind, gap)
        return Score(kind, gap, loss / n, right / n if known else None)


def _share(part: float, whole: float) -> float:
    """A gap as a share of another; one that is not a number counts as endless."""
    if not np.isfinite(part):
        return 1.0
    return part / whole if np.isfinite(whole) else 0.0
