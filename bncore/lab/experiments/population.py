"""population: moving averages against statistics of the whole training set (Ioffe & Szegedy 2015, section 3.1)."""

from __future__ import annotations

import numpy as np

from ... import nets
from ..context import Lab
from ..digits import ACCURACY
from ..outcome import Criterion, Outcome, Table, at_least, at_most
from ..pictures import Axis, Lines, Series
from ..training import Run

QUESTION = (
    "For evaluation, the moving averages of training or population statistics measured at its end?"
)
SETTING = (
    "Digits, 3 hidden layers of 100 ReLU units with batch norm, batches of 60, SGD at 0.2 without momentum, one run per "
    "momentum of the moving averages (0.1, 0.01, 0.001: the share of the newest batch), looked at after 30, 100 and 300 "
    "steps; each time the statistics of a copy are replaced by each method of `recalibrate`, from the training samples."
)

MOMENTA = (0.1, 0.01, 0.001)
STOPS = (30, 100, 300)
METHODS = ("ema", "average", "pooled", "sequential")
STOP = 100  # where the criteria look


def run(lab: Lab) -> Outcome:
    lab.plan(len(MOMENTA))
    found = {
        momentum: np.array([_accuracies(lab, momentum, seed) for seed in lab.seeds])
        for momentum in MOMENTA
    }
    gaps = {
        momentum: (values[..., -1] - values[..., 0])[:, STOPS.index(STOP)]
        for momentum, values in found.items()
    }
    return Outcome(
        _conclusion(found, gaps),
        _criteria(found, gaps),
        [_table(found)],
        [_picture(found)],
        [_remark(found)],
    )


def _accuracies(lab: Lab, momentum: float, seed: int) -> np.ndarray:
    """Test accuracy at every stop (rows) with the statistics of every method (columns)."""
    net = nets.mlp(
        64, 10, (100,) * 3, norm_options={"momentum": momentum}, standardize=False, rng=seed
    )
    training = Run(net, lab.digits, lr=0.2, steps=STOPS[-1], seed=seed)
    rows = []
    for steps in np.diff(STOPS, prepend=0):
        training.go(int(steps))
        rows.append([training.accuracy(method) for method in METHODS])
    lab.done()
    return np.array(rows)


def _criteria(found: dict, gaps: dict) -> list[Criterion]:
    at = STOPS.index(STOP)
    return [
        at_least(
            f"accuracy with population statistics after {STOP} steps, mean over seeds",
            found[0.01][:, at, -1].mean(), 97, "%",
        ),
        at_least(
            f"population less moving average at momentum 0.01 after {STOP} steps, mean over seeds",
            gaps[0.01].mean(), 5, "points",
        ),
        at_most(
            f"population less moving average at momentum 0.1 after {STOP} steps, mean over seeds",
            gaps[0.1].mean(), 1.5, "points",
        ),
    ]  # fmt: skip


def _conclusion(found: dict, gaps: dict) -> str:
    moving = {
        momentum: values[:, STOPS.index(STOP), 0].mean() for momentum, values in found.items()
    }
    population = found[0.01][:, STOPS.index(STOP), -1].mean()
    listed = ", ".join(
        f"{moving[momentum]:.1f} % at momentum {momentum:g} (where the start still weighs {100 * (1 - momentum) ** STOP:.2g} %)"
        for momentum in MOMENTA
    )
    worth = [f"{momentum:g}" for momentum in MOMENTA if gaps[momentum].mean() > 1.5]
    return (
        f"After {STOP} steps the moving averages give {listed}, population statistics {population:.1f} %. Measuring them "
        f"is worth more than 1.5 points here at {'momentum ' + ', '.join(worth) if worth else 'none of these momenta'}."
    )


def _remark(found: dict) -> str:
    """How far the methods that measure are from each other, and from themselves at other momenta."""
    measured = np.array([values[..., 1:] for values in found.values()])
    methods, momenta = np.ptp(measured, axis=-1).max(), np.ptp(measured, axis=0).max()
    return (
        f"The three methods that measure (average, pooled, sequential) differ by {methods:.1f} points at most on one net, "
        f"each of them by {momenta:.1f} from one momentum to another: the momentum is no part of what is trained."
    )


def _table(found: dict) -> Table:
    rows = [
        [f"{momentum:g}", steps, (1 - momentum) ** steps, *values[:, at].mean(axis=0).tolist()]
        for momentum, values in found.items()
        for at, steps in enumerate(STOPS)
    ]
    head = ["momentum", "steps", "share of the start", "ema (moving average), %"]
    return Table(
        "Test accuracy by method, mean over seeds",
        [*head, *(f"{method}, %" for method in METHODS[1:])],
        rows,
    )


def _picture(found: dict) -> Lines:
    series = [
        Series(f"moving average, momentum {momentum:g}", STOPS, values[..., 0])
        for momentum, values in found.items()
    ]
    series.insert(0, Series("population (sequential)", STOPS, found[MOMENTA[0]][..., -1]))
    return Lines(
        "The same net with moving averages and with population statistics",
        Axis("training steps", "batches of 60", log=True),
        ACCURACY,
        series,
    )
