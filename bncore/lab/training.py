"""Training step by step, as experiments need it: a net, its trainer, batches without end, and what became of it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from ..layers import Layer
from ..statistics import recalibrate
from ..training import SGD, Trainer, evaluate
from ..training.batches import epoch_batches
from ..training.data import Dataset

__all__ = ["Run", "reached", "shuffled"]

Array = npt.NDArray[Any]


def shuffled(n: int, batch_size: int, rng: np.random.Generator) -> Iterator[Array]:
    """Batches of one epoch after the other, each in a new order: indices.

    An odd number of samples in batches of two makes one batch of three: batch norm cannot train on one.
    """
    while True:
        yield from epoch_batches(n, batch_size, rng, smallest=min(2, batch_size))


def reached(every: int, accuracies: Array, goal: float) -> float:
    """Steps until an accuracy that was measured every so many steps, from the start on; infinite if that did not come."""
    at = np.flatnonzero(accuracies >= goal)
    return float(every * at[0]) if len(at) else math.inf


class Run:
    """A net in training by SGD on cross-entropy.

    Parameters
    ----------
    steps : int
        Length of the whole run, of which the layers are told.
    batches : iterator of index arrays, optional
        The training samples of each step. Default: shuffled epochs in batches of ``batch_size``.
    schedule : str, optional
        Factor on the rate over the whole run, as for `bncore.Trainer`.

    Attributes
    ----------
    losses : list of float
        Of every batch before its step; the last one is NaN once training diverged.
    diverged : bool
        Whether a loss was not finite. No further step is made then.
    """

    def __init__(
        self,
        net: Layer,
        data: Dataset,
        *,
        lr: float,
        steps: int,
        seed: int,
        batch_size: int = 60,
        momentum: float = 0.0,
        batches: Iterator[Array] | None = None,
        schedule: str | None = None,
    ) -> None:
        self.net, self.data = net, data
        self.losses: list[float] = []
        self.diverged = False
        self._length = steps
        rng = np.random.default_rng(seed)
        self._batches = batches or shuffled(len(data.x_train), batch_size, rng)
        net.reseed(rng)
        optimizer = SGD(lr=lr, momentum=momentum)
        self.trainer = Trainer(net, optimizer=optimizer, schedule=schedule, total_steps=steps)

    def step(self) -> float:
        """One step; its loss, NaN from where training diverged on."""
        batch = next(self._batches)
        if self.diverged:
            return math.nan
        try:
            loss = self.trainer.step(self.data.x_train[batch], self.data.y_train[batch])
        except FloatingPointError:
            self.diverged, loss = True, math.nan
        self.losses.append(loss)
        return loss

    def go(self, steps: int | None = None) -> Run:
        """So many steps, or all that are left of the run; ends early where training diverges."""
        for _ in range(self._length - len(self.losses) if steps is None else steps):
            self.step()
            if self.diverged:
                break
        return self

    def until(self, factor: float = math.inf) -> float:
        """Steps until the loss was ``factor`` times the first one, or not finite; infinite if that did not come."""
        for step, loss in enumerate(self.losses):
            if not (math.isfinite(loss) and loss < factor * self.losses[0]):
                return step
        return math.inf

    def accuracy(self, method: str = "ema") -> float:
        """Percent right of the test samples, by the statistics that this method of `recalibrate` gives on the training samples.

        "ema": the running ones. Others are given to a copy, so that training goes on with its own.
        """
        net = self.net
        if method != "ema":
            net = net.copy()
            recalibrate(net, self.data.x_train, method)
        return 100 * evaluate(net, self.data.x_test, self.data.y_test)["accuracy"]

    def curve(self, every: int) -> tuple[Array, Array]:
        """The whole run; steps and the test accuracy at each, every so many steps, the start included."""
        at = np.arange(0, self._length + 1, every)
        return at, np.array([self.go(every if step else 0).accuracy() for step in at])

    def ends(self, last: int, every: int) -> tuple[float, float, float]:
        """The whole run: where it `settled`, its last accuracy, and that with statistics of all training samples."""
        return self.settled(last, every), self.accuracy(), self.accuracy("sequential")

    def settled(self, last: int, every: int) -> float:
        """The whole run; mean of the last so many test accuracies, taken every so many steps.

        Where training wanders to its end, as with small batches, one measurement is chance.
        """
        found = []
        for left in range(last - 1, -1, -1):
            self.go(self._length - left * every - len(self.losses))
            found.append(self.accuracy())
        return float(np.mean(found))
