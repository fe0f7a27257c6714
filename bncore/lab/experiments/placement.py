"""placement: the norm before or after the activation (Ioffe & Szegedy 2015, section 3.2, place it before)."""

from __future__ import annotations

import numpy as np

from ... import nets
from ..context import Lab
from ..outcome import Criterion, Outcome, Table, at_least
from ..pictures import Axis, Dots, Series
from ..training import Run

QUESTION = "Should the norm stand before the activation or after it?"
SETTING = (
    "Digits, 3 hidden layers of 100 units, weights from N(0, 0.1²), batches of 60, SGD without momentum at learning "
    "rate 0.3, 1500 steps (quick: 1000); test accuracy of the last step. Both nets of a seed start from the same "
    "weights and see the same batches; with the norm after the activation the linear layers keep their biases."
)

NAMES = {"relu": "ReLU", "sigmoid": "sigmoid", "tanh": "tanh"}
PLACEMENTS = ("before", "after")
LEAST = 95.0
Ends = dict[str, np.ndarray]  # by placement: accuracies (seeds, activations)


def run(lab: Lab) -> Outcome:
    lab.plan(len(PLACEMENTS), len(NAMES))
    ends = {
        placement: np.array([[_end(lab, placement, a, seed) for a in NAMES] for seed in lab.seeds])
        for placement in PLACEMENTS
    }
    return Outcome(_conclusion(ends), _criteria(ends), [_table(ends)], [_picture(ends)])


def _end(lab: Lab, placement: str, activation: str, seed: int) -> float:
    net = nets.mlp(
        64, 10, (100,) * 3, activation=activation, placement=placement, standardize=False, init=0.1,
        rng=seed,
    )  # fmt: skip
    accuracy = Run(net, lab.digits, lr=0.3, steps=lab.either(1500, 1000), seed=seed).go().accuracy()
    lab.done()
    return accuracy


def _criteria(ends: Ends) -> list[Criterion]:
    return [
        at_least(f"accuracy, norm {placement} {name}, worst seed", worst, LEAST, "%")
        for placement in PLACEMENTS
        for name, worst in zip(NAMES.values(), ends[placement].min(axis=0))
    ]


def _conclusion(ends: Ends) -> str:
    means = ", ".join(
        f"{before:.1f} and {after:.1f} % with {name}"
        for name, before, after in zip(NAMES.values(), *(ends[p].mean(axis=0) for p in PLACEMENTS))
    )
    gain = ends["after"] - ends["before"]
    worst = min(found.min() for found in ends.values())
    return (
        f"With the norm before and after the activation the nets end at {means} (means over seeds); of all runs the "
        f"worst ends at {worst:.1f} %. After is the better in {(gain > 0).sum()} and the worse in {(gain < 0).sum()} "
        f"of {gain.size} pairs, the mean difference is {gain.mean():+.1f} points."
    )


def _table(ends: Ends) -> Table:
    gain = ends["after"] - ends["before"]
    rows = [
        [
            name,
            *(value for p in PLACEMENTS for value in (ends[p][:, i].mean(), ends[p][:, i].min())),
            gain[:, i].mean(),
            gain[:, i].min(),
            gain[:, i].max(),
        ]
        for i, name in enumerate(NAMES.values())
    ]
    heads = [f"{p}, {which}" for p in PLACEMENTS for which in ("mean", "worst")]
    return Table(
        "Accuracy at the end, %; after less before, seed by seed, in points",
        ["activation", *heads, "difference, mean", "least", "largest"],
        [[cell if isinstance(cell, str) else float(cell) for cell in row] for row in rows],
    )


def _picture(ends: Ends) -> Dots:
    places = list(NAMES.values())
    return Dots(
        "The norm before or after the activation",
        Axis("activation", None),
        Axis("accuracy on 500 test digits", "%"),
        [Series(f"norm {placement}", places, ends[placement]) for placement in PLACEMENTS],
        [(LEAST, "95 %")],
    )
