"""whole-set: the work of normalizing by the statistics of the whole training set (Ioffe & Szegedy 2015, sections 2 and 3)."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np

from ... import nets
from ...layers import Linear, Sequential
from ...statistics import recalibrate
from ...thread_limits import threads
from ...training import SGD, Trainer
from ...training.batches import epoch_batches
from ..context import Lab
from ..outcome import Outcome, Table, at_least, at_most
from ..pictures import Axis, Lines, Series

QUESTION = "Why not normalize by the statistics of the whole training set at every step?"
SETTING = (
    "Digits, drawn with replacement and disturbed by N(0, 0.05²) to have training sets of 500 to 8000 samples; 3 hidden "
    "layers of 100 ReLU units, batches of 8, SGD. Whole set: before every step all of it goes through the net once, layer by "
    "layer normalized by its own statistics, which then are constants in the step (a gradient through them would cost "
    "another two passes). Counted: multiply-adds of the Linear layers. Time: on one thread, the fastest of 15 steps (quick: "
    "9), times the steps of an epoch. Slopes are those of straight lines through the logarithms."
)

SIZES = (500, 1000, 2000, 4000, 8000)
BATCH = 8
KINDS = {"whole": "whole set", "batch": "batch norm"}


@dataclass
class Training:
    """A net in training on so many samples; what one step costs."""

    trainer: Trainer
    x: np.ndarray
    y: np.ndarray
    batches: list[np.ndarray]
    whole: bool

    def step(self, i: int) -> tuple[float, float]:
        """Multiply-adds and seconds of one step."""
        batch = self.batches[i]
        begin, samples = time.perf_counter(), 3 * len(batch)  # forward, and backward twice that
        if self.whole:
            report = recalibrate(self.trainer.net, self.x, "pooled", batch_size=len(self.x))
            samples += report.samples * report.passes
        self.trainer.step(self.x[batch], self.y[batch])
        return samples * _multiply_adds(self.trainer.net), time.perf_counter() - begin


def run(lab: Lab) -> Outcome:
    rounds = lab.either(15, 9)
    lab.plan(rounds)
    with threads(1):  # how much a step gains from a second one depends on its size
        costs = np.array([_costs(lab, rounds, seed) for seed in lab.seeds])
    operations, seconds = costs[:, :, 0], costs[:, :, 1]
    counted, timed = (
        np.array([[_slope(c) for c in seed] for seed in what]) for what in (operations, seconds)
    )
    times = (seconds[:, 0, -1] / seconds[:, 1, -1]).mean()
    criteria = [
        at_most("distance of the slope of the operations from 2, whole set, worst seed", abs(counted[:, 0] - 2).max(), 0.1),
        at_most("distance of the slope of the operations from 1, batch norm, worst seed", abs(counted[:, 1] - 1).max(), 0.05),
        at_least("slope of the time, whole set, median of seeds", np.median(timed[:, 0]), 1.5),
        at_most("slope of the time, batch norm, median of seeds", np.median(timed[:, 1]), 1.25),
    ]  # fmt: skip
    conclusion = (
        f"An epoch over N samples is N / {BATCH} steps, and each of them needs all N: the work grows with N to the power "
        f"{counted[:, 0].mean():.2f} (time: {np.median(timed[:, 0]):.2f}), that of batch norm with {counted[:, 1].mean():.2f} "
        f"(time: {np.median(timed[:, 1]):.2f}). With {SIZES[-1]} samples an epoch takes {times:.0f} times as long."
    )
    remarks = [
        "Time is more than multiply-adds: what a step costs whatever the size of the set, and where its data lie. So the slopes of "
        "the time are not exactly 2 and 1."
    ]
    return Outcome(
        conclusion, criteria, [_table(operations, seconds)], [_picture(seconds)], remarks
    )


def _costs(lab: Lab, rounds: int, seed: int) -> np.ndarray:
    """Of an epoch: (kinds, operations and seconds, sizes)."""
    found = {(kind, n): _training(lab, kind == "whole", n, seed) for kind in KINDS for n in SIZES}
    steps: dict[tuple[str, int], list[tuple[float, float]]] = {key: [] for key in found}
    for i in range(rounds):  # all sizes in turn, so that a busy moment meets them alike
        for key, training in found.items():
            steps[key].append(training.step(i))
        lab.done()
    epochs = {}
    for key, done in steps.items():
        operations, seconds = np.transpose(done)
        epochs[key] = len(found[key].batches) * np.array([operations.mean(), seconds.min()])
    return np.array([np.transpose([epochs[kind, n] for n in SIZES]) for kind in KINDS])


def _training(lab: Lab, whole: bool, n: int, seed: int) -> Training:
    rng, data = np.random.default_rng(seed), lab.digits
    drawn = rng.integers(0, len(data.x_train), n)
    noise = 0.05 * rng.standard_normal((n, *data.x_train.shape[1:]))
    options = {"statistics": "moving", "momentum": 0.0} if whole else {}
    net = nets.mlp(64, 10, (100,) * 3, norm_options=options, standardize=False, rng=seed)
    return Training(
        Trainer(net, optimizer=SGD(lr=0.01)),
        data.x_train[drawn] + noise.astype(np.float32),
        data.y_train[drawn],
        list(epoch_batches(n, BATCH, rng)),
        whole,
    )


def _multiply_adds(net: Sequential) -> int:
    """Of one sample on its way through all Linear layers."""
    return sum(layer.weight.size for layer in net if isinstance(layer, Linear))


def _slope(costs: np.ndarray) -> float:
    return float(np.polyfit(np.log(SIZES), np.log(costs), 1)[0])


def _table(operations: np.ndarray, seconds: np.ndarray) -> Table:
    rows = [
        [n, math.ceil(n / BATCH)]
        + [float(what[:, kind, i].mean()) for kind in (0, 1) for what in (operations / 1e9, seconds)]
        for i, n in enumerate(SIZES)
    ]  # fmt: skip
    columns = [f"{name}, {unit}" for name in KINDS.values() for unit in ("10⁹ multiply-adds", "s")]
    return Table("An epoch, means over seeds", ["samples", "steps", *columns], rows)


def _picture(seconds: np.ndarray) -> Lines:
    series = [Series(name, SIZES, seconds[:, kind]) for kind, name in enumerate(KINDS.values())]
    return Lines(
        "Time of an epoch",
        Axis("training set", "samples", log=True),
        Axis("time of an epoch", "s", log=True),
        series,
    )
