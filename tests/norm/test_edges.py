"""What happens at the edges: constant channels, few values, no values, eps = 0, NaN, far means, extreme magnitudes."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from bncore import functional as F
from tests.helpers import relative_error, tolerance
from tests.reference import norm as exact

LAYOUTS = [
    ((64, 3), 1),
    ((1000, 3), 1),
    ((5, 3, 50), 1),
    ((40, 3, 4, 4), 1),
    ((2, 9, 9, 3), -1),
    ((3, 3, 5000), 1),
]
layouts = pytest.mark.parametrize(("shape", "axis"), LAYOUTS, ids=str)


def channel(a, axis, j):
    return np.moveaxis(a, axis, 0)[j]


@layouts
@pytest.mark.parametrize("value", [60.0, 0.1, -1e10, 1e-30, 3e30, 0.0])
@pytest.mark.parametrize("eps", [1e-5, 0.0])
def test_a_constant_channel_gives_beta_to_the_bit(shape, axis, value, eps, backend, dtype, rng):
    x = rng.standard_normal(shape).astype(dtype)
    channel(x, axis, 1)[...] = value
    weight, bias = np.array([2, 3, 4], dtype), np.array([0.5, 0.7, 0.9], dtype)
    running_mean, running_var = np.zeros(3, dtype), np.ones(3, dtype)
    y, saved = F.batch_norm(
        x, weight, bias, running_mean, running_var, momentum=1.0, eps=eps, axis=axis
    )
    assert np.all(channel(y, axis, 1) == bias[1])
    assert running_mean[1] == x.dtype.type(value)
    assert running_var[1] == 0
    gradients = F.batch_norm_backward(np.ones_like(x), saved)
    assert all(np.all(np.isfinite(g)) for g in gradients)
    stats = F.statistics(x, axis=axis)
    assert stats.mean[1] == x.dtype.type(value)
    assert stats.var[1] == 0


@pytest.mark.parametrize("shape", [(1, 4), (1, 4, 1, 1)])
def test_one_value_per_channel_is_refused_in_training(shape, backend, dtype):
    running_mean = np.zeros(4, dtype)
    with pytest.raises(
        ValueError, match=r"more than one value per channel.*larger batch.*renormalization"
    ):
        F.batch_norm(np.ones(shape, dtype), running_mean=running_mean)
    assert np.all(running_mean == 0)
    y, _ = F.batch_norm(
        np.ones(shape, dtype), None, None, running_mean, np.ones(4, dtype), training=False
    )
    assert np.all(np.isfinite(y))


@pytest.mark.parametrize("shape", [(0, 4), (3, 4, 0), (0, 4, 5, 5)])
def test_no_values_change_nothing(shape, backend, dtype, recwarn):
    running_mean, running_var = np.full(4, 2, dtype), np.full(4, 3, dtype)
    for training in (True, False):
        y, saved = F.batch_norm(
            np.ones(shape, dtype),
            np.ones(4, dtype),
            np.ones(4, dtype),
            running_mean,
            running_var,
            training=training,
        )
        assert y.shape == shape
        dx, dweight, dbias = F.batch_norm_backward(np.ones(shape, dtype), saved)
        assert dx.shape == shape
        assert np.all(dweight == 0)
        assert np.all(dbias == 0)
    assert np.all(running_mean == 2)
    assert np.all(running_var == 3)
    assert F.statistics(np.ones(shape, dtype)).count == 0
    assert not recwarn.list


@layouts
@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("activation", [None, "relu"])
def test_a_poisoned_channel_poisons_nothing_else(
    shape, axis, poison, activation, backend, dtype, rng, recwarn
):
    x = rng.standard_normal(shape).astype(dtype)
    dy = rng.standard_normal(shape).astype(dtype)
    clean, clean_saved = F.batch_norm(x, axis=axis, activation=activation)
    clean_dx = F.batch_norm_backward(dy, clean_saved)[0]
    channel(x, axis, 1).flat[7] = poison
    running_mean, running_var = np.zeros(3, dtype), np.ones(3, dtype)
    y, saved = F.batch_norm(
        x, running_mean=running_mean, running_var=running_var, axis=axis, activation=activation
    )
    dx = F.batch_norm_backward(dy, saved)[0]
    assert np.all(np.isnan(channel(y, axis, 1)))
    for j in (0, 2):
        assert np.array_equal(channel(y, axis, j), channel(clean, axis, j))
        assert np.array_equal(channel(dx, axis, j), channel(clean_dx, axis, j))
    assert np.all(np.isfinite(running_mean[[0, 2]]))
    assert np.isnan(running_var[1])
    assert not recwarn.list


@layouts
@pytest.mark.parametrize("far", [1e2, 1e5])
def test_means_of_many_deviations_cost_no_accuracy(shape, axis, far, backend, dtype, rng):
    """The error stays below 4 roundings of float32; float64 holds the mean itself to 2**-53 only."""
    x = (far + rng.standard_normal(shape)).astype(dtype)
    weight, bias = np.array([1.5, 1, 0.5], dtype), np.array([1, 0, -1], dtype)
    mean, var = exact.statistics(x, axis)
    y, _ = F.batch_norm(x, weight, bias, axis=axis)
    of_the_mean = far * tolerance(np.float64, 4)
    assert (
        relative_error(y, exact.forward(x, weight, bias, mean, var, 1e-5, axis))
        <= tolerance(dtype, 4) + of_the_mean
    )
    stats = F.statistics(x, axis=axis)
    assert np.max(np.abs(stats.mean - mean) / np.sqrt(var)) <= tolerance(dtype, 2) + of_the_mean
    assert relative_error(stats.var, var) <= tolerance(dtype, 4) + of_the_mean


@layouts
@pytest.mark.parametrize("magnitude", [1e30, 1e-30, 1e18, 1e-18])
@pytest.mark.parametrize("eps", [0.0, 1e-5])
def test_extreme_magnitudes(shape, axis, magnitude, eps, backend, dtype, rng):
    x = (magnitude * (2 + rng.standard_normal(shape))).astype(dtype)
    dy = rng.standard_normal(shape).astype(dtype)
    mean, var = exact.statistics(x, axis)
    y, saved = F.batch_norm(x, axis=axis, eps=eps)
    y_exact = exact.forward(x, None, None, mean, var, eps, axis)
    dx_exact, *_ = exact.backward(dy, x, None, None, mean, var, eps, axis, True)
    dx = F.batch_norm_backward(dy, saved)[0]
    assert np.all(np.isfinite(y))
    assert np.all(np.isfinite(dx))
    assert relative_error(y, y_exact) <= tolerance(dtype, 8)
    # dx of 1e30 data is of the order of 1e-30, where float32 is still normal
    assert relative_error(dx, dx_exact) <= tolerance(dtype, 64)


@layouts
def test_a_few_tiny_differences_on_a_constant_channel_count(shape, axis, backend, dtype):
    """Squares of 1e-30 vanish in float32: the variance must not."""
    x = np.zeros(shape, dtype)
    channel(x, axis, 1).flat[0] = 1e-30
    channel(x, axis, 1).flat[1] = -1e-30
    mean, var = exact.statistics(x, axis)
    y, _ = F.batch_norm(x, axis=axis, eps=0.0)
    assert relative_error(F.statistics(x, axis=axis).var, var) <= tolerance(dtype, 8)
    assert relative_error(y, exact.forward(x, None, None, mean, var, 0.0, axis)) <= tolerance(
        dtype, 8
    )


def test_first_values_far_from_the_rest_do_not_spoil_the_variance(backend, dtype, rng):
    """A shift taken from the start of the data would be off by 1e4 deviations of the rest."""
    x = rng.standard_normal((100_000, 2)).astype(dtype)
    x[:4] += 1e4
    mean, var = exact.statistics(x, 1)
    stats = F.statistics(x)
    assert np.max(np.abs(stats.mean - mean) / np.sqrt(var)) <= tolerance(dtype, 4)
    assert relative_error(stats.var, var) <= tolerance(dtype, 4)


def test_zero_variance_of_running_statistics_with_eps_0_gives_beta(backend, dtype):
    x = np.full((3, 2), 5, dtype)
    bias = np.array([1, 2], dtype)
    y, _ = F.batch_norm(
        x, None, bias, np.full(2, 5, dtype), np.zeros(2, dtype), training=False, eps=0.0
    )
    assert np.array_equal(y, np.broadcast_to(bias, (3, 2)))


@pytest.mark.parametrize("residual", [False, True])
def test_relu_lets_nan_through(residual, backend, dtype):
    x = np.array([[1.0], [np.nan], [-1.0]], dtype)
    r = np.zeros_like(x) if residual else None
    y, _ = F.batch_norm(
        x,
        None,
        None,
        np.zeros(1, dtype),
        np.ones(1, dtype),
        training=False,
        activation="relu",
        residual=r,
    )
    assert y[0, 0] > 0
    assert np.isnan(y[1, 0])
    assert y[2, 0] == 0


def test_a_variance_that_float32_cannot_hold_is_infinite_without_a_warning(backend):
    x = np.full((4, 3), 1e30, np.float32)
    x[0] = -1e30
    running_mean, running_var = np.zeros(3, np.float32), np.ones(3, np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        y, _ = F.batch_norm(x, None, None, running_mean, running_var, axis=1)
    assert np.isfinite(y).all() and np.isinf(running_var).all()


@pytest.mark.parametrize("shape", [(1, 0), (5, 0), (3, 0, 2), (0, 0)], ids=str)
@pytest.mark.parametrize("training", [True, False])
def test_no_channels_give_an_empty_output(shape, training, backend, dtype):
    x, none = np.zeros(shape, dtype), np.zeros(0, dtype)
    y, saved = F.batch_norm(x, none, none, none.copy(), none.copy(), training=training)
    dx, dweight, dbias = F.batch_norm_backward(x, saved)
    assert y.shape == dx.shape == shape
    assert dweight.shape == dbias.shape == F.statistics(x).mean.shape == (0,)


@pytest.mark.parametrize(("shape", "axis"), [((4, 3, 64, 64), 1), ((4096, 64), 1)], ids=str)
@pytest.mark.parametrize("mean", [1.5e3, 6e3, 1e4, 3e4])
def test_far_means_do_not_bias_the_variance(shape, axis, mean, backend):
    """Far from 0 float32 values lie on a lattice, and sums of squares over it are rounded down unless care is taken."""
    x = (np.random.default_rng(0).standard_normal(shape) + mean).astype(np.float32)
    y, saved = F.batch_norm(x, eps=0.0, axis=axis)
    exact_mean, exact_var = exact.statistics(x, axis)
    assert np.max(np.abs(saved.inv_std * np.sqrt(exact_var) - 1)) < tolerance(np.float32, 2)
    wanted = exact.forward(x, None, None, exact_mean, exact_var, 0.0, axis)
    assert relative_error(y, wanted) < tolerance(np.float32, 4)


@pytest.mark.parametrize(("shape", "axis"), [((1, 5, 4096), 1), ((4096, 5), 1)], ids=str)
def test_sparse_channels_keep_their_variance(shape, axis, backend):
    """One value beside thousands of zeros: their equal, tiny squares must not be rounded away one by one."""
    x = np.zeros(shape, np.float32)
    size = [1, 0.3, 2.5, 7, 1e6]
    x[0].reshape(5, -1)[:, 0] = size
    var = np.square(np.float32(size).astype(np.float64)) * (1 / 4096 - 1 / 4096**2)
    assert np.abs(F.statistics(x, axis=axis).var / var - 1).max() < 1e-6
