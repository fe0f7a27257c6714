"""Batch renormalization: the paper's formulas step by step, its limits, and where it meets batch norm and evaluation."""

from __future__ import annotations

import numpy as np
import pytest

from bncore import functional as F
from tests.helpers import central_difference, relative_error, tolerance
from tests.reference import norm as norm_reference
from tests.reference import renorm as reference

CASES = [((6, 5), 1), ((4, 3, 10), 1), ((4, 10, 3), -1), ((3, 2, 5, 4), 1), ((40, 70), -1)]
INF = float("inf")


def parameters(rng, c, dtype=np.float64):
    weight, bias = rng.normal(1, 0.3, c).astype(dtype), rng.normal(0, 0.3, c).astype(dtype)
    return weight, bias, np.zeros(c, dtype), np.ones(c, dtype)


@pytest.mark.parametrize("limits", [(1.1, 0.2), (3.0, 5.0), (INF, INF)], ids=str)
@pytest.mark.parametrize(("shape", "axis"), CASES)
def test_three_steps_follow_the_formulas(backend, rng, shape, axis, limits):
    """With state; the first limits clip nearly always, the last never."""
    r_max, d_max = limits
    c = shape[axis]
    weight, bias, mean, std = parameters(rng, c)
    literal = reference.State(c, 0.1, 1e-5, r_max, d_max)
    clipped = 0
    for _ in range(3):
        x = rng.normal(1.5, 2.0, shape)
        dy = rng.standard_normal(shape)
        y, saved = F.batch_renorm(
            x, weight, bias, mean, std, r_max=r_max, d_max=d_max, momentum=0.1, axis=axis
        )
        got = (y, *F.batch_norm_backward(dy, saved), saved.r, saved.d)
        expected = literal.step(x, weight, bias, dy, axis)
        for value, exact in zip(got, expected, strict=True):
            assert relative_error(value, exact) < 1e-10
        assert relative_error(mean, literal.mu) < 1e-10
        assert relative_error(std, literal.sigma) < 1e-10
        clipped += np.sum((expected[4] == r_max) | (np.abs(expected[5]) == d_max))
    assert (clipped > 0) == (r_max == 1.1)


@pytest.mark.parametrize("activation", [None, "relu"])
@pytest.mark.parametrize(("shape", "axis"), CASES)
def test_no_correction_is_batch_norm_to_the_bit(backend, rng, dtype, shape, axis, activation):
    c = shape[axis]
    weight, bias, mean, std = parameters(rng, c, dtype)
    mean += rng.standard_normal(c).astype(dtype)
    x, residual = (rng.standard_normal(shape).astype(dtype) for _ in range(2))
    dy = rng.standard_normal(shape).astype(dtype)
    options = {"axis": axis, "activation": activation, "residual": residual}
    y, saved = F.batch_renorm(x, weight, bias, mean, std, r_max=1, d_max=0, **options)
    plain, plain_saved = F.batch_norm(x, weight, bias, **options)
    np.testing.assert_array_equal(y, plain)
    for a, b in zip(
        F.batch_norm_backward(dy, saved), F.batch_norm_backward(dy, plain_saved), strict=True
    ):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("shape", "axis"), CASES)
def test_without_limits_training_gives_what_evaluation_gives(backend, rng, dtype, shape, axis):
    c = shape[axis]
    weight, bias, mean, std = parameters(rng, c, dtype)
    x = rng.normal(1, 2, shape).astype(dtype)
    expected, _ = F.batch_renorm(x, weight, bias, mean, std, training=False, axis=axis)
    y, _ = F.batch_renorm(x, weight, bias, mean, std, r_max=INF, d_max=INF, axis=axis)
    assert relative_error(y, expected) < tolerance(dtype)


@pytest.mark.parametrize("activation", [None, "relu"])
def test_gradients_with_r_and_d_held_constant(backend, rng, activation):
    """dx, dgamma and dbeta against differences of the formula in which r and d do not move with x."""
    shape, c = (5, 3, 4), 3
    x, dy = rng.normal(1, 2, shape), rng.standard_normal(shape)
    weight, bias, mean, std = parameters(rng, c)
    y, saved = F.batch_renorm(
        x, weight, bias, mean, std, r_max=1.5, d_max=0.4, activation=activation
    )
    r, d = saved.r[:, None], saved.d[:, None]

    def formula(x, weight, bias):
        m, v = norm_reference.statistics(x, 1)
        x0 = (x - m[:, None]) / np.sqrt(v + 1e-5)[:, None]
        pre = weight[:, None] * (x0 * r + d) + bias[:, None]
        return np.maximum(pre, 0) if activation else pre

    assert relative_error(y, formula(x, weight, bias)) < 1e-12
    dx, dweight, dbias = F.batch_norm_backward(dy, saved)
    for got, f, at in (
        (dx, lambda v: formula(v, weight, bias), x),
        (dweight, lambda v: formula(x, v, bias), weight),
        (dbias, lambda v: formula(x, weight, v), bias),
    ):
        assert relative_error(got, central_difference(f, at, dy)) < 1e-7


