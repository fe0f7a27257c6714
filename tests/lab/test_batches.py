"""What runs are fed and how their rate falls; how experiments count values that differ."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from bncore import nets
from bncore.lab.experiments import sequences
from bncore.lab.training import Run, shuffled
from bncore.training.data import Dataset


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


def test_differences_are_those_of_bits():
    a = np.array([0.0, 1.0, np.nan, 2.0], np.float32)
    b = np.array([-0.0, 1.0, np.nan, np.nextafter(np.float32(2), np.float32(3))], np.float32)
    assert sequences._differences([a, a], [b, a]).tolist() == [2, 8]
