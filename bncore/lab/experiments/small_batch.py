"""small-batch: batches of 2 to 32 with batch norm and batch renormalization (Ioffe 2017, section 4.2)."""

from __future__ import annotations

import numpy as np

from ... import nets
from ..context import Lab
from ..digits import ACCURACY
from ..outcome import Outcome, Table, at_least, at_most
from ..pictures import Axis, Lines, Series
from ..training import Run

QUESTION = "What happens with small batches, and what does batch renormalization change?"
SETTING = (
    "Digits, 3 hidden layers of 100 sigmoid units, weights from N(0, 0.1²), SGD without momentum at rate 0.1, 1000 "
    "steps, so that larger batches see more samples; both norms average with momentum 0.01 and evaluate by these "
    "averages; renorm corrects nothing in the first eighth of a run, then ever more (r up to 3, d up to 5). Accuracy: mean of the last 8 "
    "measurements, every 50 steps (training on pairs wanders: single ones differ by ten points)."
)

SIZES = (2, 4, 8, 32)
NORMS = {"batch": "batch norm", "renorm": "batch renorm"}
STEPS, LAST, EVERY = 1000, 8, 50


def run(lab: Lab) -> Outcome:
    lab.plan(len(NORMS), len(SIZES))
    settled, measured = {}, {}
    for norm in NORMS:
        ends = np.array([[_ends(lab, norm, size, seed) for size in SIZES] for seed in lab.seeds])
        settled[norm], measured[norm] = ends[..., 0], ends[..., 1:]
    gain = settled["renorm"] - settled["batch"]
    worst = dict(zip(SIZES, gain.min(axis=0)))
    criteria = [
        at_least("batches of 2: renorm less norm, worst seed", worst[2], 20, "points"),
        at_least("batches of 4: renorm less norm, worst seed", worst[4], 1, "points"),
        at_most("batches of 32: apart, worst seed", np.abs(gain[:, -1]).max(), 1.5, "points"),
    ]
    return Outcome(
        _conclusion(settled), criteria, [_table(settled)], [_picture(settled)], [_remark(measured)]
    )


def _ends(lab: Lab, norm: str, size: int, seed: int) -> tuple[float, float, float]:
    net = nets.mlp(
        64, 10, (100,) * 3, activation="sigmoid", norm=norm, norm_options={"momentum": 0.01},
        standardize=False, init=0.1, rng=seed,
    )  # fmt: skip
    run = Run(net, lab.digits, lr=0.1, steps=STEPS, seed=seed, batch_size=size)
    found = run.ends(LAST, EVERY)
    lab.done()
    return found


def _conclusion(settled: dict) -> str:
    norm, renorm = (settled[name].mean(axis=0) for name in NORMS)
    parts = [f"{a:.1f} and {b:.1f} % with {size}" for size, a, b in zip(SIZES, norm, renorm)]
    return (
        f"With batches of 2 batch norm ends at {norm[0]:.1f} %, batch renorm at {renorm[0]:.1f} %; {'; '.join(parts[1:])}. "
        f"Renorm changes the result by {renorm[0] - norm[0]:+.1f} points at 2, by {renorm[-1] - norm[-1]:+.1f} at 32."
    )


def _remark(measured: dict) -> str:
    """Whether it was the averages or the weights."""
    moving, population = measured["batch"][:, 0].mean(axis=0)
    return (
        "Two samples, normalized, are 1 and -1 whatever they were: what is left is which was larger. Are only the "
        f"averages poor? After the last step with batches of 2 batch norm stands at {moving:.1f} %, with statistics "
        f"measured on the whole training set at {population:.1f} %; what then is missing is in the weights."
    )


def _table(settled: dict) -> Table:
    norm, renorm = settled["batch"], settled["renorm"]
    rows = [
        [size, norm[:, i].mean(), renorm[:, i].mean(), (renorm - norm)[:, i].min(),
         (renorm - norm)[:, i].max()]
        for i, size in enumerate(SIZES)
    ]  # fmt: skip
    columns = ["batch", "norm, %", "renorm, %", "least gain, points", "largest gain, points"]
    return Table("Test accuracy, mean over seeds", columns, rows)


def _picture(settled: dict) -> Lines:
    return Lines(
        "Small batches with and without renormalization",
        Axis("batch size", "samples", log=True),
        ACCURACY,
        [Series(name, SIZES, settled[norm]) for norm, name in NORMS.items()],
    )