def test_a_batch_of_one_is_right_and_has_no_input_gradient(backend, rng, dtype):
    weight, bias, mean, std = parameters(rng, 4, dtype)
    mean[:], std[:] = [0, 1, 2, 3], [1, 2, 0.5, 4]
    x = np.array([[0.5, 3, 1, -20]], dtype)
    expected = weight * np.clip((x - mean) / std, -2, 2) + bias
    y, saved = F.batch_renorm(x, weight, bias, mean, std, d_max=2, momentum=0.5)
    assert relative_error(y, expected) < tolerance(dtype)
    np.testing.assert_array_equal(mean, (np.array([0, 1, 2, 3], dtype) + x[0]) / 2)
    dx, _, dbias = F.batch_norm_backward(np.ones_like(x), saved)
    assert not dx.any()
    assert dbias.all()


@pytest.mark.parametrize("eps", [0.0, 1e-5])
def test_constant_channels_stay_finite(backend, dtype, eps):
    """A channel that does not vary gives beta + gamma d; one that never varied (sigma 0) gives beta."""
    x = np.full((5, 2), 7, dtype)
    mean, std = np.array([6, 7], dtype), np.array([2, 0], dtype)
    y, saved = F.batch_renorm(x, None, None, mean, std, eps=eps)
    np.testing.assert_array_equal(y, np.broadcast_to(np.array([0.5, 0.0], dtype), x.shape))
    dx, _, _ = F.batch_norm_backward(np.ones_like(x), saved)
    assert np.isfinite(dx).all()
    y, _ = F.batch_renorm(x, None, None, mean, np.zeros(2, dtype), training=False, eps=eps)
    assert not y.any()


def test_a_poisoned_channel_poisons_itself_only(backend, rng, dtype):
    x = rng.standard_normal((8, 3)).astype(dtype)
    x[2, 1] = np.nan
    mean, std = np.zeros(3, dtype), np.ones(3, dtype)
    y, saved = F.batch_renorm(x, None, None, mean, std)
    assert np.isnan(y[:, 1]).all()
    assert np.isfinite(y[:, [0, 2]]).all()
    assert list(np.isnan(std)) == [False, True, False]
    assert np.isfinite(F.batch_norm_backward(np.ones_like(x), saved)[0][:, [0, 2]]).all()


def test_magnitudes_of_1e30_are_finite_and_right(backend, rng, dtype):
    base = rng.standard_normal((64, 3))
    for scale in (1e30, 1e-30):
        x = (base * scale).astype(dtype)
        mean, std = np.zeros(3, dtype), np.full(3, scale, dtype)
        y, saved = F.batch_renorm(x, None, None, mean, std, eps=0.0, r_max=INF, d_max=INF)
        expected = x.astype(np.float64) / np.float64(dtype.type(scale))
        assert relative_error(y, expected) < tolerance(dtype)
        assert np.isfinite(saved.r).all()
        assert np.isfinite(F.batch_norm_backward(np.ones_like(x), saved)[0]).all()


def test_no_values_change_nothing(backend, dtype):
    mean, std = np.zeros(3, dtype), np.ones(3, dtype)
    y, saved = F.batch_renorm(np.empty((0, 3), dtype), None, None, mean, std)
    assert y.shape == (0, 3)
    assert not mean.any()
    assert (std == 1).all()
    assert F.batch_norm_backward(y, saved)[0].shape == (0, 3)


BAD = {
    "r_max": ({"r_max": 0.5}, ValueError, r"r_max must be at least 1 .*got 0.5"),
    "d_max": ({"d_max": -1}, ValueError, r"d_max must be at least 0 .*got -1"),
    "nan": ({"r_max": float("nan")}, ValueError, "r_max must be"),
    "text": ({"r_max": "3"}, TypeError, "r_max"),
    "no statistics": ({"running_std": None}, ValueError, "running_mean and running_std"),
    "shape": ({"running_std": np.ones(4)}, ValueError, r"running_std must have shape \(3,\)"),
    "momentum": ({"momentum": 2}, ValueError, "momentum must"),
    "same array twice": ({"running_std": "mean"}, ValueError, "running_std must not overlap"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments_are_named_and_change_nothing(backend, rng, case):
    change, error, message = BAD[case]
    mean = np.zeros(3)
    arguments = {"running_mean": mean, "running_std": np.ones(3)} | change
    if arguments["running_std"] is not None and isinstance(arguments["running_std"], str):
        arguments["running_std"] = mean
    with pytest.raises(error, match=message):
        F.batch_renorm(rng.standard_normal((4, 3)), None, None, **arguments)
    assert not mean.any()
