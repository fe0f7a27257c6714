"""tail: a last batch of three rows in every epoch, kept, dropped, or spread over the other batches."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ... import nets
from ...layers import BatchNorm
from ...training.data import Dataset
from ..context import Lab
from ..digits import digits
from ..outcome import Criterion, Outcome, Table, at_least, at_most
from ..pictures import Axis, Dots, Series
from ..training import Run, shuffled

QUESTION = "What does a last batch of three rows do to a net with batch norm?"
SETTING = (
    "Digits, 1347 samples to train on and 450 to test with, 3 hidden layers of 100 ReLU units with batch norm, SGD at "
    "0.5 without momentum, batches of 64 (1347 = 21·64 + 3), 20 epochs, each in a new order. The three rows left over "
    "are a batch of their own, the last one; or are dropped; or all rows are split into 22 batches of 61 and 62, as "
    "`fit` does. To see what does the damage, two more runs keep them: in one the norms take their moving averages for "
    "that step, in the other its learning rate is 3/64 of the others'. Test accuracy before and after the last step of "
    "each epoch, mean over the last 15 epochs of a run."
)

BATCH, RATE, EPOCHS, LAST = 64, 0.5, 20, 15
KEPT, DROPPED, EVEN = "tail kept", "tail dropped", "evenly split"
MOVING, SMALL = "tail kept, moving averages", "tail kept, rate · 3/64"
NAMES = (KEPT, MOVING, SMALL, DROPPED, EVEN)
AFTER = 1  # of the three figures of an epoch


def run(lab: Lab) -> Outcome:
    lab.plan(len(NAMES))
    data = digits(test=450)
    epochs = {
        name: np.array([_accuracies(lab, data, name, seed) for seed in lab.seeds]) for name in NAMES
    }
    found = {name: values[:, -LAST:].mean(axis=1) for name, values in epochs.items()}
    return Outcome(
        _conclusion(found),
        _criteria(found),
        [_table(found)],
        [_picture(found)],
        [_cause(found)],
    )


def _accuracies(lab: Lab, data: Dataset, name: str, seed: int) -> np.ndarray:
    """Of every epoch: before its last step, after it, and then with population statistics."""
    net = nets.mlp(64, 10, (100,) * 3, standardize=False, rng=seed)
    n, rng = len(data.x_train), np.random.default_rng(seed)
    batches = shuffled(n, BATCH, rng) if name == EVEN else _cut(n, rng, tail=name != DROPPED)
    steps = n // BATCH + (name != DROPPED)
    training = Run(net, data, lr=RATE, steps=EPOCHS * steps, seed=seed, batches=batches)
    rows = []
    for _ in range(EPOCHS):
        before = training.go(steps - 1).accuracy()
        _last_step(training, name)
        rows.append((before, training.accuracy(), training.accuracy("sequential")))
    lab.done()
    return np.array(rows)


def _cut(n: int, rng: np.random.Generator, *, tail: bool) -> Iterator[np.ndarray]:
    """Full batches, epoch after epoch; then what is left of the epoch, or not."""
    while True:
        order = rng.permutation(n)
        for begin in range(0, n if tail else n - n % BATCH, BATCH):
            yield order[begin : begin + BATCH]


def _last_step(training: Run, name: str) -> None:
    norms = [layer for _, layer in training.net.named_layers() if isinstance(layer, BatchNorm)]
    optimizer = training.trainer.optimizer
    for norm in norms:
        norm.frozen = name == MOVING
    optimizer.lr = RATE * 3 / BATCH if name == SMALL else RATE
    training.step()
    for norm in norms:
        norm.frozen = False
    optimizer.lr = RATE


def _criteria(found: dict) -> list[Criterion]:
    return [
        at_most("accuracy with the tail kept, worst seed", found[KEPT][:, AFTER].max(), 75, "%"),
        at_least("accuracy evenly split, worst seed", found[EVEN][:, AFTER].min(), 97, "%"),
    ]


def _conclusion(found: dict) -> str:
    mean = {name: values.mean(axis=0) for name, values in found.items()}
    before, after, _ = mean[KEPT]
    return (
        f"A step on three rows takes the net from {before:.1f} to {after:.1f} %, epoch after epoch. With these rows "
        f"dropped it stands at {mean[DROPPED][AFTER]:.1f} %, with even batches, as `fit` makes them, at "
        f"{mean[EVEN][AFTER]:.1f} %, and no row is lost."
    )


def _cause(found: dict) -> str:
    """What the two runs that change one thing each say of it."""
    mean = {name: values.mean(axis=0) for name, values in found.items()}
    kept, even = mean[KEPT][AFTER], mean[EVEN][AFTER]
    cured = [name for name in (MOVING, SMALL) if mean[name][AFTER] > (kept + even) / 2]
    cause = {
        (
            MOVING,
            SMALL,
        ): "It takes both, statistics of three rows and a step as long as that of a full batch",
        (MOVING,): "It is the statistics of three rows",
        (SMALL,): "It is the length of the step",
        (): "Neither the statistics of three rows nor the length of the step explains it alone",
    }[tuple(cured)]
    return (
        f"{cause}: the same rows normalized by the moving averages leave {mean[MOVING][AFTER]:.1f} %, a rate in proportion "
        f"to their number {mean[SMALL][AFTER]:.1f} %. With the tail kept, population statistics give "
        f"{mean[KEPT][2]:.1f} % where the moving averages give {kept:.1f} %: what is missing to {even:.1f} % then is the "
        "weights' damage."
    )


def _table(found: dict) -> Table:
    head = ["before the last step, %", "after it, %", "and with population statistics, %"]
    rows = [[name, *values.mean(axis=0).tolist()] for name, values in found.items()]
    return Table(
        f"Test accuracy, mean over {LAST} epochs and all seeds", ["last batch", *head], rows
    )


def _picture(found: dict) -> Dots:
    places = ["before the last step", "after it", "population statistics"]
    return Dots(
        "A last batch of three rows in every epoch",
        Axis(f"measured at the end of {LAST} epochs", None),
        Axis("accuracy on 450 test digits", "%", limits=(0, 102)),
        [Series(name, places, values) for name, values in found.items()],
    )
