"""speed: how many steps to 90 %, an accuracy that the net without norms reaches in the end (Ioffe & Szegedy 2015, section 4.1)."""

from __future__ import annotations

import numpy as np

from ... import nets
from ..context import Lab
from ..digits import ACCURACY
from ..outcome import Outcome, Table, at_least, at_most, span
from ..pictures import Axis, Lines, Series
from ..training import Run, reached

QUESTION = "Does a net with batch norm reach the baseline sooner?"
SETTING = (
    "Digits, 3 hidden layers of 100 sigmoid units, weights from N(0, 0.1²), batches of 60, SGD without momentum; "
    "each net at the best of the learning rates 0.1, 0.3, 1 and 3 (the one that reaches 90 % of the test digits first, on average); "
    "the table has 6 as well, for whoever asks whether 3 is too small. 1500 steps (quick: 1200), measured every 10; the accuracy at "
    "the end is the mean of the last 10 measurements."
)

RATES = (0.1, 0.3, 1.0, 3.0)
TRIED = (*RATES, 6.0)
NAMES = {"batch": "batch norm", "none": "no norm"}
GOAL = 90.0
EVERY, LAST = 10, 10


def run(lab: Lab) -> Outcome:
    steps = lab.either(1500, 1200)
    lab.plan(len(NAMES), len(TRIED))
    curves = {
        norm: {rate: [_curve(lab, norm, rate, steps, seed) for seed in lab.seeds] for rate in TRIED}
        for norm in NAMES
    }
    needed = {
        norm: {rate: [reached(EVERY, c, GOAL) for c in found] for rate, found in rates.items()}
        for norm, rates in curves.items()
    }
    best = {norm: min(RATES, key=lambda rate: np.mean(needed[norm][rate])) for norm in NAMES}
    with_norm, without = (needed[norm][best[norm]] for norm in NAMES)
    ratio = np.max(np.divide(with_norm, without))
    ends = {norm: _end(curves[norm][best[norm]]) for norm in best}
    criteria = [
        at_most("steps to 90 % with norm as a part of those without, worst seed", ratio, 0.5),
        at_least(
            "accuracy at the end with norm less without, mean over seeds",
            ends["batch"] - ends["none"],
            0,
            "points",
        ),
    ]
    conclusion = (
        f"Steps to {GOAL:.0f} %: {span(with_norm)} with batch norm, {span(without)} without; after {steps} steps the nets "
        f"stand at {ends['batch']:.1f} and {ends['none']:.1f} %."
    )
    return Outcome(conclusion, criteria, [_table(curves, needed)], [_picture(curves, best, steps)])


def _curve(lab: Lab, norm: str, rate: float, steps: int, seed: int) -> np.ndarray:
    net = nets.mlp(
        64, 10, (100,) * 3, activation="sigmoid", norm=norm, standardize=False, init=0.1, rng=seed
    )
    _, accuracies = Run(net, lab.digits, lr=rate, steps=steps, seed=seed).curve(EVERY)
    lab.done()
    return accuracies


def _end(curves: list[np.ndarray]) -> float:
    """Mean over seeds; single measurements at a constant learning rate scatter by points."""
    return float(np.mean([curve[-LAST:] for curve in curves]))


def _table(curves: dict, needed: dict) -> Table:
    rows = [
        [
            NAMES[norm],
            f"{rate:g}",
            span(needed[norm][rate]),
            _end(found),
        ]
        for norm, rates in curves.items()
        for rate, found in rates.items()
    ]
    return Table(
        "All rates", ["net", "learning rate", "steps to 90 %", "accuracy at the end, %"], rows
    )


def _picture(curves: dict, best: dict, steps: int) -> Lines:
    x = np.arange(0, steps + 1, EVERY)
    series = [
        Series(f"{name}, learning rate {best[norm]:g}", x, np.array(curves[norm][best[norm]]))
        for norm, name in NAMES.items()
    ]
    return Lines(
        "Sigmoid net with and without batch norm",
        Axis("training steps", "batches of 60"),
        ACCURACY,
        series,
        [(GOAL, "90 %")],
    )
