"""Runs that experiments train: batches, schedules, curves, divergence, and when a loss left."""

from __future__ import annotations

import dataclasses
import math
from itertools import islice

import numpy as np
import pytest

import bncore as bn
from bncore import nets
from bncore.lab.training import Run, reached, shuffled
from bncore.training.data import Dataset


def tiny():
    """Two classes in eight numbers."""
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    x = (rng.normal(0, 1, (60, 8)) + 2 * y[:, None]).astype(np.float32)
    return bn.data.Dataset("tiny", x[:40], y[:40], x[40:], y[40:], "classification", ("a", "b"))


def net(seed=0):
    return bn.nets.mlp(8, 2, (8,), dropout=0.2, rng=seed)


def test_batches_of_an_epoch_are_every_sample_once():
    batches = shuffled(10, 4, np.random.default_rng(0))
    first = np.concatenate([next(batches) for _ in range(3)])
    second = np.concatenate([next(batches) for _ in range(3)])
    assert sorted(first) == sorted(second) == list(range(10))
    assert list(first) != list(second)


def test_a_run_repeats_itself_and_learns():
    runs = [Run(net(), tiny(), lr=0.1, steps=30, seed=3, batch_size=10).go() for _ in range(2)]
    assert runs[0].losses == runs[1].losses and len(runs[0].losses) == 30
    assert runs[0].accuracy() >= 90
    other = Run(net(), tiny(), lr=0.1, steps=30, seed=4, batch_size=10).go()
    assert other.losses != runs[0].losses


def test_a_curve_is_the_whole_run():
    run = Run(net(), tiny(), lr=0.1, steps=30, seed=3, batch_size=10)
    at, accuracies = run.curve(10)
    assert list(at) == [0, 10, 20, 30] and len(run.losses) == 30
    assert accuracies[-1] == run.accuracy()


def test_a_run_settles_at_the_mean_of_its_last_measurements():
    curve, settled = (
        Run(net(), tiny(), lr=0.01, steps=30, seed=3, batch_size=10) for _ in range(2)
    )
    _, accuracies = curve.curve(5)
    assert settled.settled(last=4, every=5) == pytest.approx(np.mean(accuracies[-4:]))
    assert settled.losses == curve.losses


def test_a_goal_is_reached_where_it_first_is():
    accuracies = np.array([10.0, 80.0, 91.0, 85.0, 95.0])
    assert reached(5, accuracies, 90) == 10
    assert reached(5, accuracies, 10) == 0
    assert reached(5, accuracies, 96) == math.inf


def test_batches_may_be_given():
    chosen = iter([np.array([0, 1, 2]), np.array([3, 4, 5])])
    run = Run(net(), tiny(), lr=0.1, steps=2, seed=0, batches=chosen).go()
    assert len(run.losses) == 2 and next(chosen, None) is None


def test_divergence_ends_a_run_and_is_remembered():
    data = tiny()
    wild = dataclasses.replace(data, x_train=data.x_train * np.float32(1e30))
    plain = bn.nets.mlp(8, 2, (8,), norm="none", standardize=False, rng=0)
    with np.errstate(all="ignore"):
        run = Run(plain, wild, lr=1e9, steps=50, seed=0).go()
    assert run.diverged and len(run.losses) < 50
    assert math.isnan(run.losses[-1]) and math.isnan(run.step())
    assert 0 <= run.accuracy() <= 100


def test_renormalization_is_told_how_long_the_run_is():
    renorm = bn.nets.mlp(8, 2, (8,), norm="renorm", standardize=False, rng=0)
    Run(renorm, tiny(), lr=0.1, steps=123, seed=0)
    assert renorm[2].run_length == 123


@pytest.mark.parametrize("n, size, sizes", [(5, 2, [2, 3]), (6, 2, [2, 2, 2]), (3, 1, [1, 1, 1])])
def test_pairs_leave_no_single_sample(n, size, sizes):
    batches = list(islice(shuffled(n, size, np.random.default_rng(0)), len(sizes)))
    assert sorted(len(batch) for batch in batches) == sizes
    assert sorted(np.concatenate(batches)) == list(range(n))


def test_a_schedule_takes_the_rate_down_over_the_whole_run():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((8, 4)).astype(np.float32), rng.integers(0, 2, 8)
    data = Dataset("toy", x, y, x, y, "classification")
    run = Run(nets.mlp(4, 2, (3,)), data, lr=0.5, steps=4, seed=0, batch_size=4, schedule="cosine")
    rates = []
    for _ in range(4):
        run.step()
        rates.append(run.trainer.lr)
    assert np.allclose(rates, 0.25 * (1 + np.cos(np.pi * np.arange(4) / 4)))


def run_with(losses: list[float]) -> Run:
    run = Run.__new__(Run)
    run.losses = losses
    return run


@pytest.mark.parametrize(
    ("losses", "factor", "steps"),
    [
        ([2.0, 3.0, 20.0, 1.0], 10.0, 2),  # exactly ten times counts
        ([2.0, 19.9, 1.0], 10.0, math.inf),
        ([2.0, 1.0, math.nan], 10.0, 2),
        ([2.0, 1e30, math.nan], math.inf, 2),
        ([2.0, 1e30, math.inf], math.inf, 2),
        ([math.nan], 10.0, 0),
        ([], 10.0, math.inf),
    ],
)
def test_counts_steps_until_the_loss_is_large_or_not_finite(
    losses: list[float], factor: float, steps: float
) -> None:
    assert run_with(losses).until(factor) == steps
