"""A batch taken in pieces, or by several processes: statistics and gradient sums that pickle, merge, and give the whole."""

from __future__ import annotations

import pickle
from functools import reduce
from itertools import pairwise

import numpy as np
import pytest

from bncore import functional as F
from tests.helpers import relative_error, tolerance
from tests.reference import norm as exact

SPLITS = [(7, 7), (1, 13), (3, 0, 5, 6), (1,) * 14, (2, 3, 9)]


def passed_on(value):
    """As it arrives from another process."""
    return pickle.loads(pickle.dumps(value))


def pieces_of(a, split):
    borders = np.cumsum((0, *split))
    return [a[i:j] for i, j in pairwise(borders)]


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("axis", [1, -1])
@pytest.mark.parametrize("split", SPLITS, ids=str)
def test_accumulated_pieces_equal_one_large_batch(backend, dtype, rng, split, axis, residual):
    shape = (14, 5, 6)
    c = shape[axis]
    x, dy, extra = (rng.normal(2, 3, shape).astype(dtype) for _ in range(3))
    weight, bias = rng.normal(1, 0.3, c).astype(dtype), rng.normal(0, 0.3, c).astype(dtype)
    options = {"axis": axis, "activation": "relu"}

    stats = reduce(
        F.Statistics.merge, [passed_on(F.statistics(p, axis=axis)) for p in pieces_of(x, split)]
    )
    parts = list(zip(*(pieces_of(a, split) for a in (x, dy, extra)), strict=True))
    done = [
        F.normalize(p, stats, weight, bias, residual=r if residual else None, **options)
        for p, _, r in parts
    ]
    sums = reduce(
        F.GradientSums.merge,
        [passed_on(F.gradient_sums(g, d[1])) for (_, g, _), d in zip(parts, done, strict=True)],
    )
    dx = [F.input_gradient(g, d[1], sums) for (_, g, _), d in zip(parts, done, strict=True)]

    y, saved = F.batch_norm(x, weight, bias, residual=extra if residual else None, **options)
    whole = F.batch_norm_backward(dy, saved)
    assert relative_error(np.concatenate([d[0] for d in done]), y) <= tolerance(dtype, 8)
    first = [d[0] for d in dx] if residual else dx
    assert relative_error(np.concatenate(first), whole[0]) <= tolerance(dtype)
    assert relative_error(sums.dy_x_hat, whole[1]) <= tolerance(dtype)
    assert relative_error(sums.dy, whole[2]) <= tolerance(dtype)
    if residual:
        np.testing.assert_array_equal(np.concatenate([d[1] for d in dx]), whole[3])


@pytest.mark.parametrize("split", SPLITS, ids=str)
def test_merging_is_exact_far_from_zero(backend, rng, split):
    """Means of 1e5 deviations, uneven pieces: variance as good as that of one pass in long double."""
    x = rng.normal(1e5, 1, (14, 4))
    stats = reduce(F.Statistics.merge, [F.statistics(p) for p in pieces_of(x, split)])
    mean, var = exact.statistics(x, 1)
    assert stats.count == 14
    assert relative_error(stats.mean, mean) < 1e-15
    assert relative_error(stats.var, var) < 1e-10


@pytest.mark.parametrize("unbiased", [True, False])
def test_running_statistics_move_as_in_one_training_step(backend, dtype, rng, unbiased):
    x = rng.normal(2, 3, (12, 4, 3)).astype(dtype)
    mean, var = rng.normal(0, 1, 4).astype(dtype), rng.uniform(1, 2, 4).astype(dtype)
    wanted = mean.copy(), var.copy()
    F.batch_norm(x, None, None, *wanted, momentum=0.3, unbiased=unbiased)
    stats = F.statistics(x[:5]).merge(F.statistics(x[5:]))
    F.update_running(stats, mean, var, momentum=0.3, unbiased=unbiased)
    assert relative_error(mean, wanted[0]) <= tolerance(dtype, 4)
    assert relative_error(var, wanted[1]) <= tolerance(dtype, 4)
    before = mean.copy()
    F.update_running(F.statistics(x[:0]), mean, None)
    np.testing.assert_array_equal(mean, before)


def test_running_statistics_that_do_not_fit_are_refused(backend, rng):
    stats = F.statistics(rng.standard_normal((5, 3)))
    frozen = np.zeros(3)
    frozen.flags.writeable = False
    for arguments, error, message in (
        ((np.zeros(4), None), ValueError, r"running_mean must have shape \(3,\)"),
        ((None, np.zeros(3, np.int64)), TypeError, "running_var must be float32 or float64"),
        ((frozen, None), ValueError, "running_mean must be writable"),
    ):
        with pytest.raises(error, match=message):
            F.update_running(stats, *arguments)
    with pytest.raises(ValueError, match="momentum"):
        F.update_running(stats, np.zeros(3), np.ones(3), momentum=1.5)
