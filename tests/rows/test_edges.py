"""What happens at the edges: constant rows, one value, zeros, no values, NaN, far means, extreme magnitudes."""

from __future__ import annotations

import numpy as np
import pytest

from bncore import functional as F
from tests.helpers import relative_error, tolerance
from tests.reference import rows as exact
from tests.rows.cases import KINDS, leading, norm, norm_backward, oracle

# a tile of short rows, whole rows, blocks within a row, rows cut in pieces
SHAPES = [(5, 3), (70, 17), (9, 100), (3, 9000), (3, 131_075)]
shapes = pytest.mark.parametrize("shape", SHAPES, ids=str)
kinds = pytest.mark.parametrize("kind", KINDS)


def parameters(d, dtype):
    return np.linspace(0.5, 2.0, d).astype(dtype), np.linspace(-1.0, 1.0, d).astype(dtype)


@shapes
@pytest.mark.parametrize("value", [60.0, 0.1, -1e10, 1e-30, 3e30, 0.0])
@pytest.mark.parametrize("eps", [1e-5, 0.0])
def test_a_constant_row_gives_beta_to_the_bit(shape, value, eps, backend, dtype, rng):
    x = rng.standard_normal(shape).astype(dtype)
    x[1] = value
    weight, bias = parameters(shape[1], dtype)
    y, saved = F.layer_norm(x, weight, bias, eps=eps)
    assert np.array_equal(y[1], bias)
    assert saved.mean[1] == x.dtype.type(value)
    gradients = F.layer_norm_backward(np.ones_like(x), saved)
    assert all(np.all(np.isfinite(g)) for g in gradients)


@pytest.mark.parametrize("rows", [1, 3, 70, 5000])
@pytest.mark.parametrize("eps", [1e-5, 0.0])
def test_rows_of_one_value_give_beta_to_the_bit(rows, eps, backend, dtype, rng):
    x = (1e5 * rng.standard_normal((rows, 1))).astype(dtype)
    bias = np.array([0.7], dtype)
    y, saved = F.layer_norm(x, np.array([3], dtype), bias, eps=eps)
    assert np.all(y == bias)
    dx, dweight, dbias = F.layer_norm_backward(np.ones_like(x), saved)
    assert np.all(dx == 0) and np.all(dweight == 0) and np.all(dbias == rows)
    _, saved = F.layer_norm(x, np.array([1.1], dtype), bias, eps=eps)  # products that round
    assert np.all(F.layer_norm_backward(x, saved)[0] == 0)


@shapes
@kinds
def test_rows_of_zeros_without_eps_give_beta(shape, kind, backend, dtype, rng, recwarn):
    x = rng.standard_normal(shape).astype(dtype)
    x[0] = 0
    weight, bias = parameters(shape[1], dtype)
    y, saved = norm(kind, x, weight, bias, eps=0.0)
    assert np.array_equal(y[0], bias)
    gradients = norm_backward(kind, np.ones_like(x), saved)
    assert all(np.all(np.isfinite(g)) for g in gradients)
    assert np.all(gradients[0][0] == 0)
    assert not recwarn.list


@pytest.mark.parametrize("shape", [(0, 4), (3, 0), (0, 0), (2, 0, 3), (0,)], ids=str)
@kinds
def test_no_values_give_an_empty_output(shape, kind, backend, dtype, recwarn):
    x = np.ones(shape, dtype)
    parameter = np.ones(shape[-1:], dtype)
    y, saved = norm(kind, x, parameter, parameter, activation="relu")
    dx, dweight, dbias = norm_backward(kind, x, saved)
    assert y.shape == dx.shape == shape
    assert dweight.shape == dbias.shape == parameter.shape
    assert np.all(dweight == 0) and np.all(dbias == 0)
    assert saved.inv_std.shape == shape[:-1]
    assert not recwarn.list


@shapes
@kinds
@pytest.mark.parametrize(
    ("poison", "activation"), [(np.nan, None), (np.inf, "relu"), (-np.inf, None)]
)
def test_a_poisoned_row_poisons_no_other(
    shape, kind, poison, activation, backend, dtype, rng, recwarn
):
    x, dy = (rng.standard_normal(shape).astype(dtype) for _ in range(2))
    clean, clean_saved = norm(kind, x, activation=activation)
    clean_dx = norm_backward(kind, dy, clean_saved)[0]
    x[1, 0] = poison
    y, saved = norm(kind, x, activation=activation)
    dx = norm_backward(kind, dy, saved)[0]
    assert np.isnan(y[1, 0])
    assert kind != "layer" or np.all(np.isnan(y[1]))
    others = np.arange(len(x)) != 1
    assert np.array_equal(y[others], clean[others])
    assert np.array_equal(dx[others], clean_dx[others])
    assert not recwarn.list


