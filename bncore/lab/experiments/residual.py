"""residual: residual blocks that start as the identity (Goyal et al. 2017, section 5.1); norms of convolutions.

A norm behind a convolution has one mean and variance per channel (Ioffe & Szegedy 2015, section 3.2).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import nets
from ...layers import BatchNorm, Conv2d, Residual, Sequential
from ..context import Lab
from ..digits import ACCURACY
from ..outcome import Criterion, Outcome, Table, at_least, at_most, equal
from ..pictures import Axis, Lines, Series
from ..training import Run

QUESTION = "Should the last norm of a residual block start with γ = 0?"
SETTING = (
    "Digits, residual nets of 8 and 20 layers (8, 16 and 32 channels, He's initial weights), γ = 0 or 1 at the start in "
    "the last norm of every block, batches of 30, SGD with momentum 0.9 at learning rate 0.2 falling "
    "along a cosine, 300 steps (quick: 150); test accuracy every 25 steps. Identity: every block's output for 100 "
    "training digits against the ReLU of its shortcut, bit by bit, before training, in training and evaluation mode. "
    "Per channel: a norm behind a convolution of 200 digits against float64 sums over samples and positions."
)

BLOCKS = {8: 1, 20: 3}
EVERY = 25
CONTENDERS = [(depth, zero) for depth in BLOCKS for zero in (True, False)]
Curves = dict[tuple[int, bool], np.ndarray]


def run(lab: Lab) -> Outcome:
    lab.plan(len(CONTENDERS))
    curves = {c: np.array([_curve(lab, *c, seed) for seed in lab.seeds]) for c in CONTENDERS}
    ends = {c: found[:, -1] for c, found in curves.items()}
    differ = {c: np.sum([_not_identity(lab, *c, s) for s in lab.seeds], axis=0) for c in CONTENDERS}
    changed = sum(int(differ[depth, True][0]) for depth in BLOCKS)
    gain = float(np.mean([ends[depth, True] - ends[depth, False] for depth in BLOCKS]))
    worst = ends[20, True].min()
    criteria = [
        equal("values by which blocks with γ = 0 differ from the identity, all seeds", changed, 0),
        at_least("accuracy with γ = 0 less γ = 1, mean over seeds and depths", gain, -1, "points"),
        at_least("accuracy at depth 20 with γ = 0, worst seed", worst, 95, "%"),
        *_per_channel(lab),
    ]
    conclusion = (
        f"Before training {changed} values of all blocks with γ = 0 differ from the identity; the nets end {abs(gain):.1f} "
        f"points {'above' if gain >= 0 else 'below'} those with γ = 1 on average, and depth 20 at {worst:.1f} % with the "
        f"worst seed. The {_lead(curves)}."
    )
    remark = "An accuracy near 98 % of 500 digits has a standard error of 0.6 points: a point either way is no difference."
    return Outcome(conclusion, criteria, [_table(curves, differ)], [_picture(curves)], [remark])


def _net(depth: int, zero: bool, seed: int) -> Sequential:
    return nets.resnet20(1, 10, width=8, blocks=BLOCKS[depth], zero_gamma=zero, rng=seed)


def _curve(lab: Lab, depth: int, zero: bool, seed: int) -> np.ndarray:
    run = Run(
        _net(depth, zero, seed), lab.digits, lr=0.2, momentum=0.9, schedule="cosine", batch_size=30,
        steps=lab.either(300, 150), seed=seed,
    )  # fmt: skip
    _, found = run.curve(EVERY)
    lab.done()
    return found


def _not_identity(lab: Lab, depth: int, zero: bool, seed: int) -> tuple[int, int]:
    """How many values of all blocks are not the ReLU of the shortcut, in both modes, and of how many."""
    differ = total = 0
    for training in (True, False):
        x, net = lab.digits.x_train[:100], _net(depth, zero, seed).train(training)
        for _, layer in net.children():
            y = layer(x)
            if isinstance(layer, Residual):
                shortcut = x if layer.shortcut is None else layer.shortcut(x)
                differ += int((_bits(y) != _bits(np.maximum(shortcut, 0))).sum())
                total += y.size
            x = y
    return differ, total


def _bits(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(x).view(np.uint32)


def _per_channel(lab: Lab) -> list[Criterion]:
    """Statistics against float64 sums, and whether a map's place in the image matters."""
    x = Conv2d(1, 8, 3, padding=1, rng=lab.seeds[0])(lab.digits.x_train[:200])
    norm: Any = BatchNorm(8, momentum=1.0)
    norm(x)
    exact = x.astype(np.float64)
    mean, var = exact.mean(axis=(0, 2, 3)), exact.var(axis=(0, 2, 3), ddof=1)
    pairs = ((norm.running_mean, mean), (norm.running_var, var))
    error = np.max([np.abs(ours / theirs - 1) for ours, theirs in pairs])
    norm.eval()
    moved = _bits(np.roll(norm(x), (2, 3), (2, 3))) != _bits(norm(np.roll(x, (2, 3), (2, 3))))
    return [
        at_most(
            "largest relative error of the mean and variance of a channel, first seed", error, 1e-5
        ),
        equal(
            "normalized values that change when the images are moved, first seed",
            int(moved.sum()),
            0,
        ),
    ]


def _lead(curves: Curves) -> str:
    """Who is ahead at the first measurement, in words."""
    gains = [curves[d, True][:, 1].mean() - curves[d, False][:, 1].mean() for d in BLOCKS]
    parts = [f"{gain:+.1f} points at depth {depth}" for depth, gain in zip(BLOCKS, gains)]
    return f"lead of γ = 0 after {EVERY} steps is {' and '.join(parts)}"


def _table(curves: Curves, differ: dict) -> Table:
    rows = [
        [_name(c), *(f(found[:, -1]) for f in (np.mean, np.min)), differ[c][0] / differ[c][1] * 100]
        for c, found in curves.items()
    ]
    heads = [
        "net",
        "accuracy, %, mean",
        "worst seed",
        "values not the identity's before training, %",
    ]
    return Table("At the end, and before training", heads, [[n, *map(float, r)] for n, *r in rows])


def _name(contender: tuple[int, bool]) -> str:
    depth, zero = contender
    return f"depth {depth}, γ = {0 if zero else 1}"


def _picture(curves: Curves) -> Lines:
    steps = EVERY * np.arange(next(iter(curves.values())).shape[1])
    return Lines(
        "Residual nets whose blocks start as the identity (γ = 0) or not",
        Axis("training steps", "batches of 30"),
        ACCURACY,
        [Series(_name(c), steps, found) for c, found in curves.items()],
    )
