"""biased-batches: batches of one or two classes (Ioffe 2017, section 4.3)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ... import nets
from ..context import Lab
from ..digits import ACCURACY
from ..outcome import Outcome, Table, at_least, at_most
from ..pictures import Axis, Dots, Series
from ..training import Run

QUESTION = "What if batches are not representative, but hold samples of one or two classes?"
SETTING = (
    "Digits, 3 hidden layers of 100 ReLU units, weights uniform after Kaiming, 1000 steps of SGD without momentum. A "
    "batch has 32 samples in equal shares of 1, 2 or all 10 classes (30 samples then); classes and samples are drawn at "
    "random for each batch. Rate 0.01 with one class, else 0.1, both norms alike. Both norms average with "
    "momentum 0.01 and evaluate by these averages. Accuracy: mean of the last 8 measurements, every 50 steps."
)

RATES = {1: 0.01, 2: 0.1, 10: 0.1}
PLACES = {1: "one class", 2: "two classes", 10: "all classes"}
NORMS = {"batch": "batch norm", "renorm": "batch renorm"}
STEPS, LAST, EVERY, SIZE = 1000, 8, 50, 32


def run(lab: Lab) -> Outcome:
    lab.plan(len(NORMS), len(RATES))
    found, measured = {}, {}
    for name in NORMS:
        ends = np.array([[_ends(lab, name, k, seed) for k in RATES] for seed in lab.seeds])
        found[name], measured[name] = ends[..., 0], ends[..., 1:]
    norm, renorm = found["batch"], found["renorm"]
    means = {name: dict(zip(RATES, values.mean(axis=0))) for name, values in found.items()}
    gain = means["renorm"][2] - means["batch"][2]
    criteria = [
        at_most("one class: batch norm, best seed", norm[:, 0].max(), 20, "%"),
        at_least(
            "one class: renorm as a multiple of norm, worst seed", (renorm / norm)[:, 0].min(), 3
        ),
        at_least("two classes: renorm less norm, mean over seeds", gain, 0, "points"),
        at_least("two classes: renorm, mean over seeds", means["renorm"][2], 97, "%"),
    ]
    return Outcome(
        _conclusion(means), criteria, [_table(found)], [_picture(found)], [_remark(measured)]
    )


def _ends(lab: Lab, norm: str, classes: int, seed: int) -> tuple[float, float, float]:
    net = nets.mlp(
        64, 10, (100,) * 3, norm=norm, norm_options={"momentum": 0.01}, standardize=False, rng=seed
    )
    batches = of_classes(lab.digits.y_train, classes, np.random.default_rng(seed))
    run = Run(net, lab.digits, lr=RATES[classes], steps=STEPS, seed=seed, batches=batches)
    found = run.ends(LAST, EVERY)
    lab.done()
    return found


def of_classes(labels: np.ndarray, count: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Batches with equally many samples of each of so many classes, no sample twice: indices."""
    members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    while True:
        chosen = rng.choice(len(members), count, replace=False)
        yield np.concatenate(
            [rng.choice(members[c], SIZE // count, replace=False) for c in chosen]
        )  # fmt: skip


def _conclusion(means: dict) -> str:
    norm, renorm = means["batch"], means["renorm"]
    chance = (
        "about what guessing gives: what the samples of a batch have in common is its mean, which it takes away"
        if norm[1] < 15
        else "where guessing gives 10"
    )
    return (
        f"From batches of one class batch norm learns {norm[1]:.1f} %, {chance}. "
        f"Batch renorm learns {renorm[1]:.1f} %. With two classes they reach {norm[2]:.1f} "
        f"and {renorm[2]:.1f} %, with all {norm[10]:.1f} and {renorm[10]:.1f} %."
    )


def _remark(measured: dict) -> str:
    """Whether it was the averages or the weights."""
    one, two = (measured["batch"][:, i].mean(axis=0) for i in (0, 1))
    return (
        f"Are only the averages poor? After the last step batch norm stands at {one[0]:.1f} % from batches of one class, at "
        f"{two[0]:.1f} % from two; with statistics measured on the whole training set at {one[1]:.1f} and {two[1]:.1f} %. "
        "What then is missing is in the weights."
    )


def _table(found: dict) -> Table:
    rows = [
        [place, NORMS[norm], values[:, i].mean(), values[:, i].min(), values[:, i].max()]
        for i, place in enumerate(PLACES.values())
        for norm, values in found.items()
    ]
    return Table("Test accuracy", ["batches of", "norm", "mean, %", "least, %", "most, %"], rows)


def _picture(found: dict) -> Dots:
    places = list(PLACES.values())
    return Dots(
        "Batches that are not like the data",
        Axis("classes in a batch", None),
        ACCURACY,
        [Series(NORMS[norm], places, values) for norm, values in found.items()],
    )
