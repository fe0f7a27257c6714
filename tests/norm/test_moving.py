"""Moving averages as training statistics: evaluation's formulas in training, and an update after use."""

from __future__ import annotations

import numpy as np
import pytest

from bncore import functional as F
from tests.helpers import central_difference
from tests.norm.cases import arrays

CASES = [((6, 5), 1), ((4, 3, 2, 2), 1), ((4, 2, 3), -1)]
cases = pytest.mark.parametrize(("shape", "axis"), CASES, ids=str)


@cases
@pytest.mark.parametrize("unbiased", [True, False])
def test_the_statistics_used_are_those_before_the_batch(shape, axis, unbiased, backend, dtype):
    a = arrays(shape, axis, dtype)
    mean, var = a.running_mean.copy(), a.running_var.copy()
    how = {"axis": axis, "activation": "relu", "residual": a.residual}
    y, saved = F.moving_batch_norm(
        a.x, a.weight, a.bias, mean, var, momentum=0.2, unbiased=unbiased, **how
    )
    expected, saved_expected = F.batch_norm(
        a.x, a.weight, a.bias, a.running_mean, a.running_var, training=False, **how
    )
    np.testing.assert_array_equal(y, expected)
    for one, other in zip(
        F.batch_norm_backward(a.dy, saved),
        F.batch_norm_backward(a.dy, saved_expected),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)
    # and they move as batch norm's do
    F.batch_norm(
        a.x, None, None, a.running_mean, a.running_var, momentum=0.2, unbiased=unbiased, axis=axis
    )
    np.testing.assert_allclose(mean, a.running_mean, rtol=1e-6 if dtype == np.float32 else 1e-14)
    np.testing.assert_allclose(var, a.running_var, rtol=1e-6 if dtype == np.float32 else 1e-14)


@cases
def test_gradients_are_central_differences(shape, axis, backend):
    a = arrays(shape, axis, np.float64, seed=3)

    def f(x=a.x, weight=a.weight, bias=a.bias):
        running = a.running_mean.copy(), a.running_var.copy()
        return F.moving_batch_norm(x, weight, bias, *running, axis=axis)

    dx, dweight, dbias = F.batch_norm_backward(a.dy, f()[1])
    for ours, theirs in (
        (dx, central_difference(lambda v: f(x=v)[0], a.x, a.dy)),
        (dweight, central_difference(lambda v: f(weight=v)[0], a.weight, a.dy)),
        (dbias, central_difference(lambda v: f(bias=v)[0], a.bias, a.dy)),
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-7 * np.max(np.abs(theirs)))


def test_masked_positions_are_zero_and_count_nowhere(backend):
    a = arrays((4, 5, 3), -1, np.float64)
    lengths = np.array([5, 0, 3, 2])
    mean, var = np.zeros(3), np.ones(3)
    y, saved = F.moving_batch_norm(a.x, None, None, mean, var, momentum=1.0, axis=-1, mask=lengths)
    valid = np.arange(5) < lengths[:, None]
    assert not np.any(y[~valid])
    assert not np.any(F.batch_norm_backward(a.dy, saved)[0][~valid])
    np.testing.assert_allclose(mean, a.x[valid].mean(0))
    np.testing.assert_allclose(var, a.x[valid].var(0, ddof=1))


def test_no_values_change_nothing(backend):
    mean, var = np.full(3, 2.0), np.full(3, 4.0)
    y, _ = F.moving_batch_norm(np.empty((0, 3)), None, None, mean, var)
    assert y.shape == (0, 3)
    x = np.ones((4, 3))
    assert not np.any(F.moving_batch_norm(x, None, None, mean, var, mask=np.zeros(4, bool))[0])
    np.testing.assert_array_equal(mean, np.full(3, 2.0))
    np.testing.assert_array_equal(var, np.full(3, 4.0))


X, V = np.random.default_rng(0).standard_normal((6, 4)), np.ones(4)


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: F.moving_batch_norm(X), ValueError, "running_mean and running_var must be given, got None"),
        (lambda: F.moving_batch_norm(X[:1], None, None, V, V.copy()), ValueError, "more than one value per channel"),
        (lambda: F.moving_batch_norm(X, None, None, V, V.copy(), mask=np.arange(6) < 1), ValueError, "more than one value"),
        (lambda: F.moving_batch_norm(X, None, None, V, V.copy(), momentum=2), ValueError, "momentum must"),
        (lambda: F.moving_batch_norm(X.astype(int), None, None, V, V), TypeError, "x must be float32 or float64"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_named(call, error, match):
    with pytest.raises(error, match=match):
        call()
