"""``fit``: epochs of even, shuffled batches with validation, early stopping and progress.

One step is trainer.py's.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from ..layers import BatchNorm, Layer
from ..support import checks
from ..support.progress import Progress
from ..thread_limits import threads as limited
from . import augment as augmentation
from . import losses, optimizers, schedules
from .batches import batch_borders, epoch_batches
from .callbacks import Callback, EarlyStopping, EpochEnd
from .evaluation import evaluate
from .history import History
from .samples import check_samples, hold_back
from .trainer import Trainer

__all__ = ["fit"]


def fit(
    net: Layer,
    x: np.ndarray,
    y: np.ndarray,
    *,
    loss: str | losses.Loss | losses.LossFunction = "cross_entropy",
    optimizer: str | optimizers.Optimizer = "sgd",
    epochs: int = 20,
    batch_size: int = 64,
    schedule: str | schedules.Schedule | None = None,
    clip_norm: float | None = None,
    validation: tuple[np.ndarray, np.ndarray] | float | None = None,
    early_stopping: int | EarlyStopping | None = None,
    min_delta: float = 0.0,
    callbacks: Iterable[Callback] = (),
    augment: str | augmentation.Augment | None = None,
    seed: int | None = 0,
    threads: int | None = None,
    progress: bool = True,
) -> History:
    """Train a net.

    The same seed gives the same weights to the bit, for any number of threads (native backend), if
    the net starts from the same weights: the seed decides shuffling, the validation split,
    augmentation and dropout. When it returns or raises, the net is in evaluation mode.

    Parameters
    ----------
    net : Layer
    x, y : arrays
        Samples first; x float32 or float64 as the net, y as the loss wants it.
    loss, optimizer, schedule, clip_norm
        As for :class:`bncore.Trainer`. An optimizer that is attached to ``net`` already keeps its
        state.
    epochs : int
    batch_size : int
        At most so many samples per step, ``ceil(n / batch_size)`` steps per epoch, their sizes
        differing by at most one. With a batch norm in the net that needs more than one sample, no
        batch has fewer than two, which can make one of ``batch_size + 1``.
    validation : (xv, yv) or float, optional
        Measured after every epoch. A fraction is held back from x and y, class by class for
        cross-entropy.
    early_stopping : int or EarlyStopping, optional
        End after so many epochs without a better validation loss. However the fit ends (also early,
        by Ctrl-C, or by an error), the net gets the weights and buffers of its best epoch back, to
        the bit.
    min_delta : float
        With an int for ``early_stopping``: smaller improvements do not count.
    callbacks : iterable of callables
        Each is called after every epoch with an :class:`EpochEnd`; one that returns something true
        ends the fit.
    augment : str or callable, optional
        ``"shift"`` (images, by up to one pixel), or a function ``(batch of x, rng) -> batch``.
    seed : int or None
        None: a different run every time.
    threads : int, optional
        Limit of OpenMP and BLAS threads during this fit.
    progress : bool
        Show progress on stderr.

    Returns
    -------
    History
        One record per finished epoch. After Ctrl-C ``history.stopped`` is ``"interrupted"``:
        KeyboardInterrupt is not passed on, and the net is usable as it is.

    Raises
    ------
    FloatingPointError
        If the loss becomes NaN or infinite, saying where, at which rate, and what to try.
    ValueError
        If x and y do not fit each other, or an option is out of range.
    """
    check_samples("x", x, "y", y)
    epochs = checks.positive_int(epochs, "epochs")
    threads = None if threads is None else checks.positive_int(threads, "threads")
    streams = _Streams.of(seed)
    judge = losses.resolve(loss)
    x, y, held = hold_back(x, y, validation, judge, streams.split)
    stopper = _stopper(early_stopping, min_delta, held is not None)
    # the stopper first: it remembers the net as it was measured
    listeners: list[Callback] = [*([stopper] if stopper else []), *callbacks]
    for listener in listeners:
        if not callable(listener):
            raise TypeError(f"callbacks must hold callables, got {listener!r}")
    smallest = 2 if _compares_samples(net) else 1
    steps = len(batch_borders(len(x), batch_size, smallest=smallest)) - 1
    wanted_gradient = net.input_gradient
    trainer = Trainer(
        net,
        loss=judge,
        optimizer=optimizer,
        schedule=schedule,
        total_steps=epochs * steps,
        clip_norm=clip_norm,
    )
    net.reseed(streams.dropout)
    run = _Run(trainer, x, y, batch_size, smallest, augmentation.resolve(augment), streams)
    history = History()
    try:
        with limited(threads), Progress(epochs * steps, "training", show=progress) as bar:
            history.stopped = _epochs(run, held, epochs, listeners, history, bar)
    except KeyboardInterrupt:
        history.stopped = "interrupted"
    finally:
        if stopper:
            stopper.restore(net)
            history.best_epoch = stopper.best_epoch
        net.require_input_gradient(wanted_gradient)
        net.eval()
    return history


@dataclass(frozen=True)
class _Streams:
    """Independent random numbers for every purpose.

    Using more of one leaves the others as they were.
    """

    shuffle: np.random.Generator
    split: np.random.Generator
    augment: np.random.Generator
    dropout: np.random.Generator

    @classmethod
    def of(cls, seed: int | None) -> _Streams:
        root = np.random.SeedSequence(
            None if seed is None else checks.non_negative_int(seed, "seed")
        )
        return cls(*(np.random.default_rng(child) for child in root.spawn(4)))


@dataclass
class _Run:
    """What one epoch of training needs, and ``shown`` beside the progress.

    ``unreported`` steps are not displayed yet.
    """

    trainer: Trainer
    x: np.ndarray
    y: np.ndarray
    batch_size: int
    smallest: int
    augment: augmentation.Augment | None
    streams: _Streams
    shown: dict[str, float] = field(default_factory=dict)
    unreported: int = 0

    def epoch(self, bar: Progress) -> dict[str, float]:
        """Every sample once; means over samples of the loss and, if known, of the accuracy."""
        judge = self.trainer.loss
        total = right = 0.0
        known, reported = True, time.monotonic()
        for batch in epoch_batches(
            len(self.x), self.batch_size, self.streams.shuffle, smallest=self.smallest
        ):
            x, y = self.x[batch], self.y[batch]
            if self.augment is not None:
                x = self.augment(x, self.streams.augment)
            loss, pred = self.trainer.step_with_prediction(x, y)
            total += loss * len(batch)
            accuracy = judge.accuracy(pred, y)
            known = known and accuracy is not None
            right += (accuracy or 0.0) * len(batch)
            self.unreported += 1
            now = time.monotonic()
            # formatting text for each step of a small net would cost more than the step
            if now - reported > 0.1:
                self.report(bar, self.shown | {"loss": loss})
                reported = now
        means = {"loss": total / len(self.x)}
        if known:
            means["accuracy"] = right / len(self.x)
        return means

    def report(self, bar: Progress, values: dict[str, float]) -> None:
        bar.step(self.unreported, **values)
        self.unreported = 0


def _epochs(
    run: _Run,
    held: tuple[np.ndarray, np.ndarray] | None,
    epochs: int,
    listeners: list[Callback],
    history: History,
    bar: Progress,
) -> str:
    """All epochs, recorded in ``history``; returns why they ended."""
    trainer = run.trainer
    for epoch in range(1, epochs + 1):
        begin = time.perf_counter()
        record: dict[str, float] = {"epoch": epoch}
        try:
            means = run.epoch(bar)
        except FloatingPointError as error:
            raise FloatingPointError(f"epoch {epoch}: {error}") from None
        record |= {"steps": trainer.steps, "lr": trainer.lr, **means}
        if held is not None:
            measured = evaluate(
                trainer.net, *held, trainer.loss, batch_size=max(run.batch_size, 256)
            )
            record |= {f"val_{name}": value for name, value in measured.items()}
        record["seconds"] = time.perf_counter() - begin
        run.shown = {
            name: value for name, value in record.items() if name not in ("steps", "lr", "seconds")
        }
        run.report(bar, run.shown)
        history.epochs.append(record)
        end = EpochEnd(trainer.net, trainer, record, history)
        asked = [listener for listener in listeners if listener(end)]
        if asked:
            return (
                "early stopping"
                if any(isinstance(listener, EarlyStopping) for listener in asked)
                else "callback"
            )
    return "epochs"


def _stopper(
    early_stopping: int | EarlyStopping | None, min_delta: float, validated: bool
) -> EarlyStopping | None:
    if early_stopping is None:
        return None
    stopper = early_stopping
    if not isinstance(stopper, EarlyStopping):
        stopper = EarlyStopping(stopper, min_delta=min_delta)
    if stopper.monitor.startswith("val_") and not validated:
        raise ValueError("early_stopping needs validation=(xv, yv) or a fraction, got None")
    stopper.start()
    return stopper


def _compares_samples(net: Layer) -> bool:
    """Whether some norm in the net cannot train on one sample."""
    return any(
        isinstance(layer, BatchNorm) and layer.compares_samples for _, layer in net.named_layers()
    )
