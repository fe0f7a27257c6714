"""landscape: how loss and gradient change along the step that training takes (Santurkar 2018, section 3.1)."""

from __future__ import annotations

import numpy as np

from ... import nets
from ...layers import Layer
from ...training.losses import CrossEntropy
from ..context import Lab
from ..outcome import Outcome, Table, at_least
from ..pictures import Axis, Lines, Series
from ..training import Run

QUESTION = "Does batch norm smooth the loss?"
SETTING = (
    "Digits, 8 hidden layers of 64 ReLU units, weights from He's N(0, 2/fan-in), in the table also PyTorch's default, "
    "batches of 60, SGD without momentum at rates 0.05 and 0.2, 200 steps. At every fifth, on a batch of its own, steps of "
    "1/2, 1, 2 and 4 times the learning rate along the negative gradient: the range of the loss over start and steps, and "
    "the largest distance of the gradient there from that at the start. Medians over a run."
)

RATES = (0.05, 0.2)
NORMS = {"batch": "batch norm", "none": "no norm"}
FACTORS = (0.5, 1.0, 2.0, 4.0)
STEPS, EVERY = 200, 5
INITS = ("he_normal", "kaiming_uniform")
MEASURES = ("range of the loss", "change of the gradient", "norm of the gradient")


def run(lab: Lab) -> Outcome:
    lab.plan(len(INITS), len(RATES), len(NORMS))
    found = {
        (init, rate, norm): [_walk(lab, init, rate, norm, seed) for seed in lab.seeds]
        for init in INITS
        for rate in RATES
        for norm in NORMS
    }
    curves = {key: np.array([walk[0] for walk in walks]) for key, walks in found.items()}
    accuracies = {key: np.array([walk[1] for walk in walks]) for key, walks in found.items()}
    medians = {key: np.median(curve, axis=1) for key, curve in curves.items()}
    ratios = {
        (init, rate): medians[init, rate, "none"] / medians[init, rate, "batch"]
        for init in INITS
        for rate in RATES
    }
    criteria = [
        at_least(f"{name} without norm as a multiple of that with, rate {rate:g}, worst seed", ratios["he_normal", rate][:, i].min(), 2)
        for rate in RATES
        for i, name in enumerate(MEASURES[:2])
    ]  # fmt: skip
    conclusion = (
        f"Along the steps of training the loss without norms ranges over {_times(ratios, 'he_normal', 0)} as much as with "
        f"batch norm, and the gradient changes {_times(ratios, 'he_normal', 1)} as much."
    )
    tables, remarks = [_table(medians, accuracies)], _remarks(curves, accuracies, ratios)
    return Outcome(conclusion, criteria, tables, [_picture(curves, i) for i in (0, 1)], remarks)  # fmt: skip


def _remarks(curves: dict, accuracies: dict, ratios: dict) -> list[str]:
    first = {(i, r): curves[i, r, "none"][:, 0] / curves[i, r, "batch"][:, 0] for i, r in ratios}
    default = np.mean([accuracies["kaiming_uniform", rate, "none"] for rate in RATES])
    flat = max(ratios["kaiming_uniform", rate][:, 0].max() for rate in RATES) < 1
    return [
        f"At the very first step, before any training, it is {_times(first, 'he_normal', 0)} as much for the loss; and part of "
        f"the change of the gradient is its size, without norms {_times(ratios, 'he_normal', 2)} that with them.",
        f"{'It depends on the initial weights. ' if flat else ''}With PyTorch's default a ReLU layer passes on a sixth of the mean square it "
        f"receives, and without norms the loss ranges over {_times(ratios, 'kaiming_uniform', 0)} as much as with them. "
        f"{'Flatness alone is no merit: that' if flat and default < 20 else 'That'} net has {default:.0f} % right after {STEPS} steps, 10 % being chance.",
    ]


def _walk(lab: Lab, init: str, rate: float, norm: str, seed: int) -> tuple[np.ndarray, float]:
    """The three measures at every fifth step of a run, (points, 3), and its accuracy at the end."""
    net = nets.mlp(64, 10, (64,) * 8, norm=norm, standardize=False, init=init, rng=seed)
    training = Run(net, lab.digits, lr=rate, steps=STEPS, seed=seed)
    rng, data = np.random.default_rng(seed), lab.digits
    points = []
    for _ in range(0, STEPS, EVERY):
        batch = rng.choice(len(data.x_train), 60, replace=False)
        points.append(_along_step(net, rate, data.x_train[batch], data.y_train[batch]))
        training.go(EVERY)
    lab.done()
    return np.array(points), training.accuracy()


def _along_step(net: Layer, rate: float, x: np.ndarray, y: np.ndarray) -> tuple[float, ...]:
    """Range of the loss, largest change of the gradient, its norm at the start; infinite where training diverged."""
    probe = net.copy().train()  # so that the net's running statistics see nothing of it
    start = probe.parameters_flat.copy()
    loss, gradient = _loss_and_gradient(probe, x, y)
    losses, changes = [loss], []
    for factor in FACTORS:
        probe.parameters_flat[...] = start - factor * rate * gradient
        loss, there = _loss_and_gradient(probe, x, y)
        losses.append(loss)
        changes.append(np.linalg.norm(there - gradient))
    found = (np.ptp(losses), np.max(changes), np.linalg.norm(gradient))
    return tuple(float(value) if np.isfinite(value) else np.inf for value in found)


def _loss_and_gradient(net: Layer, x: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
    loss, gradient = CrossEntropy()(net(x), y)
    net.backward(gradient)
    return loss, net.gradients_flat.copy()


def _times(ratios: dict, init: str, measure: int) -> str:
    every = np.concatenate([ratios[init, rate][:, measure] for rate in RATES])
    low, high = (f"{v:.2g}".replace("inf", "∞") for v in (every.min(), every.max()))
    return f"{low} to {high} times" if low != high else f"{low} times"


def _table(medians: dict, accuracies: dict) -> Table:
    names = {"he_normal": "He", "kaiming_uniform": "PyTorch's default"}
    rows = [
        [names[init], rate, NORMS[norm], *values.mean(axis=0).tolist(), float(accuracies[init, rate, norm].mean())]
        for (init, rate, norm), values in medians.items()
    ]  # fmt: skip
    columns = ["weights", "rate", "net", *MEASURES, "accuracy at the end, %"]
    return Table("Medians over a run, means over seeds", columns, rows)


def _picture(curves: dict, measure: int) -> Lines:
    series = [
        Series(f"{name}, rate {rate:g}", np.arange(0, STEPS, EVERY), curves["he_normal", rate, norm][:, :, measure])
        for norm, name in NORMS.items()
        for rate in RATES
    ]  # fmt: skip
    return Lines(
        f"{MEASURES[measure].capitalize()} along a step",
        Axis("training steps", "batches of 60"),
        Axis(MEASURES[measure], ("cross-entropy, nats", "nats per unit of weight", "")[measure], log=True),
        series,
    )  # fmt: skip
