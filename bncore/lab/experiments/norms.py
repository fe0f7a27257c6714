"""norms: batch norm beside batch renorm, layer, RMS and group norm, over batch sizes (Wu & He 2018, section 4.1).

Batch renormalization: Ioffe 2017; layer norm: Ba et al. 2016; RMS norm: Zhang & Sennrich 2019.
"""

from __future__ import annotations

import time
from statistics import median
from typing import NamedTuple

import numpy as np

from ... import nets
from ...layers import Sequential
from ..context import Lab
from ..digits import ACCURACY
from ..outcome import Criterion, Outcome, Table, at_least
from ..pictures import Axis, Lines, Series
from ..training import Run

QUESTION = "Which norm should I take, for which net and batch size?"
SETTING = (
    "Digits; a fully connected net (MLP) with 2 hidden layers of 64 ReLUs and a convolutional one (CNN) of 16 and 32 "
    "channels, He's initial weights; SGD without momentum at learning rate 0.3 for every norm and batch size, falling "
    "along a cosine; 4 epochs (quick: 1), but 400 steps at least. Layer and RMS norm take the channels of one position "
    "together, group norm 8 neighbouring channels and in the CNN all positions; batch renorm takes the start out of its "
    "averages (zero_debias) and follows its schedule as fractions of the run. No norm has a rate of its own: a table of "
    "this setting, no ranking. Time is the median step of each run, its batch included, on this machine, as busy as it was."
)

NORMS = {"batch": "batch", "renorm": "renorm", "layer": "layer", "rms": "RMS", "group": "group"}
OTHERS = [norm for norm in NORMS if norm != "batch"]
NETS = ("MLP", "CNN")
RATE, EPOCHS, STEPS = 0.3, (4, 1), 400


class Found(NamedTuple):
    """Of one net: by norm, accuracies and milliseconds per step, (seeds, batch sizes)."""

    accuracies: dict[str, np.ndarray]
    times: dict[str, np.ndarray]


def run(lab: Lab) -> Outcome:
    sizes = lab.either((2, 8, 32, 128), (2, 32))
    lab.plan(len(NETS), len(NORMS), len(sizes))
    found = {net: _measure(lab, net, sizes) for net in NETS}
    worst = {net: _worst(found[net].accuracies) for net in NETS}
    conclusion = (
        f"At batch 2 batch norm ends at {_mean(found, 'MLP', ['batch'])} % in the MLP, where its statistics are those of 2 "
        f"values, and at {_mean(found, 'CNN', ['batch'])} % in the CNN, where a channel has 32 or 128; the others at "
        f"{_mean(found, 'MLP', OTHERS)} and {_mean(found, 'CNN', OTHERS)} % (means over seeds). At batch {sizes[-1]} the worst "
        f"run of all norms ends at {worst['MLP']:.1f} % in the MLP and {worst['CNN']:.1f} % in the CNN. All at one rate, so no ranking."
    )
    pictures = [picture for net in NETS for picture in _pictures(net, sizes, found[net])]
    tables = [_table(net, sizes, found[net]) for net in NETS]
    return Outcome(conclusion, _criteria(found, worst, sizes[-1]), tables, pictures)


def _measure(lab: Lab, net: str, sizes: tuple[int, ...]) -> Found:
    accuracies, times = {}, {}
    for norm in NORMS:
        runs = np.array(
            [[_train(lab, _net(net, norm, s), size, s) for size in sizes] for s in lab.seeds]
        )
        accuracies[norm], times[norm] = runs[..., 0], runs[..., 1]
    return Found(accuracies, times)


def _net(net: str, norm: str, seed: int) -> Sequential:
    options = {"zero_debias": True} if norm == "renorm" else None
    if net == "CNN":
        return nets.cnn(
            1, 10, (16, 32), norm=norm, norm_options=options, init="he_normal", rng=seed
        )
    return nets.mlp(
        64, 10, (64, 64), norm=norm, norm_options=options, standardize=False, init="he_normal", rng=seed
    )  # fmt: skip


def _train(lab: Lab, net: Sequential, size: int, seed: int) -> tuple[float, float]:
    """Accuracy at the end in percent, and the median step in milliseconds."""
    steps = max(STEPS, lab.either(*EPOCHS) * len(lab.digits.x_train) // size)
    run = Run(net, lab.digits, lr=RATE, steps=steps, seed=seed, batch_size=size, schedule="cosine")
    times = []
    for _ in range(steps):
        begin = time.perf_counter()
        run.step()
        times.append(time.perf_counter() - begin)
    lab.done()
    return run.accuracy(), 1e3 * median(times)


def _worst(accuracies: dict[str, np.ndarray]) -> float:
    """The least accuracy of any norm and seed at the largest batch."""
    return min(float(values[:, -1].min()) for values in accuracies.values())


def _mean(found: dict[str, Found], net: str, norms: list[str]) -> str:
    """Accuracies at the least batch, means over seeds, as a range over norms."""
    means = [found[net].accuracies[norm][:, 0].mean() for norm in norms]
    return f"{min(means):.1f}" + (f" to {max(means):.1f}" if len(means) > 1 else "")


def _criteria(found: dict[str, Found], worst: dict[str, float], largest: int) -> list[Criterion]:
    mlp, cnn = (found[net].accuracies for net in NETS)
    ahead = min((mlp[norm] - mlp["batch"])[:, 0].min() for norm in OTHERS)
    positions = (cnn["batch"] - mlp["batch"])[:, 0].min()
    return [
        at_least("MLP, batch 2: any other norm less batch norm, worst seed", ahead, 10, "points"),
        at_least("batch norm, batch 2: CNN less MLP, worst seed", positions, 10, "points"),
        at_least(f"MLP, batch {largest}: worst norm and seed", worst["MLP"], 95, "%"),
        at_least(f"CNN, batch {largest}: worst norm and seed", worst["CNN"], 80, "%"),
    ]


def _table(net: str, sizes: tuple[int, ...], found: Found) -> Table:
    rows = [
        [
            NORMS[norm],
            *(float(v) for v in found.accuracies[norm].mean(axis=0)),
            *(float(v) for v in np.median(found.times[norm], axis=0)),
        ]
        for norm in NORMS
    ]
    heads = [f"{unit}, batch {size}" for unit in ("%", "ms") for size in sizes]
    return Table(f"{net}: mean accuracy, and median time per step", ["norm", *heads], rows)


def _pictures(net: str, sizes: tuple[int, ...], found: Found) -> list[Lines]:
    batch = Axis("batch size", "samples", log=True)
    kinds = (
        ("accuracy", ACCURACY, found.accuracies),
        ("time per step", Axis("median time per step", "ms", log=True), found.times),
    )
    return [
        Lines(f"{net}: {what} by norm and batch size", batch, axis, series)
        for what, axis, values in kinds
        for series in [[Series(NORMS[norm], sizes, v) for norm, v in values.items()]]
    ]
