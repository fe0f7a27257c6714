"""`diagnose`: all measurements of a net's norms in their order. What they mean is decided in judge.py."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ...layers import BatchNorm, Layer
from ...support import checks
from ...support.progress import Progress
from ...training import losses
from ...training.data import Dataset
from ..recalibrate import measurable, recalibrate, running_statistics
from .diagnosis import Diagnosis
from .dropout import Prediction, predict_dropout
from .judge import constant_channels, dead_channels, judge
from .limits import GAP_SHOWN
from .observe import Observed, noise_of, observe
from .records import Distance, DropoutEffect, NormRecord
from .results import Gap, Score
from .samples import Samples, read_samples
from .scores import Answers, Running, default_loss, put

__all__ = ["METHODS", "diagnose"]

Array = np.ndarray[Any, Any]
METHODS = ("sequential", "pooled", "average")


def diagnose(
    net: Layer,
    data: Array | tuple[Array, Array] | Dataset | Iterable[Any],
    target: Array | None = None,
    *,
    batch_size: int = 64,
    batches: int | None = None,
    method: str = "sequential",
    loss: str | losses.Loss | losses.LossFunction | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Diagnosis:
    """Why a net answers differently in evaluation than in training, norm by norm, and what repairs it.

    Parameters
    ----------
    net : Layer
        Not changed: everything is measured on a copy.
    data : array, (x, y), Dataset or iterable
        Training data. Arrays are read in random batches. The batches of an iterable (inputs x or
        pairs (x, y)) are taken as they come and read several times; how they are mixed is part of
        the diagnosis. Of a `Dataset` the training part is measured, and answers are compared on its
        test part.
    target : array, optional
        Targets, if data is one array. With targets, losses and accuracies are compared, too.
    batch_size : int
        Of training, as far as arrays are concerned.
    batches : int, optional
        Use no more than that many batches; None uses all data.
    method : {"sequential", "pooled", "average"}
        Which population statistics the running ones are compared with, as for `recalibrate`.
    loss : str, Loss or callable, optional
        Default: cross-entropy for integer targets, else mean squared error.
    seed : int
        Decides the order of samples and the dropout masks.
    progress : Progress, optional
        Told of every batch.

    Returns
    -------
    Diagnosis
        `print` shows tables and verdict; ``to_dict()``, ``to_json()`` and ``plot(path)`` the same
        for machines and eyes.

    Raises
    ------
    TypeError, ValueError
        For data of a wrong kind, that do not fit the net, or lead to statistics that are not
        finite; for a norm inside a container that cannot be walked through.

    Notes
    -----
    The distance "from batch" is that from the average over batches as training sees them, with
    dropout; it is what a moving average would reach if the weights stood still. The distance "from
    population" is that from what evaluation would need. The data are read about a dozen times, once
    more per norm, and where the running statistics make a difference twice more per norm; ``batches``
    limits all of it. Dropout before a norm: Li et al. 2018, arXiv 1801.05134.
    """
    if not isinstance(net, Layer):
        raise TypeError(f"net must be a Layer, got {type(net).__name__}")
    checks.one_of(method, "method", METHODS)
    checks.positive_int(batch_size, "batch_size")
    batches = None if batches is None else checks.positive_int(batches, "batches")
    seed = checks.non_negative_int(seed, "seed")
    measured, scored = read_samples(data, target, batch_size, batches, seed)
    chosen = default_loss(scored) if loss is None else loss
    examined = _Examined(
        net, measured, scored, losses.resolve(chosen) if chosen is not None else None, progress
    )
    return examined.diagnosis(method, batch_size, seed)


class _Examined:
    """A copy of the net, what it is measured on, and the measurements."""

    def __init__(
        self,
        net: Layer,
        measured: Samples,
        scored: Samples,
        loss: losses.Loss | None,
        progress: Progress | None,
    ) -> None:
        self.net = net.copy().eval()
        self.measured, self.scored = measured, scored
        self.loss = loss if scored.has_targets() else None
        self.progress = progress
        self.norms, self.skipped = measurable(self.net)
        self.running: Running = {
            path: running_statistics(norm) for path, norm in self.norms.items()
        }

    def step(self, samples: int) -> None:
        if self.progress is not None:
            self.progress.step(samples=samples)

    def diagnosis(self, method: str, batch_size: int, seed: int) -> Diagnosis:
        result = Diagnosis(method, batch_size, self.measured.random, skipped=self.skipped)
        sizes = [len(x) for x in self.measured]
        result.samples, result.batches = sum(sizes), len(sizes)
        same = self.scored is self.measured
        result.scored_samples = result.samples if same else self.scored.size()
        if not self.norms:
            result.findings = judge(result)
            return result
        self.net.reseed(seed)
        training = observe(self.net, self.norms, self.measured, self.step, dropout=True)
        dropout = self.dropout(training)
        populations = self.populations(all(seen.smallest > 1 for seen in training.values()))
        result.scores, gap = self.answers(populations, method)
        put(self.norms, self.running)
        result.norms = [
            self.record(path, training[path], populations[method][path], dropout.get(path), gap)
            for path in self.norms
        ]
        result.findings = judge(result)
        return result

    def populations(self, average: bool) -> dict[str, Running]:
        """Running statistics as each method of `recalibrate` gives them; "average" is left out where a batch
        has no variance.
        """
        found = {}
        for method in METHODS:
            if method == "average" and not average:
                continue
            put(self.norms, self.running)
            recalibrate(self.net, self.measured, method, progress=self.progress)
            found[method] = {path: running_statistics(norm) for path, norm in self.norms.items()}
        return found

    def dropout(self, training: dict[str, Observed]) -> dict[str, DropoutEffect]:
        """Per norm with dropout in front: what it does to the variance, in theory and measured."""
        predicted = predict_dropout(self.net, self.norms, self.measured, self.step)
        if not predicted:
            return {}
        without = observe(self.net, self.norms, self.measured, self.step)
        return {
            path: _effect(found, without[path], training[path]) for path, found in predicted.items()
        }

    def answers(self, populations: dict[str, Running], method: str) -> tuple[list[Score], Gap]:
        """Outputs and scores with each kind of statistics, and which norm makes the difference."""
        answers = Answers(
            self.net, self.norms, self.scored, populations[method], self.loss, self.step
        )
        scores = [answers.with_statistics("running", self.running), answers.with_batches()]
        scores += [answers.with_statistics(kind, found) for kind, found in populations.items()]
        gap = Gap()
        if not scores[0].gap <= GAP_SHOWN:  # also where it is not a number
            gap = answers.attribute(self.running, scores[0].gap)
        return scores, gap

    def record(
        self,
        path: str,
        seen: Observed,
        population: tuple[Array, Array],
        dropout: DropoutEffect | None,
        gap: Gap,
    ) -> NormRecord:
        norm, running = self.norms[path], self.running[path]
        batch = seen.means.mean, seen.variances.mean
        start = _start_weight(norm)
        mixed = (1 - start) * batch[0], (1 - start) * batch[1] + start
        constant, by_eps = constant_channels(population, norm.eps)
        return NormRecord(
            path=path,
            kind=norm.brief(),
            channels=norm.num_features,
            momentum=norm.momentum,
            updates=norm.num_batches_tracked,
            start_weight=start,
            from_batch=Distance.between(running, batch, norm.eps, constant=constant),
            from_population=Distance.between(running, population, norm.eps, constant=constant),
            from_start=Distance.between(running, mixed, norm.eps, batch[1], constant).size,
            noise=noise_of(seen),
            dead=dead_channels(norm.weight),
            constant=constant,
            constant_eps=by_eps,
            dropout=dropout,
            closes=gap.closes.get(path),
            opens=gap.opens.get(path),
        )


def _start_weight(norm: BatchNorm) -> float:
    """Weight of mean 0 and variance 1 in the running statistics; none if the first update replaced them."""
    if norm.momentum is None or norm.zero_debias:
        return 0.0
    return float((1.0 - norm.momentum) ** norm.num_batches_tracked)


def _effect(found: Prediction, without: Observed, training: Observed) -> DropoutEffect:
    """Both ratios of one norm; a channel that does not vary in training either has ratio 1."""
    with np.errstate(divide="ignore", invalid="ignore"):
        measured = np.where(training.total.var > 0, without.total.var / training.total.var, 1.0)
    return DropoutEffect(found.layers, found.through, measured, found.ratio(), found.why)
