"""Weighted samples: like samples that are there several times, exact far from zero, poisoned feature by feature."""

from __future__ import annotations

import numpy as np
import pytest

from bncore import functional as F
from tests.helpers import relative_error, tolerance

REAL = np.longdouble


def limit(dtype):
    """Blocks are summed in float64, long slabs in `dtype`."""
    return tolerance(dtype, 16) + tolerance(np.float64, 256)


# (shape, axis): columns narrow, wide and in several blocks and chunks, short slabs, long slabs, positions in front
CASES = [
    ((5, 1), 1),
    ((1000, 7), 1),
    ((40_000, 3), 1),
    ((300, 1100), 1),
    ((100, 5, 3, 3), 1),
    ((60, 5, 13, 13), 1),
    ((7, 2, 9000), 1),
    ((50, 4, 4, 6), -1),
]
cases = pytest.mark.parametrize(("shape", "axis"), CASES, ids=str)


def brute(x, w, axis):
    """Sum of weights per channel, mean, variance in long double."""
    wide = np.asarray(w, REAL).reshape(-1, *[1] * (x.ndim - 1))
    wide = np.broadcast_to(wide, x.shape)
    over = tuple(i for i in range(x.ndim) if i != axis % x.ndim)
    total = wide.sum(axis=over)
    mean = (wide * x).sum(axis=over) / total
    back = mean.reshape([-1 if i == axis % x.ndim else 1 for i in range(x.ndim)])
    return total, mean, (wide * np.square(x - back)).sum(axis=over) / total


@cases
@pytest.mark.parametrize("far", [0.0, 1e4, 1e5])
def test_weighted_moments(shape, axis, far, backend, dtype, rng):
    x = (far + rng.standard_normal(shape)).astype(dtype)
    w = rng.exponential(size=shape[0]) ** 3
    total, mean, var = brute(x, w, axis)
    stats = F.weighted_statistics(x, w, axis=axis)
    # float64 holds a mean of 1e5 deviations to 2**-53 only; long slabs are summed in float32
    assert stats.count == pytest.approx(float(total[0]), rel=1e-13)
    far_limit = limit(dtype) + far * tolerance(np.float64, 8)
    assert np.max(np.abs(stats.mean - mean)) <= far_limit
    assert relative_error(stats.var, var) <= far_limit


@cases
def test_whole_weights_are_repetitions(shape, axis, backend, dtype, rng):
    x = rng.standard_normal(shape).astype(dtype)
    w = rng.integers(0, 5, shape[0])
    w[0] = 3
    stats = F.weighted_statistics(x, w, axis=axis)
    repeated = F.statistics(np.repeat(x, w, axis=0), axis=axis)
    assert stats.count == repeated.count
    assert np.max(np.abs(stats.mean - repeated.mean)) <= limit(dtype)
    assert relative_error(stats.var, repeated.var) <= limit(dtype)


@cases
@pytest.mark.parametrize("weight", [1, 0.3])
def test_equal_weights_change_no_bit(shape, axis, weight, backend, dtype, rng):
    x = rng.standard_normal(shape).astype(dtype)
    stats, plain = (
        F.weighted_statistics(x, [weight] * len(x), axis=axis),
        F.statistics(x, axis=axis),
    )
    assert stats.count == plain.count * weight
    assert np.array_equal(stats.mean, plain.mean)
    assert np.array_equal(stats.var, plain.var)


@cases
def test_constant_features_are_exact(shape, axis, backend, dtype, rng):
    x = np.full(shape, 0.1, dtype)
    stats = F.weighted_statistics(x, rng.random(shape[0]) + 0.1, axis=axis)
    assert np.all(stats.mean == dtype.type(0.1))
    assert np.all(stats.var == 0)


@pytest.mark.parametrize("magnitude", [1e30, 1e-30])
@cases
def test_extreme_magnitudes(shape, axis, magnitude, backend, dtype, rng):
    x = (magnitude * rng.standard_normal(shape)).astype(dtype)
    w = rng.random(shape[0]) + 0.1
    _, mean, var = brute(x, w, axis)
    stats = F.weighted_statistics(x, w, axis=axis)
    assert np.max(np.abs(stats.mean - mean)) <= magnitude * limit(dtype)
    assert relative_error(stats.var / magnitude**2, var / magnitude**2) <= limit(dtype)


