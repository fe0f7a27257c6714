"""What happens at the edges: constant groups, single values, none at all, eps = 0, NaN, far means, extreme magnitudes."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from bncore import functional as F
from tests.helpers import relative_error, tolerance
from tests.reference import group as exact

# 6 channels in 3 groups everywhere, at least 3 samples
LAYOUTS = [
    ((40, 6), 1),
    ((3, 6, 1), 1),
    ((70, 6, 3), 1),
    ((5, 6, 50), 1),
    ((4, 6, 7, 7), 1),
    ((3, 6, 9000), 1),
    ((3, 9, 9, 6), -1),
    ((4, 3, 6), -1),
    ((3, 3, 6, 5), 2),
]
layouts = pytest.mark.parametrize(("shape", "axis"), LAYOUTS, ids=str)
wide_layouts = pytest.mark.parametrize(
    ("shape", "axis"), [c for c in LAYOUTS if np.prod(c[0]) > 6 * c[0][0]], ids=str
)  # several values an instance
GROUPS = 3


def group(a, axis, sample, number):
    """A view of one group of a sample: (2, ...)."""
    return np.moveaxis(a, axis, 1)[sample, 2 * number : 2 * number + 2]


@layouts
@pytest.mark.parametrize("value", [60.0, 0.1, -1e10, 1e-30, 3e30, 0.0])
@pytest.mark.parametrize("eps", [1e-5, 0.0])
def test_a_constant_group_gives_beta_to_the_bit(shape, axis, value, eps, backend, dtype, rng):
    x = rng.standard_normal(shape).astype(dtype)
    group(x, axis, 1, 1)[...] = value
    weight = np.arange(2, 8).astype(dtype)
    bias = np.array([0.1, 0.3, 0.5, 0.7, 0.9, 1.1], dtype)
    y, saved = F.group_norm(x, GROUPS, weight, bias, eps=eps, axis=axis)
    for channel, beta in zip(group(y, axis, 1, 1), bias[2:4], strict=True):
        assert np.all(channel == beta)
    assert saved.mean[1, 1] == x.dtype.type(value)
    assert saved.inv_std[1, 1] == (0 if eps == 0 else 1 / np.sqrt(eps))
    gradients = F.group_norm_backward(np.ones_like(x), saved)
    assert all(np.all(np.isfinite(g)) for g in gradients)


@wide_layouts
@pytest.mark.parametrize("value", [60.0, 0.1, -1e10, 1e-30, 3e30])
def test_a_constant_instance_gives_beta_to_the_bit(shape, axis, value, backend, dtype, rng):
    x = rng.standard_normal(shape).astype(dtype)
    np.moveaxis(x, axis, 1)[2, 4] = value
    bias = np.array([0.1, 0.3, 0.5, 0.7, 0.9, 1.1], dtype)
    y, saved = F.instance_norm(x, None, bias, axis=axis, eps=0.0)
    assert np.all(np.moveaxis(y, axis, 1)[2, 4] == bias[4])
    assert saved.mean[2, 4] == x.dtype.type(value)


@pytest.mark.parametrize("shape", [(5, 4), (5, 4, 1, 1), (1, 4)])
@pytest.mark.parametrize("eps", [1e-5, 0.0])
def test_groups_of_one_value_give_beta_and_gradient_0(shape, eps, backend, dtype, rng):
    x, weight, bias = (rng.standard_normal(s).astype(dtype) for s in (shape, 4, 4))
    y, saved = F.group_norm(x, 4, weight, bias, eps=eps)
    assert np.array_equal(y, np.broadcast_to(bias.reshape(1, 4, *shape[2:]), shape))
    dy = rng.standard_normal(shape).astype(dtype)
    dx, dweight, dbias = F.group_norm_backward(dy, saved)
    assert np.all(dx == 0)
    assert np.all(dweight == 0)
    assert relative_error(dbias, dy.astype(np.float64).reshape(shape[0], 4).sum(0)) <= tolerance(
        dtype
    )


@pytest.mark.parametrize("shape", [(0, 4), (3, 4, 0), (0, 4, 5, 5), (3, 0), (3, 0, 2)])
def test_no_values_give_an_empty_output(shape, backend, dtype, recwarn):
    x, c = np.ones(shape, dtype), shape[1]
    running_mean, running_var = np.full(c, 2, dtype), np.full(c, 3, dtype)
    results = [
        F.group_norm(x, 2, np.ones(c, dtype), np.ones(c, dtype)),
        F.instance_norm(x, np.ones(c, dtype), np.ones(c, dtype), running_mean, running_var),
    ]
    for y, saved in results:
        assert y.shape == shape
        dx, dweight, dbias = F.group_norm_backward(x, saved)
        assert dx.shape == shape
        assert dweight.shape == dbias.shape == (c,)
        assert not dweight.any()
        assert not dbias.any()
    assert np.all(running_mean == 2)
    assert np.all(running_var == 3)
    assert not recwarn.list


@layouts
@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("activation", [None, "relu"])
def test_a_poisoned_group_poisons_nothing_else(
    shape, axis, poison, activation, backend, dtype, rng, recwarn
):
    x, dy = (rng.standard_normal(shape).astype(dtype) for _ in range(2))
    kw = {"axis": axis, "activation": activation}
    clean, clean_saved = F.group_norm(x, GROUPS, **kw)
    clean_dx = F.group_norm_backward(dy, clean_saved)[0]
    group(x, axis, 1, 1).flat[1] = poison
    y, saved = F.group_norm(x, GROUPS, **kw)
    dx = F.group_norm_backward(dy, saved)[0]
    assert np.all(np.isnan(group(y, axis, 1, 1)))
    group(y, axis, 1, 1)[...] = group(clean, axis, 1, 1)
    group(dx, axis, 1, 1)[...] = group(clean_dx, axis, 1, 1)
    assert np.array_equal(y, clean)
    assert np.array_equal(dx, clean_dx)
    assert not recwarn.list


@layouts
@pytest.mark.parametrize("far", [1e2, 1e5])
def test_means_of_many_deviations_cost_no_accuracy(shape, axis, far, backend, dtype, rng):
    """The error stays below 4 roundings of float32; float64 holds the mean itself to 2**-53 only."""
    x = (far + rng.standard_normal(shape)).astype(dtype)
    weight = np.array([1.5, 1, 0.5, 1, 2, 1], dtype)
    bias = np.array([1, 0, -1, 0, 1, 2], dtype)
    mean, var = exact.statistics(x, GROUPS, axis)
    y, saved = F.group_norm(x, GROUPS, weight, bias, axis=axis)
    # groups of two values can lie close together: what the mean's last bit is worth in their deviations
    of_the_mean = far * tolerance(np.float64, 4) / float(np.min(np.sqrt(var + 1e-5)))
    wanted = exact.forward(x, GROUPS, weight, bias, 1e-5, axis)
    assert relative_error(y, wanted) <= tolerance(dtype, 4) + of_the_mean
    assert (
        np.max(np.abs(saved.mean - mean) / np.sqrt(var + 1e-5)) <= tolerance(dtype, 2) + of_the_mean
    )


@layouts
@pytest.mark.parametrize("magnitude", [1e30, 1e-30, 1e18, 1e-18])
@pytest.mark.parametrize("eps", [0.0, 1e-5])
def test_extreme_magnitudes(shape, axis, magnitude, eps, backend, dtype):
    x = (magnitude * (2 + np.random.default_rng(1).standard_normal(shape))).astype(dtype)
    dy = np.random.default_rng(2).standard_normal(shape).astype(dtype)
    y, saved = F.group_norm(x, GROUPS, axis=axis, eps=eps)
    dx = F.group_norm_backward(dy, saved)[0]
    dx_exact, *_ = exact.backward(dy, x, GROUPS, None, eps, axis)
    assert np.all(np.isfinite(y))
    assert np.all(np.isfinite(dx))
    wanted = exact.forward(x, GROUPS, None, None, eps, axis)
    far = float(np.max(np.abs(saved.mean) * saved.inv_std))
    error = tolerance(dtype, 16) + tolerance(np.float64, 4) * far
    assert relative_error(y, wanted) <= error
    terms = float(np.max(saved.inv_std) * np.max(np.abs(dy)))
    assert np.max(np.abs(dx - dx_exact)) <= 4 * error * terms


@layouts
def test_a_few_tiny_differences_in_a_constant_group_count(shape, axis, backend, dtype):
    """Squares of 1e-30 vanish in float32: the variance must not."""
    x = np.zeros(shape, dtype)
    group(x, axis, 1, 1).flat[0] = 1e-30
    group(x, axis, 1, 1).flat[1] = -1e-30
    y, _ = F.group_norm(x, GROUPS, axis=axis, eps=0.0)
    wanted = exact.forward(x, GROUPS, None, None, 0.0, axis)
    assert relative_error(y, wanted) <= tolerance(dtype, 8)


@pytest.mark.parametrize(
    ("shape", "axis"), [((2, 8, 64, 64), 1), ((2, 64, 64, 8), -1), ((1, 2, 300, 300), 1)], ids=str
)
@pytest.mark.parametrize("mean", [1.5e3, 1e4, 3e4])
def test_far_means_do_not_bias_the_variance(shape, axis, mean, backend):
    """Far from 0 float32 values lie on a lattice, and sums of squares over it are rounded down unless care is taken."""
    x = (np.random.default_rng(0).standard_normal(shape) + mean).astype(np.float32)
    _, saved = F.group_norm(x, 2, eps=0.0, axis=axis)
    _, var = exact.statistics(x, 2, axis)
    assert np.max(np.abs(saved.inv_std * np.sqrt(var) - 1)) < tolerance(np.float32, 2)


def test_relu_lets_nan_through(backend, dtype):
    x = np.array([[1.0, -1.0], [np.nan, 1.0]], dtype)
    y, _ = F.group_norm(x, 1, activation="relu")
    assert y[0, 0] > 0
    assert y[0, 1] == 0
    assert np.all(np.isnan(y[1]))


def test_a_variance_that_float32_cannot_hold_is_infinite_without_a_warning(backend):
    x = np.full((2, 3, 4), 1e30, np.float32)
    x[:, :, 0] = -1e30
    running_mean, running_var = np.zeros(3, np.float32), np.ones(3, np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        y, _ = F.instance_norm(x, None, None, running_mean, running_var)
    assert np.isfinite(y).all()
    assert np.isinf(running_var).all()
