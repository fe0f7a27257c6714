"""inputs: a first batch norm on raw columns in place of a scaler (Ioffe & Szegedy 2015, section 2)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ... import nets
from ...support.extras import require
from ...training.data import Dataset, load
from ..context import Lab
from ..outcome import Criterion, Outcome, Table, at_least, at_most
from ..pictures import Axis, Lines, Series
from ..training import Run

QUESTION = "Can batch norm take the place of scaling the data?"
SETTING = (
    "Wine, 13 raw columns, 107 samples to train on and 71 to test with, one hidden layer of 32 ReLU units, batches of "
    "32, SGD without momentum, 200 steps at each of the learning rates 0.0001, 0.001, 0.01, 0.1 and 0.3; a scaler "
    "(scikit-learn's StandardScaler) is fitted on the training samples. The criteria look at a rate of 0.1."
)

RATES = (0.0001, 0.001, 0.01, 0.1, 0.3)
RATE = 0.1
STEPS = 200
RAW, SCALED, FIRST, HIDDEN = (
    "raw",
    "scaler",
    "batch norm on the columns",
    "batch norm in the middle",
)


def run(lab: Lab) -> Outcome:
    raw = load("wine", test_fraction=0.4)
    contenders = {
        RAW: (raw, "none", False),
        SCALED: (_scaled(raw), "none", False),
        FIRST: (raw, "none", True),
        HIDDEN: (raw, "batch", False),
    }
    lab.plan(len(contenders), len(RATES))
    found = {
        name: np.array([[_accuracy(lab, *how, rate, seed) for rate in RATES] for seed in lab.seeds])
        for name, how in contenders.items()
    }
    at_rate = {name: values[:, RATES.index(RATE)] for name, values in found.items()}
    return Outcome(
        _conclusion(at_rate),
        _criteria(at_rate),
        [_table(found)],
        [_picture(found)],
        [_at_best(found), _scales(raw)],
    )


def _scaled(raw: Dataset) -> Dataset:
    require("sklearn", "sklearn")
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(raw.x_train)
    return replace(raw, x_train=scaler.transform(raw.x_train), x_test=scaler.transform(raw.x_test))


def _accuracy(
    lab: Lab, data: Dataset, norm: str, standardize: bool, rate: float, seed: int
) -> float:
    net = nets.mlp(13, 3, (32,), norm=norm, standardize=standardize, rng=seed)
    accuracy = Run(net, data, lr=rate, steps=STEPS, seed=seed, batch_size=32).go().accuracy()
    lab.done()
    return accuracy


def _criteria(at_rate: dict) -> list[Criterion]:
    return [
        at_least(
            "batch norm on the columns less raw input, worst seed",
            (at_rate[FIRST] - at_rate[RAW]).min(), 30, "points",
        ),
        at_most(
            "scaler less batch norm on the columns, worst seed",
            (at_rate[SCALED] - at_rate[FIRST]).max(), 5, "points",
        ),
    ]  # fmt: skip


def _conclusion(at_rate: dict) -> str:
    mean = {name: values.mean() for name, values in at_rate.items()}
    return (
        f"At a rate of {RATE} a batch norm on the raw columns gives {mean[FIRST]:.1f} %, a scaler {mean[SCALED]:.1f} %, raw "
        f"input {mean[RAW]:.1f} %, and batch norm behind the first Linear {mean[HIDDEN]:.1f} %."
    )


def _at_best(found: dict) -> str:
    """Raw input wants small rates: what every contender reaches at the rate that suits it."""
    best = {name: int(values.mean(axis=0).argmax()) for name, values in found.items()}
    listed = ", ".join(
        f"{name} {values[:, best[name]].mean():.1f} % ({RATES[best[name]]:g})"
        for name, values in found.items()
    )
    return f"Each at the best of these rates, mean over seeds: {listed}."


def _scales(raw: Dataset) -> str:
    deviations, largest = raw.x_train.std(axis=0), np.bincount(raw.y_test).max()
    return (
        f"The columns' standard deviations reach from {deviations.min():.2g} to {deviations.max():.3g}, and "
        "with them the gradients of the first Linear's weights, at one learning rate; a norm behind it sees no single columns. A net that answers "
        f"with the largest class is right in {100 * largest / len(raw.y_test):.1f} %."
    )


def _table(found: dict) -> Table:
    rows = [[name, *values.mean(axis=0).tolist()] for name, values in found.items()]
    return Table(
        "Test accuracy by learning rate, %, mean over seeds",
        ["input", *(f"{rate:g}" for rate in RATES)],
        rows,
    )


def _picture(found: dict) -> Lines:
    return Lines(
        "Wine: raw columns, scaled by hand and by batch norm",
        Axis("learning rate", log=True),
        Axis("accuracy on 71 test samples", "%", limits=(0, 102)),
        [Series(name, RATES, values) for name, values in found.items()],
    )
