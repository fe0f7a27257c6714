"""moving-averages: running statistics normalize training batches (Ioffe & Szegedy 2015, section 2; Ioffe 2017, section 2)."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from itertools import product

import numpy as np

from ... import nets
from ...layers import Linear, Sequential
from ...statistics import recalibrate
from ..context import Lab
from ..outcome import Outcome, Table, at_least, at_most
from ..pictures import Axis, Lines, Series
from ..training import Run

QUESTION = "Why not normalize by the moving averages, in training as well?"
SETTING = (
    "Digits in float64, 3 hidden layers of 100 ReLU units, weights and biases from N(0, 0.01²), a bias before every norm, "
    "batches of 60, SGD without momentum, learning rates 0.1 and 0.5. Moving averages move by 0.01 or 0.1 per batch, are "
    "constants for the gradient, and begin at what the whole training set gives in the net as it is. 100 steps with them: "
    "at once, after 100 steps of batch norm, and after 1000; at once also from PyTorch's default weights (deviations 0.06 and 0.07)."
)

RATES, AVERAGING = (0.1, 0.5), (0.01, 0.1)
WARM, LONG, STEPS, DEFAULT = 100, 1000, 100, -1  # DEFAULT: at once, but from other weights
STARTS = {DEFAULT: "PyTorch's weights, no", 0: "no", WARM: f"{WARM} steps of", LONG: f"{LONG} steps of"}  # fmt: skip


class Trials:
    """What was found at all rates, from all seeds: of batch norm, and of moving averages by their start."""

    def __init__(self, lab: Lab) -> None:
        self.moving: dict[tuple, list[Run]] = defaultdict(list)
        self.losses: dict[float, list[list[float]]] = defaultdict(list)
        self.growths: dict[int, list[float]] = defaultdict(list)
        self.accuracies, self.drifts = [], []  # type: list[float], list[float]
        self.data = replace(lab.digits, **{k: getattr(lab.digits, k).astype(float) for k in ("x_train", "x_test")})  # fmt: skip
        for seed, rate in product(lab.seeds, RATES):
            self._add(rate, seed)
            lab.done()

    def _add(self, rate: float, seed: int) -> None:
        net = _net(seed)
        start, run = _biases(net), Run(net, self.data, lr=rate, steps=LONG, seed=seed)
        for key, averaging in product(STARTS, AVERAGING):
            run.go(key - len(run.losses))
            self._moving(_net(seed, "kaiming_uniform") if key == DEFAULT else net, (key, rate, averaging), seed)  # fmt: skip
        self.accuracies.append(run.accuracy())
        self.losses[rate].append(run.losses)
        self.drifts.append(np.abs(_biases(net) - start).max())

    def _moving(self, net: Sequential, key: tuple[int, float, float], seed: int) -> None:
        """Moving averages in the net as it is, and the factor by which biases grow up to the step with ten times the first loss."""
        start, rate, averaging = key
        moving = _net(seed, statistics="moving", momentum=averaging)
        moving.load_state_dict(net.state_dict())
        recalibrate(moving, self.data.x_train)
        run = Run(moving, self.data, lr=rate, steps=STEPS, seed=seed + 1000)
        sizes = [np.linalg.norm(_biases(moving))]
        for _ in range(STEPS):
            run.step()
            sizes.append(np.linalg.norm(_biases(moving)))
        self.moving[key].append(run)
        self.growths[start].append(float(sizes[int(min(run.until(10) + 1, STEPS))] / sizes[0]))

    def of(self, start: int, rates: tuple[float, ...] = RATES) -> list[Run]:
        return [run for rate, a in product(rates, AVERAGING) for run in self.moving[start, rate, a]]

    def share(self, start: int, rates: tuple[float, ...] = RATES) -> str:
        found = self.of(start, rates)
        return f"{sum(run.until(10) < np.inf for run in found)} of {len(found)} runs"


def run(lab: Lab) -> Outcome:
    lab.plan(len(RATES))
    trials = Trials(lab)
    accuracy, drift, grown = min(trials.accuracies), np.max(trials.drifts), np.min(trials.growths[0])  # fmt: skip
    criteria = [
        at_most("steps to ten times the first loss, moving averages, all rates, worst seed", max(run.until(10) for run in trials.of(0)), 50),
        at_least("accuracy with batch norm, all rates, worst seed", accuracy, 95, "%"),
        at_least("norm of the biases after that step as a multiple of that at the start, all rates, worst seed", grown, 2),
        at_most("change of a bias with batch norm, largest", drift, 1e-12),
        at_most(f"steps to no finite loss after {WARM} of batch norm, rate 0.1, worst seed", max(run.until() for run in trials.of(WARM, (0.1,))), 100),
    ]  # fmt: skip
    blown = any(run.until(10) < np.inf for run in trials.of(0))
    cause = "The gradient takes the averages for constants, and asks for changes that they undo later. " if blown else ""  # fmt: skip
    conclusion = (
        f"Normalized by moving averages, {trials.share(0)} pass ten times their first loss within {STEPS} steps, where batch "
        f"norm ends at {accuracy:.1f} % or more; after {WARM} steps of batch norm it is {trials.share(WARM)}. {cause}Up to then "
        f"biases before norms become {grown:.3g} times as large or more; batch norm in all its steps changes none by more than {drift:.0e}."
    )
    return Outcome(conclusion, criteria, [_table(trials)], [_picture(trials)], _remarks(trials))


def _net(seed: int, init: str | float = 0.01, **options: object) -> Sequential:
    """With a bias before every norm, though a norm subtracts it: here it is what is watched."""
    net = nets.mlp(64, 10, (100,) * 3, norm_options=options, standardize=False, init=init, dtype=np.float64, rng=seed)  # fmt: skip
    rng = np.random.default_rng(seed)
    for layer in net[:-1]:
        if isinstance(layer, Linear):
            layer.bias = 0.01 * rng.standard_normal(100)
    return net


def _biases(net: Sequential) -> np.ndarray:
    """Those before norms, in one vector."""
    return np.concatenate([layer.bias for layer in net[:-1] if isinstance(layer, Linear)])


def _remarks(trials: Trials) -> list[str]:
    late = [run.until() == np.inf for run in trials.of(LONG, (0.5,))]
    before, there = (np.median([np.median(run[:n][-20:]) for run in trials.losses[0.5]]) for n in (WARM, LONG))  # fmt: skip
    return [
        f"{'The' if any(late) else 'No'} exception: at rate 0.5 after {LONG} steps of batch norm, {sum(late)} of {len(late)} "
        f"runs keep a finite loss for {STEPS} steps. Batch norm had come from a loss of {before:.2g} at step {WARM} to "
        f"{there:.2g} (medians): the less loss is left, the less weights move, and the longer averages stay true.",
        "How fast it goes depends on the weights: behind weights k times as large, a step at the same rate moves what a norm "
        f"gives 1/k² as far. From PyTorch's default weights, {trials.share(DEFAULT, (0.1,))} pass ten times their first loss "
        f"at rate 0.1, {trials.share(DEFAULT, (0.5,))} at rate 0.5.",
    ]


def _table(trials: Trials) -> Table:
    rows = [
        [f"{STARTS[start]} batch norm", rate, averaging, *[_steps(found, factor) for factor in (10, np.inf)]]
        for (start, rate, averaging), found in trials.moving.items()
    ]  # fmt: skip
    columns = ["before", "learning rate", "averaging", "steps to ten times the first loss", "to no finite loss"]  # fmt: skip
    return Table(f"Moving averages, a number per seed (never: not in {STEPS} steps)", columns, rows)


def _steps(runs: list[Run], factor: float) -> str:
    return ", ".join(f"{run.until(factor):.0f}".replace("inf", "never") for run in runs)


def _picture(trials: Trials) -> Lines:
    shown = {"batch norm, rate 0.1": trials.losses[0.1]}
    for start, rate in ((0, 0.1), (WARM, 0.1), (LONG, 0.5)):
        name = f"moving averages, rate {rate}, after {start} steps"
        shown[name] = [run.losses for run in trials.moving[start, rate, 0.01]]
    series = [Series(name, range(41), [[*run[:-1], *[np.inf] * 41][:41] for run in runs]) for name, runs in shown.items()]  # fmt: skip
    return Lines(
        "Moving averages, 0.01 per batch: above the picture, training diverges",
        Axis("training steps", "batches of 60"),
        Axis("loss of the batch", "cross-entropy, nats", log=True, limits=(1e-5, 1e4)),
        series,
    )
