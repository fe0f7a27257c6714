"""What norms are for, on digits: small batches, batches of one class, averages that lag behind. Seeds are fixed.

Each comparison trains both sides alike: same net, rate, batches and rate of averaging. Margins are means over three seeds.
"""

from __future__ import annotations

import numpy as np
import pytest

import bncore as bn

SEEDS = (0, 1, 2)
HIDDEN = (100, 100, 100)


@pytest.fixture(scope="module")
def digits():
    """1297 images to train on and 500 to test with, as rows of 64 values from 0 to 1."""
    sets = pytest.importorskip("sklearn.datasets")
    x, y = sets.load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    x, y = (x[order] / 16).astype(np.float32), y[order]
    return x[500:], y[500:], x[:500], y[:500]


def make(norm: str, seed: int, hidden=HIDDEN) -> bn.Sequential:
    return bn.nets.mlp(
        64, 10, hidden, norm=norm, norm_options={"momentum": 0.01}, standardize=False, rng=seed
    )


def accuracy(net, x, y) -> float:
    return bn.evaluate(net, x, y)["accuracy"]


def fitted(norm: str, batch_size: int, hidden, lr: float, momentum: float, digits) -> float:
    """Mean test accuracy after five epochs."""
    x, y, x_test, y_test = digits
    found = []
    for seed in SEEDS:
        net = make(norm, seed, hidden)
        sgd = bn.SGD(lr=lr, momentum=momentum)
        bn.fit(net, x, y, optimizer=sgd, epochs=5, batch_size=batch_size, seed=seed, progress=False)
        found.append(accuracy(net, x_test, y_test))
    return float(np.mean(found))


# Normalized by two samples a value is 1 or -1, which leaves gradients that are little but roundings: where batch norm
# ends up differs between instruction sets by ten points. In these settings the margins hold on all of them, and in NumPy.
@pytest.mark.parametrize(
    ("batch_size", "margin", "hidden", "lr", "momentum"),
    [(4, 0.01, (64, 64, 64, 64), 0.005, 0.9), (2, 0.20, (100, 100, 100), 0.01, 0.0)],
    ids=["four", "two"],
)
def test_small_batches_are_what_renormalization_is_for(
    batch_size, margin, hidden, lr, momentum, digits, native
):
    how = (batch_size, hidden, lr, momentum, digits)
    renorm, batch = fitted("renorm", *how), fitted("batch", *how)
    assert renorm >= batch + margin, (renorm, batch)


def after_batches_of_one_class(norm: str, digits) -> float:
    """Mean test accuracy after 1000 steps, each with 16 samples of one class drawn at random."""
    x, y, x_test, y_test = digits
    members = [np.flatnonzero(y == c) for c in range(10)]
    found = []
    for seed in SEEDS:
        net, rng = make(norm, seed, (64, 64)), np.random.default_rng(seed)
        trainer = bn.Trainer(net, optimizer=bn.SGD(lr=0.005), total_steps=1000)
        for _ in range(1000):
            batch = rng.choice(members[rng.integers(10)], 16, replace=False)
            trainer.step(x[batch], y[batch])
        found.append(accuracy(net, x_test, y_test))
    return float(np.mean(found))


def test_batches_of_one_class_need_renormalization(digits, native):
    """Batch norm takes away what the samples of such a batch have in common, which is their class."""
    renorm = after_batches_of_one_class("renorm", digits)
    batch = after_batches_of_one_class("batch", digits)
    assert renorm >= 3 * batch, (renorm, batch)


def test_population_statistics_repair_averages_that_lag_behind(digits, native):
    """At a rate of 0.01 the start still weighs 0.37 after 100 steps."""
    x, y, x_test, y_test = digits
    moving, population = {}, {}
    for seed in SEEDS:
        for steps in (60, 80, 100, 120):
            net, rng = make("batch", seed), np.random.default_rng(seed)
            trainer = bn.Trainer(net, optimizer=bn.SGD(lr=0.03, momentum=0.9), total_steps=steps)
            for _ in range(steps):
                batch = rng.choice(len(x), 64, replace=False)
                trainer.step(x[batch], y[batch])
            moving[seed, steps] = accuracy(net, x_test, y_test)
            bn.recalibrate(net, x)
            population[seed, steps] = accuracy(net, x_test, y_test)
    assert min(population[seed, 100] for seed in SEEDS) >= 0.97, population
    gain = np.mean(list(population.values())) - np.mean(list(moving.values()))
    assert gain >= 0.05, (population, moving)
