"""grid: learning rates and initial weights that a net can be trained with (Ioffe & Szegedy 2015, sections 3.3 and 4.2.1)."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from ... import nets
from ..context import Lab
from ..outcome import Outcome, Table, at_least, span
from ..pictures import Axis, HeatMaps
from ..training import Run

QUESTION = "Does batch norm allow larger learning rates and worse initial weights?"
SETTING = (
    "Digits, 4 hidden layers of 64 ReLU units, weights from N(0, d²) with six d from 0.001 to 3, batches of 60, SGD without "
    "momentum at five rates from 0.05 to 15 (neither evenly spaced; 0.05 to 1.5 is 30-fold), 300 steps (quick: 200). A cell of the grid counts if its accuracy on the 500 test digits "
    "is 80 % at least; runs that diverge stay where they are."
)

RATES = (0.05, 0.25, 1.5, 3.5, 15.0)
DEVIATIONS = (0.001, 0.005, 0.025, 0.12, 0.6, 3.0)
NORMS = {"batch": "batch norm", "none": "no norm"}
GOOD, BEST = 80.0, 95.0
SPAN = 30.0


def run(lab: Lab) -> Outcome:
    steps = lab.either(300, 200)
    lab.plan(len(NORMS), len(DEVIATIONS))
    grids = {
        norm: np.array([_grid(lab, norm, steps, seed) for seed in lab.seeds]) for norm in NORMS
    }
    good = {norm: (grid >= GOOD).sum(axis=(1, 2)) for norm, grid in grids.items()}
    ratio = (good["batch"] / np.maximum(good["none"], 1)).min()
    floors = {norm: _floors(grid.mean(axis=0)) for norm, grid in grids.items()}
    best = {norm: int(np.argmax(floor)) for norm, floor in floors.items()}
    floor = {norm: floors[norm][best[norm]] for norm in NORMS}
    criteria = [
        at_least("cells at 80 % or more with norm, worst seed", good["batch"].min(), 15),
        at_least("these cells as a multiple of those without norm (counted as 1 at least), worst seed", ratio, 5),
        at_least(f"accuracy over a {SPAN:.0f}-fold range of rates, best deviation, mean over seeds", floor["batch"], BEST, "%"),
    ]  # fmt: skip
    cells = len(RATES) * len(DEVIATIONS)
    conclusion = (
        f"With batch norm {span(good['batch'])} of {cells} pairs of learning rate and initial deviation reach "
        f"{GOOD:.0f} %, without it {span(good['none'])}. At the best deviation ({DEVIATIONS[best['batch']]:g}) it gives "
        f"{floor['batch']:.1f} % or more over a {SPAN:.0f}-fold range of rates (means over seeds), the net without norms "
        f"at its best {floor['none']:.1f} %."
    )
    return Outcome(conclusion, criteria, [_table(good, grids)], [_picture(grids, steps)])


def _grid(lab: Lab, norm: str, steps: int, seed: int) -> np.ndarray:
    """Test accuracies, (deviations, rates)."""
    rows = []
    for deviation in DEVIATIONS:
        for rate in RATES:
            net = nets.mlp(
                64, 10, (64,) * 4, norm=norm, standardize=False, init=deviation, rng=seed
            )
            rows.append(Run(net, lab.digits, lr=rate, steps=steps, seed=seed).go().accuracy())
        lab.done()
    return np.reshape(rows, (len(DEVIATIONS), len(RATES)))


def _floors(accuracies: np.ndarray) -> np.ndarray:
    """For every deviation, the least accuracy over that range of rates, `SPAN`-fold or more, which has the most."""
    ends = [
        (low, high + 1)
        for low, high in combinations(range(len(RATES)), 2)
        if RATES[high] >= SPAN * RATES[low] * (1 - 1e-9)
    ]
    floors: np.ndarray = np.max([accuracies[:, a:b].min(axis=1) for a, b in ends], axis=0)
    return floors


def _table(good: dict, grids: dict) -> Table:
    rows = [
        [name, span(good[norm]), *[float(np.max(grids[norm].mean(axis=0)[:, i])) for i in range(len(RATES))]]
        for norm, name in NORMS.items()
    ]  # fmt: skip
    columns = [f"rate {rate:g}" for rate in RATES]
    title = "Cells at 80 %, and the accuracy of the best deviation at every rate, %"
    return Table(title, ["net", "cells", *columns], rows)


def _picture(grids: dict, steps: int) -> HeatMaps:
    return HeatMaps(
        f"Accuracy on 500 test digits after {steps} steps",
        Axis("learning rate"),
        Axis("deviation of the initial weights"),
        [f"{rate:g}" for rate in RATES],
        [f"{deviation:g}" for deviation in DEVIATIONS],
        [(name, grids[norm]) for norm, name in NORMS.items()],
        Axis("accuracy", "%", limits=(0, 100)),
    )
