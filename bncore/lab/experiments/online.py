"""online: training on one example at a time (Ioffe & Szegedy 2015, Algorithm 1; Ioffe 2017; Ba 2016)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ... import functional as F
from ... import nets
from ...layers import BatchNorm, Layer, Sequential
from ...statistics.recalibrate import recalibrate, running_statistics
from ..context import Lab
from ..digits import ACCURACY
from ..outcome import Outcome, Table, at_least, equal
from ..pictures import Axis, Lines, Series
from ..training import Run

QUESTION = "Can a net with norms learn from one example at a time?"
SETTING = (
    "Digits, 3 hidden layers of 100 ReLU units, weights uniform after Kaiming, 3000 steps of one example each, SGD "
    "without momentum at rate 0.002, the same for all norms; renorm averages with momentum 0.01 (its default) or 0.001. "
    "Frozen: batch norm whose statistics are measured once, before training, on the training images (no labels), layer "
    "by layer. Accuracy: mean of the last 8 measurements, every 100 steps."
)

STEPS, EVERY, LAST = 3000, 100, 8


@dataclass(frozen=True)
class Contender:
    """A norm that takes one example, and the accuracy it is to reach."""

    label: str
    norm: str
    options: dict
    least: float | None


SHORT = Contender("batch renorm, momentum 0.01", "renorm", {"momentum": 0.01}, None)
LONG = Contender("batch renorm, momentum 0.001", "renorm", {"momentum": 0.001}, 50)
FROZEN = Contender("frozen batch norm", "batch", {}, 90)
LAYER = Contender("layer norm", "layer", {}, 90)
CONTENDERS = (LAYER, FROZEN, LONG, SHORT)


def run(lab: Lab) -> Outcome:
    lab.plan(len(CONTENDERS))
    curves, spreads = {}, {}
    for one in CONTENDERS:
        found = [_trained(lab, one, seed) for seed in lab.seeds]
        curves[one.label] = np.array([curve for curve, _ in found])
        spreads[one.label] = np.mean([spread for _, spread in found], axis=0)
    ends = {label: found[:, -LAST:].mean(axis=1) for label, found in curves.items()}
    output, gradient = _of_one(lab)
    criteria = [
        equal("batch norm by one example: distance of outputs from beta", output, 0),
        equal("batch norm by one example: largest gradient of its inputs", gradient, 0),
    ]
    for one in CONTENDERS:
        if one.least is not None:
            criteria.append(
                at_least(f"{one.label}, worst seed", ends[one.label].min(), one.least, "%")
            )
    refusal = _refusal(lab)
    remarks = [f"What batch norm says to one example: {refusal or 'nothing'}.", _why(spreads)]
    conclusion = _conclusion(bool(output == 0), bool(refusal), ends)
    return Outcome(conclusion, criteria, [_table(ends)], [_picture(curves)], remarks)


def _net(norm: str, options: dict, seed: int) -> Sequential:
    return nets.mlp(64, 10, (100,) * 3, norm=norm, norm_options=options, standardize=False, rng=seed)  # fmt: skip


def _norms(net: Layer) -> list[BatchNorm]:
    return [layer for _, layer in net.named_layers() if isinstance(layer, BatchNorm)]


def _trained(lab: Lab, one: Contender, seed: int) -> tuple[np.ndarray, tuple[float, float]]:
    """Accuracies; running deviation of the norms' inputs at the end and as measured then."""
    net = _net(one.norm, one.options, seed)
    if one is FROZEN:
        recalibrate(net, lab.digits.x_train)
        for norm in _norms(net):
            norm.frozen = True
    run = Run(net, lab.digits, lr=0.002, steps=STEPS, seed=seed, batch_size=1)
    accuracies = run.curve(EVERY)[1]
    running = _deviation(net)
    recalibrate(net, lab.digits.x_train)
    lab.done()
    return accuracies, (running, _deviation(net))


def _deviation(net: Layer) -> float:
    """Median over all channels, NaN without running statistics."""
    found = [np.sqrt(running_statistics(norm)[1] + norm.eps) for norm in _norms(net)]
    return float(np.median(found)) if found else np.nan


def _of_one(lab: Lab) -> np.ndarray:
    """Batch norm's formula by the statistics of one image: distance from beta and gradient, the largest of all."""
    net, found = _net("batch", {}, lab.seeds[0]), []
    gamma, beta = np.full(100, 2, np.float32), np.linspace(-1, 1, 100, dtype=np.float32)
    for i in range(len(lab.digits.x_test)):
        x = net[1](net[0](lab.digits.x_test[i : i + 1]))
        y, saved = F.normalize(x, F.statistics(x), gamma, beta)
        dx = np.asarray(F.batch_norm_backward(x, saved)[0])
        found.append((np.abs(y - beta).max(), np.abs(dx).max()))
    return np.asarray(np.max(found, axis=0))


def _refusal(lab: Lab) -> str:
    try:
        Run(_net("batch", {}, 0), lab.digits, lr=0.002, steps=1, seed=0, batch_size=1).go()
    except ValueError as error:
        return str(error)
    return ""


def _conclusion(blind: bool, refuses: bool, ends: dict) -> str:
    means = ", ".join(f"{label} {values.mean():.1f} %" for label, values in ends.items())
    gives = "beta, whatever the input" if blind else "more than beta"
    return (
        f"One example less its own mean is 0: batch norm's formula gives {gives}, and the layer "
        f"{'refuses' if refuses else 'takes'} it. After {STEPS} single examples: {means}."
    )


def _why(spreads: dict) -> str:
    short, long = spreads[SHORT.label], spreads[LONG.label]
    return (
        "An example alone deviates by sqrt(eps) = 0.003, which renorm's running deviation moves towards: at the end it "
        f"is {short[0]:.3g} with momentum 0.01, where {short[1]:.3g} is measured, and {long[0]:.3g} with 0.001, where "
        f"{long[1]:.3g} is measured (medians over channels). Nor does a gradient pass through it: only the last Linear and "
        "gamma and beta of the last norm learn."
    )


def _table(ends: dict) -> Table:
    rows = [[label, v.mean(), v.min(), v.max()] for label, v in ends.items()]
    return Table("Test accuracy", ["norm", "mean, %", "least, %", "most, %"], rows)


def _picture(curves: dict) -> Lines:
    return Lines(
        "One example at a time",
        Axis("training steps", "examples"),
        ACCURACY,
        [Series(label, np.arange(0, STEPS + 1, EVERY), found) for label, found in curves.items()],
    )
