"""dropout: the variance that dropout in front of a norm adds in training alone (Li et al. 2018, section 3)."""

from __future__ import annotations

from functools import reduce

import numpy as np

from ... import functional as F
from ... import nets
from ...layers import BatchNorm, Dropout, Sequential
from ...statistics import recalibrate
from ...training.data import Dataset
from ..context import Lab
from ..outcome import Criterion, Outcome, Table, at_most
from ..pictures import Axis, Dots, Series
from ..training import Run

QUESTION = "Why not put dropout in front of batch norm?"
SETTING = (
    "Digits, 2 hidden layers of 100 units: Linear, tanh, dropout with p = 0, 0.2 or 0.5, batch norm; batches of 60, SGD "
    "at 0.03 without momentum, 600 steps, moving averages with momentum 0.03. All training samples as one batch, 20 times "
    "with new dropout masks, give mean c and variance v of every unit in front of a dropout layer, and the variance "
    "behind it; formula: v / ((c² + v)/q - c²), q = 1 - p. The same samples in evaluation give the variance that meets "
    "the moving averages."
)

RATES = (0.0, 0.2, 0.5)
MASKS = 20
KINDS = ("formula, this dropout", "measured, this dropout", "moving average", "recalibrated")
FORMULA, MEASURED, MOVING, RECALIBRATED = range(4)


def run(lab: Lab) -> Outcome:
    lab.plan(len(RATES))
    ratios, accuracies = {}, {}
    for p in RATES:
        found = [_trained(lab.digits, p, seed) for seed in lab.each_seed()]
        ratios[p], accuracies[p] = (np.array(part) for part in zip(*found))
    means = {p: values.mean(axis=-1) for p, values in ratios.items()}
    return Outcome(
        _conclusion(means),
        _criteria(np.array(list(ratios.values()))),
        [_table(means, accuracies)],
        [_picture(means)],
        [_remark(accuracies)],
    )


def _trained(data: Dataset, p: float, seed: int) -> tuple[np.ndarray, list[float]]:
    """Ratios of variances, evaluation over training, (kinds, layers, units); accuracy before and after recalibration."""
    net = nets.mlp(
        64, 10, (100, 100), activation="tanh", placement="after", standardize=False,
        norm_options={"momentum": 0.03}, rng=seed,
    )  # fmt: skip
    for place in (6, 3):  # in front of each norm
        net.insert(place, Dropout(p))
    training = Run(net, data, lr=0.03, steps=600, seed=seed).go()  # averages keep up
    x, before = data.x_train, training.accuracy()
    own, moving = _of_dropout(net, x, 1 - p), _of_norms(net, x)
    recalibrate(net, x)
    return np.array([*own, moving, _of_norms(net, x)]), [before, training.accuracy()]


def _of_dropout(net: Sequential, x: np.ndarray, q: float) -> tuple[np.ndarray, np.ndarray]:
    """What every dropout layer does to the variance, by the formula and as measured in front of it and behind it."""
    copy = net.copy().train()  # its norms take batch statistics, and update nothing of the net's
    passes = [_around_dropout(copy, x) for _ in range(MASKS)]
    merged = [[reduce(F.Statistics.merge, side) for side in zip(*layer)] for layer in zip(*passes)]
    formula = [s.var / ((s.mean**2 + s.var) / q - s.mean**2) for s, _ in merged]
    return np.array(formula), np.array([into.var / out.var for into, out in merged])


def _of_norms(net: Sequential, x: np.ndarray) -> np.ndarray:
    """Variance of what norms receive in evaluation over the running one they divide by."""
    norms = [layer for layer in net if isinstance(layer, BatchNorm)]
    received = [out for _, out in _around_dropout(net.copy().eval(), x)]
    return np.array([stats.unbiased_var / norm.running_var for stats, norm in zip(received, norms)])


def _around_dropout(net: Sequential, x: np.ndarray) -> list[tuple[F.Statistics, F.Statistics]]:
    """Statistics in front of and behind every dropout layer, behind which is a norm."""
    found = []
    for layer in net:
        y = layer(x)
        if isinstance(layer, Dropout):
            found.append((F.statistics(x), F.statistics(y)))
        x = y
    return found


def _criteria(ratios: np.ndarray) -> list[Criterion]:
    """Of all p, seeds, kinds, layers and units."""
    own = _off(ratios[:, :, MEASURED] / ratios[:, :, FORMULA]).mean(axis=-1)
    first = _off((ratios[:, :, MOVING, 0] / ratios[:, :, FORMULA, 0]).mean(axis=-1))
    left = _off(ratios[:, :, RECALIBRATED])
    return [
        at_most("measured off the formula, mean distance of units, worst layer, p and seed", own.max(), 3, "%"),
        at_most("first norm's moving average off the formula (of means over units), worst p and seed", first.max(), 3, "%"),
        at_most("off 1 after recalibration, worst unit, layer, p and seed", left.max(), 2, "%"),
    ]  # fmt: skip


def _off(ratio: np.ndarray) -> np.ndarray:
    """Distance from 1 in percent."""
    return 100 * np.abs(ratio - 1)


def _conclusion(means: dict) -> str:
    p = RATES[-1]
    mean = means[p].mean(axis=0)
    return (
        f"With p = {p} the variance in evaluation is {mean[MOVING, 0]:.2f} of the moving average that the first norm "
        f"divides by (formula: {mean[FORMULA, 0]:.2f}) and {mean[MOVING, 1]:.2f} of the second's (formula for the dropout "
        f"in front of it: {mean[FORMULA, 1]:.2f}), without dropout {means[0.0][:, MOVING].mean():.2f}. Recalibration with "
        f"dropout off makes that {mean[RECALIBRATED, 0]:.3f} and {mean[RECALIBRATED, 1]:.3f}."
    )


def _remark(accuracies: dict) -> str:
    changes = np.concatenate([np.diff(accuracies[p]) for p in RATES if p])
    return (
        f"Accuracy is another matter: recalibration changed it by {changes.min():+.1f} to {changes.max():+.1f} points. The "
        "formula is about one dropout layer. What the second norm receives in evaluation lacks the noise of both, "
        "and so its ratio need not be that of its own dropout alone."
    )


def _table(means: dict, accuracies: dict) -> Table:
    rows = [
        [f"{p:g}", layer + 1, *means[p].mean(axis=0)[:, layer].tolist(), *ends]
        for p in RATES
        for layer, ends in enumerate([[None, None], accuracies[p].mean(axis=0).tolist()])
    ]
    return Table(
        "Variance in evaluation over that in training, mean over units and seeds",
        ["p", "layer", *KINDS, "test accuracy, %", "recalibrated, %"],
        rows,
    )


def _picture(means: dict) -> Dots:
    places = [f"p = {p:g}\nlayer {layer}" for p in RATES for layer in (1, 2)]
    values = np.concatenate([means[p] for p in RATES], axis=2)  # seeds, kinds, places
    return Dots(
        "Dropout in front of batch norm",
        Axis("probability of dropout, and the norm behind it", None),
        Axis("variance in evaluation / in training", limits=(0, 1.5)),
        [Series(kind, places, values[:, at]) for at, kind in enumerate(KINDS)],
    )
