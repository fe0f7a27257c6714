"""Ghost batches: every group of samples is a batch norm of its own; running statistics see one group after the other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bncore import functional as F
from tests.helpers import central_difference, relative_error, tolerance
from tests.norm.cases import arrays
from tests.reference import norm as reference

# (shape, axis, samples of a group): with and without a remainder, groups larger than the batch, both layouts
CASES = [((8, 5), 1, 4), ((11, 3), -1, 4), ((5, 4, 3, 2), 1, 2), ((5, 3, 2, 4), -1, 2), ((4, 6, 3), 2, 9), ((3, 2, 7), 1, 1)]  # fmt: skip
cases = pytest.mark.parametrize(("shape", "axis", "size"), CASES, ids=str)


def pieces(n, size):
    return [slice(a, min(a + size, n)) for a in range(0, n, size)]


@cases
@pytest.mark.parametrize("fusion", ["plain", "relu", "add", "add+relu"])
def test_each_group_follows_the_formulas(shape, axis, size, fusion, backend, dtype):
    a = arrays(shape, axis, dtype, seed=1)
    residual = a.residual if "add" in fusion else None
    relu = "relu" in fusion
    mean, var = a.running_mean.copy(), a.running_var.copy()
    activation = "relu" if relu else None
    how = {"axis": axis, "activation": activation, "residual": residual}
    y, saved = F.ghost_batch_norm(a.x, a.weight, a.bias, mean, var, ghost_batch_size=size, **how)
    got = F.ghost_batch_norm_backward(a.dy, saved)
    expected_mean, expected_var = a.running_mean.astype(float), a.running_var.astype(float)
    weight_sum = bias_sum = 0.0
    for part in pieces(len(a.x), size):
        x, dy = a.x[part], a.dy[part]
        r = None if residual is None else residual[part]
        m, v = reference.statistics(x, axis)
        exact = reference.forward(x, a.weight, a.bias, m, v, 1e-5, axis, relu, r)
        assert relative_error(y[part], exact) < tolerance(dtype, 64)
        gate = y[part] > 0 if relu else None
        dx, dweight, dbias, g = reference.backward(dy, x, a.weight, a.bias, m, v, 1e-5, axis, True, gate)  # fmt: skip
        assert relative_error(got[0][part], dx) < tolerance(dtype, 500)
        if residual is not None:
            np.testing.assert_array_equal(got[3][part], g.astype(dtype))
        weight_sum, bias_sum = weight_sum + dweight, bias_sum + dbias
        count = x.size // x.shape[axis]
        expected_mean = 0.9 * expected_mean + 0.1 * m
        expected_var = 0.9 * expected_var + 0.1 * v * count / (count - 1)
    assert len(got) == (3 if residual is None else 4)
    assert relative_error(got[1], weight_sum) < tolerance(dtype, 64)
    assert relative_error(got[2], bias_sum) < tolerance(dtype, 64)
    assert relative_error(mean, expected_mean) < tolerance(dtype, 64)
    assert relative_error(var, expected_var) < tolerance(dtype, 64)
    assert saved.updates == len(pieces(len(a.x), size))


@cases
def test_gradients_are_central_differences(shape, axis, size, backend):
    a = arrays(shape, axis, np.float64, seed=3)

    def f(x=a.x, weight=a.weight, bias=a.bias):
        return F.ghost_batch_norm(
            x, weight, bias, axis=axis, ghost_batch_size=size, activation="relu"
        )[0]

    _, saved = F.ghost_batch_norm(
        a.x, a.weight, a.bias, axis=axis, ghost_batch_size=size, activation="relu"
    )
    dx, dweight, dbias = F.ghost_batch_norm_backward(a.dy, saved)
    for ours, theirs in (
        (dx, central_difference(lambda v: f(x=v), a.x, a.dy)),
        (dweight, central_difference(lambda v: f(weight=v), a.weight, a.dy)),
        (dbias, central_difference(lambda v: f(bias=v), a.bias, a.dy)),
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-7 * np.max(np.abs(theirs)))


@given(n=st.integers(2, 12), size=st.integers(2, 14), c=st.integers(1, 5), seed=st.integers(0, 99))
def test_one_group_of_all_samples_is_batch_norm(n, size, c, seed):
    a = arrays((n, c, 2), 1, np.float32, seed)
    y, saved = F.ghost_batch_norm(a.x, a.weight, a.bias, ghost_batch_size=n + size)
    whole, saved_whole = F.batch_norm(a.x, a.weight, a.bias)
    np.testing.assert_array_equal(y, whole)
    ours, theirs = F.ghost_batch_norm_backward(a.dy, saved), F.batch_norm_backward(a.dy, saved_whole)  # fmt: skip
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("kind", ["samples", "positions", "lengths"])
def test_a_mask_is_cut_along_the_samples(kind, backend, dtype):
    a = arrays((6, 5, 3), -1, dtype)
    rng = np.random.default_rng(0)
    mask = {
        "samples": np.array([True, False, True, False, False, True]),
        "positions": rng.random((6, 5)) < 0.6,
        "lengths": np.array([5, 0, 2, 1, 4, 3]),
    }[kind]
    mean, var = np.zeros(3, dtype), np.ones(3, dtype)
    y, saved = F.ghost_batch_norm(
        a.x, a.weight, a.bias, mean, var, axis=-1, ghost_batch_size=3, mask=mask
    )
    dx, dweight, dbias = F.ghost_batch_norm_backward(a.dy, saved)
    mean_1, var_1, sums = np.zeros(3, dtype), np.ones(3, dtype), [0.0, 0.0]
    for part in pieces(6, 3):
        y_1, saved_1 = F.batch_norm(
            a.x[part], a.weight, a.bias, mean_1, var_1, axis=-1, mask=mask[part]
        )
        dx_1, *others = F.batch_norm_backward(a.dy[part], saved_1)
        np.testing.assert_array_equal(y[part], y_1)
        np.testing.assert_array_equal(dx[part], dx_1)
        sums = [total + other.astype(float) for total, other in zip(sums, others, strict=True)]
    np.testing.assert_array_equal(mean, mean_1)
    np.testing.assert_array_equal(var, var_1)
    assert relative_error(dweight, sums[0]) < tolerance(dtype)
    assert relative_error(dbias, sums[1]) < tolerance(dtype)


def test_a_group_without_valid_positions_gives_zeros_and_no_update(backend):
    a = arrays((6, 3), 1, np.float64)
    mask = np.array([True, True, False, False, True, True])
    mean, var = np.zeros(3), np.ones(3)
    rates = iter([0.5, 0.25, 0.125])
    y, saved = F.ghost_batch_norm(
        a.x, None, None, mean, var, ghost_batch_size=2, momentum=rates, mask=mask
    )
    assert saved.updates == 2
    assert not np.any(y[2:4])
    assert not np.any(F.ghost_batch_norm_backward(a.dy, saved)[0][2:4])
    np.testing.assert_allclose(mean, 0.75 * 0.5 * a.x[:2].mean(0) + 0.25 * a.x[4:].mean(0))


def test_every_update_takes_the_rate_given_for_it(backend):
    a = arrays((6, 3), 1, np.float64)
    mean, var = np.full(3, 7.0), np.ones(3)
    F.ghost_batch_norm(a.x, None, None, mean, var, ghost_batch_size=2, momentum=[1.0, 1 / 2, 1 / 3])
    np.testing.assert_allclose(mean, a.x.mean(0), rtol=1e-12)


def test_outputs_and_gradients_go_where_they_are_asked_to(backend, dtype):
    a = arrays((7, 4, 3), 1, dtype)
    out, dx_out, dweight, dbias = np.empty_like(a.x), np.empty_like(a.x), np.empty(4, dtype), np.empty(4, dtype)  # fmt: skip
    y, saved = F.ghost_batch_norm(a.x, a.weight, a.bias, ghost_batch_size=3, out=out)
    got = F.ghost_batch_norm_backward(a.dy, saved, out=dx_out, dweight=dweight, dbias=dbias)
    assert y is out
    assert [value is wanted for value, wanted in zip(got, (dx_out, dweight, dbias))] == [True] * 3
    fresh = F.ghost_batch_norm_backward(a.dy, saved)
    for one, other in zip(got, fresh, strict=True):
        np.testing.assert_array_equal(one, other)


def test_strided_and_read_only_inputs_are_taken_and_never_written_to(backend, dtype):
    a = arrays((6, 4, 3), 1, dtype)
    wide = np.repeat(a.x, 2, axis=0)
    x, dy = wide[::2], np.asfortranarray(a.dy)
    x.flags.writeable = dy.flags.writeable = False
    y, saved = F.ghost_batch_norm(x, a.weight, a.bias, ghost_batch_size=2)
    expected, saved_expected = F.ghost_batch_norm(a.x, a.weight, a.bias, ghost_batch_size=2)
    np.testing.assert_array_equal(y, expected)
    for one, other in zip(
        F.ghost_batch_norm_backward(dy, saved),
        F.ghost_batch_norm_backward(a.dy, saved_expected),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(wide, np.repeat(a.x, 2, axis=0))


@pytest.mark.parametrize("shape", [(0, 3), (4, 0), (4, 3, 0)])
def test_no_values_give_no_values_and_no_update(shape, backend):
    mean, var = np.zeros(shape[1]), np.ones(shape[1])
    x, weight = np.empty(shape), np.ones(shape[1])
    y, saved = F.ghost_batch_norm(x, weight, None, mean, var, ghost_batch_size=3)
    assert y.shape == shape
    dx, dweight, dbias = F.ghost_batch_norm_backward(x, saved)
    assert dx.shape == shape
    assert dbias is None
    np.testing.assert_array_equal(dweight, np.zeros(shape[1]))
    np.testing.assert_array_equal(mean, np.zeros(shape[1]))
    assert saved.updates == 0 or shape[1] == 0


def test_a_constant_channel_gives_beta_in_every_group(backend, dtype):
    x = np.repeat(np.array([[60.0, -1e10], [1e-30, 3e4]], dtype), 3, axis=0)
    beta = np.array([0.25, -3.0], dtype)
    y, _ = F.ghost_batch_norm(x, np.full(2, 7, dtype), beta, ghost_batch_size=3)
    np.testing.assert_array_equal(y, np.broadcast_to(beta, y.shape))


X = np.random.default_rng(0).standard_normal((7, 4))
V = np.ones(4)


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: F.ghost_batch_norm(X, ghost_batch_size=0), ValueError, "ghost_batch_size must be an integer >= 1"),
        (lambda: F.ghost_batch_norm(X, ghost_batch_size=2.0), TypeError, "ghost_batch_size must be an integer"),
        (lambda: F.ghost_batch_norm(X, ghost_batch_size=3), ValueError, "more than one value .* sample 6 .*ghost_batch_size"),
        (lambda: F.ghost_batch_norm(X, ghost_batch_size=1), ValueError, "in sample 0 of"),
        (lambda: F.ghost_batch_norm(X, ghost_batch_size=4, mask=np.arange(7) < 5), ValueError, "samples 4 to 6"),
        (lambda: F.ghost_batch_norm(X, ghost_batch_size=4, mask=np.arange(8) < 5), ValueError, "mask must"),
        (lambda: F.ghost_batch_norm(X, ghost_batch_size=4, axis=0), ValueError, "axis must not be 0"),
        (lambda: F.ghost_batch_norm(X, ghost_batch_size=4, axis=-2), ValueError, "axis must not be 0"),
        (lambda: F.ghost_batch_norm(X, ghost_batch_size=4, momentum=1.5), ValueError, "momentum must"),
        (lambda: F.ghost_batch_norm(X, ghost_batch_size=4, momentum=[0.1]), ValueError, "momentum must be one number or 2"),
        (lambda: F.ghost_batch_norm(X, ghost_batch_size=4, momentum=[0.1, 2]), ValueError, "momentum must"),
        (lambda: F.ghost_batch_norm(X.astype(int), ghost_batch_size=4), TypeError, "x must be float32 or float64"),
        (lambda: F.ghost_batch_norm(X, V[:3], ghost_batch_size=4), ValueError, "weight must have shape"),
        (lambda: F.ghost_batch_norm(X, ghost_batch_size=4, activation="elu"), ValueError, "activation must"),
        (lambda: F.ghost_batch_norm(X, ghost_batch_size=4, out=X), ValueError, "out must not overlap"),
        (lambda: F.ghost_batch_norm_backward(X, None), TypeError, "saved must be what ghost_batch_norm returned"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_named(call, error, match):
    with pytest.raises(error, match=match):
        call()


def test_a_refused_batch_changes_nothing():
    """Also where only the last group is at fault."""
    mean, var = np.zeros(4), np.ones(4)
    for bad in ({"ghost_batch_size": 3}, {"ghost_batch_size": 2, "momentum": [0.1, 0.1, 7]}):
        with pytest.raises(ValueError):
            F.ghost_batch_norm(X, None, None, mean, var, **bad)
    with pytest.raises(ValueError, match="out must not overlap"):
        wide = np.zeros((9, 4))  # the output of a group would be the input of the next one
        F.ghost_batch_norm(wide[:7], None, None, mean, var, ghost_batch_size=4, out=wide[2:])
    np.testing.assert_array_equal(mean, np.zeros(4))
    np.testing.assert_array_equal(var, np.ones(4))