@shapes
@pytest.mark.parametrize("far", [1e2, 1e5])
def test_means_of_many_deviations_cost_no_accuracy(shape, far, backend, dtype, rng):
    """The error stays below 4 roundings of float32; float64 holds the mean itself to 2**-53 only."""
    x = (far + rng.standard_normal(shape)).astype(dtype)
    weight, bias = parameters(shape[1], dtype)
    y, saved = F.layer_norm(x, weight, bias)
    wanted = [exact.statistics(row, "layer", row.size, 1e-5) for row in exact.by_row(x, 1)]
    of_the_mean = far * max(inverse for _, inverse in wanted) * tolerance(np.float64, 8)
    y_exact = exact.forward(x, weight, bias, 1e-5, "layer")
    assert relative_error(y, y_exact) <= tolerance(dtype, 4) + of_the_mean
    for i, (mean, inverse) in enumerate(wanted):
        assert abs(saved.mean[i] - mean) * inverse <= tolerance(dtype, 2) + of_the_mean
        assert abs(saved.inv_std[i] / inverse - 1) <= tolerance(dtype, 4) + of_the_mean


@pytest.mark.parametrize("mean", [1.5e3, 6e3, 1e4, 3e4])
@pytest.mark.parametrize("d", [64, 4096, 200_000])
def test_far_means_do_not_bias_the_variance(mean, d, backend):
    """Far from 0 float32 values lie on a lattice, and sums of squares over it are rounded down unless care is taken."""
    x = (np.random.default_rng(0).standard_normal((4, d)) + mean).astype(np.float32)
    for kind in ("layer", "rms"):
        _, saved = norm(kind, x, eps=0.0)
        wanted = [exact.statistics(row, kind, d, 0.0)[1] for row in exact.by_row(x, 1)]
        assert np.max(np.abs(saved.inv_std / np.array(wanted) - 1)) < tolerance(np.float32, 2)


@pytest.mark.parametrize("value", [0.1, 1e5, 1.2345e-3])
def test_rms_of_equal_values_is_their_size(value, backend, dtype):
    """Many like squares in one float sum would all be rounded the same way."""
    x = np.full((2, 100_000), value, dtype)
    _, saved = F.rms_norm(x, eps=0.0)
    ratio = saved.inv_std * x[:, 0].astype(np.float64)
    assert relative_error(ratio, np.ones(2)) <= tolerance(dtype, 2) + 1e-13


@shapes
@kinds
@pytest.mark.parametrize(
    ("magnitude", "eps"), [(1e30, 1e-5), (1e-30, 0.0), (1e18, 0.0), (1e-18, 0.0), (1e-30, 1e-5)]
)
def test_extreme_magnitudes(shape, kind, magnitude, eps, backend, dtype, rng):
    x = (magnitude * (2 + rng.standard_normal(shape))).astype(dtype)
    dy = rng.standard_normal(shape).astype(dtype)
    y, saved = norm(kind, x, eps=eps)
    dx = norm_backward(kind, dy, saved)[0]
    options = {"kind": oracle(kind), "leading": leading(kind, shape[1])}
    assert np.all(np.isfinite(y)) and np.all(np.isfinite(dx))
    assert relative_error(y, exact.forward(x, None, None, eps, **options)) <= tolerance(dtype, 16)
    dx_exact = exact.backward(dy, x, None, eps, **options)[0]
    assert relative_error(dx, dx_exact) <= tolerance(dtype, 64)


@shapes
@kinds
def test_a_few_tiny_values_among_zeros_count(shape, kind, backend, dtype):
    """Squares of 1e-30 vanish in float32: the variance and the mean square must not."""
    x = np.zeros(shape, dtype)
    x[1, 0], x[1, -1] = 1e-30, -1e-30
    options = {"kind": oracle(kind), "leading": leading(kind, shape[1])}
    y, _ = norm(kind, x, eps=0.0)
    error = relative_error(y, exact.forward(x, None, None, 0.0, **options))
    assert error <= tolerance(dtype, 8) + 1e-13  # float64's lanes add up hundreds of values


@kinds
def test_relu_lets_nan_through(kind, backend, dtype):
    x = np.array([[1.0, -1.0, 2.0, -5.0]], dtype)
    bias = np.array([0, np.nan, 0, 0], dtype)
    y, saved = norm(kind, x, None, bias, activation="relu")
    assert np.isnan(y[0, 1]) and y[0, 2] > 0 and y[0, 3] == 0
    dx, _, dbias = norm_backward(kind, np.ones_like(x), saved)
    assert list(dbias) == [float(y[0, 0] > 0), 1.0, 1.0, 0.0]
    assert np.all(np.isfinite(dx))