def test_weights_of_any_size(backend, dtype, rng):
    x, w = rng.standard_normal((500, 3)).astype(dtype), rng.random(500)
    plain = F.weighted_statistics(x, w)
    for scale in (1e-200, 1e100):
        scaled = F.weighted_statistics(x, w * scale)
        np.testing.assert_allclose(scaled.mean, plain.mean, rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(scaled.var, plain.var, rtol=1e-12)


def test_a_jump_of_the_mean_costs_no_accuracy(backend, dtype, rng):
    """The sums go around the mean of the block before: here that is a million deviations away."""
    x = rng.standard_normal((3000, 5)) + np.repeat([0.0, 1e6, -3e5], 1000)[:, None]
    x = x.astype(dtype)
    w = rng.random(3000) + 0.1
    w[1000:] *= 1e-14
    _, mean, var = brute(x, w, 1)
    stats = F.weighted_statistics(x, w)
    assert relative_error(stats.mean, mean) <= 1e-12
    assert relative_error(stats.var, var) <= 1e-12


@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_poison_stays_in_its_feature(poison, backend, dtype, rng, recwarn):
    x, w = rng.standard_normal((700, 40)).astype(dtype), rng.random(700) + 0.1
    clean = F.weighted_statistics(x, w)
    x[300, 7] = poison
    stats = F.weighted_statistics(x, w)
    others = np.arange(40) != 7
    assert not np.isfinite(stats.var[7])
    assert np.array_equal(stats.mean[others], clean.mean[others])
    assert np.array_equal(stats.var[others], clean.var[others])
    w[300] = 0  # as if it were not there
    assert np.all(np.isfinite(F.weighted_statistics(x, w).var))
    assert not recwarn.list


def test_same_bits_for_any_number_of_threads(native, dtype, rng):
    from bncore import _native

    for shape in ((60_000, 20), (64, 6, 40, 40)):
        x, w = rng.standard_normal(shape).astype(dtype), rng.random(shape[0])
        try:
            _native.force_threads(1)
            wanted = F.weighted_statistics(x, w)
            for threads in (2, 5):
                _native.force_threads(threads)
                found = F.weighted_statistics(x, w)
                assert np.array_equal(found.mean, wanted.mean)
                assert np.array_equal(found.var, wanted.var)
                assert found.count == wanted.count
        finally:
            _native.force_threads(0)


def test_nothing_to_weigh(backend, dtype):
    for x, w in (
        (np.ones((0, 3), dtype), []),
        (np.ones((4, 3), dtype), [0, 0, 0, 0]),
        (np.ones((4, 3, 0), dtype), [1, 2, 3, 4]),
    ):
        stats = F.weighted_statistics(x, w)
        assert (stats.count, stats.mean.tolist(), stats.var.tolist()) == (0, [0] * 3, [0] * 3)


@pytest.mark.parametrize(
    ("weights", "axis", "error", "message"),
    [
        ([1, 2], 1, ValueError, r"weights must have shape \(3,\).*got \(2,\)"),
        ([[1], [2], [3]], 1, ValueError, "weights must have shape"),
        ([1, -2, 3], 1, ValueError, "finite and >= 0, got -2.0 for sample 1"),
        ([1, 2, np.nan], 1, ValueError, "got nan for sample 2"),
        ([1, np.inf, 3], 1, ValueError, "got inf for sample 1"),
        (["a", "b", "c"], 1, TypeError, "weights must be real numbers"),
        (3.0, 1, TypeError, "weights must be an array"),
        ([1, 2, 3], 0, ValueError, "axis must not be 0"),
    ],
)
def test_bad_weights_are_named(weights, axis, error, message, backend):
    with pytest.raises(error, match=message):
        F.weighted_statistics(np.ones((3, 2)), weights, axis=axis)


def test_inputs_are_left_alone(backend, dtype, rng):
    x, w = rng.standard_normal((60, 4, 2)).astype(dtype)[::2], rng.integers(0, 3, 30)
    x.setflags(write=False)
    before = x.copy()
    F.weighted_statistics(x, w)
    assert np.array_equal(x, before)
