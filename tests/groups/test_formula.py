"""Group norm gives the formula's numbers: every backend, instruction set, dtype, layout and fusion."""

from __future__ import annotations

import numpy as np
import pytest

from bncore import functional as F
from tests.groups.cases import CASES, arrays
from tests.helpers import relative_error, tolerance
from tests.reference import group as exact

cases = pytest.mark.parametrize(("shape", "axis", "groups"), CASES, ids=str)
activations = pytest.mark.parametrize("activation", [None, "relu"])
EPS = 1e-5


def allowed(x, groups, axis, dtype, roundings):
    """Error allowed for numbers of the order of 1 that come from (x - mean) / std: float64 holds a mean to 2**-53."""
    mean, var = exact.statistics(x, groups, axis)
    far = float(np.max(np.abs(mean) / np.sqrt(var + EPS)))
    return tolerance(dtype, roundings) + tolerance(np.float64, 4) * far


def check(a, axis, groups, weight, bias, activation, dtype):
    kw = {"axis": axis, "eps": EPS, "activation": activation}
    y, saved = F.group_norm(a.x, groups, weight, bias, **kw)
    wanted = exact.forward(a.x, groups, weight, bias, EPS, axis, activation is not None)
    assert y.dtype == dtype
    assert y.shape == a.x.shape
    # a value of 8 deviations is off by 8 times what one is
    assert relative_error(y, wanted) <= allowed(a.x, groups, axis, dtype, 8)
    got = F.group_norm_backward(a.dy, saved)
    gate = y > 0 if activation else None
    dx, dgamma, dbeta = exact.backward(a.dy, a.x, groups, weight, EPS, axis, gate)
    _, var = exact.statistics(a.x, groups, axis)
    gain = 1 if weight is None else np.max(np.abs(weight))
    terms = float(gain * np.max(1 / np.sqrt(var + EPS)) * np.max(np.abs(a.dy)))
    error = 4 * allowed(a.x, groups, axis, dtype, 16)
    assert np.max(np.abs(got[0] - dx)) <= error * terms
    values = a.x.size // a.x.shape[axis]  # terms of order 1 that may cancel
    for value, reference, there in ((got[1], dgamma, weight), (got[2], dbeta, bias)):
        if there is None:
            assert value is None
        else:
            assert value.dtype == dtype
            assert np.max(np.abs(value - reference)) <= error * values


@cases
@activations
def test_forward_and_gradients(shape, axis, groups, activation, backend, dtype):
    a = arrays(shape, axis, dtype)
    check(a, axis, groups, a.weight, a.bias, activation, dtype)


@pytest.mark.parametrize("parameters", ["weight", "bias", "none"])
@activations
@pytest.mark.parametrize(
    ("shape", "axis", "groups"), [((6, 4, 5), 1, 2), ((9, 20, 6), -1, 3), ((8, 6), 1, 2)], ids=str
)
def test_parameters_are_optional_each(parameters, activation, shape, axis, groups, backend, dtype):
    a = arrays(shape, axis, dtype)
    weight = a.weight if parameters == "weight" else None
    bias = a.bias if parameters == "bias" else None
    check(a, axis, groups, weight, bias, activation, dtype)


@cases
def test_saved_says_which_statistics_were_used(shape, axis, groups, backend, dtype):
    a = arrays(shape, axis, dtype)
    _, saved = F.group_norm(a.x, groups, axis=axis)
    mean, var = exact.statistics(a.x, groups, axis)
    assert saved.mean.dtype == saved.inv_std.dtype == np.float64
    assert saved.mean.shape == saved.inv_std.shape == (shape[0], groups)
    deviation = np.sqrt(var + EPS)
    assert np.max(np.abs(saved.mean - mean) / deviation) <= allowed(a.x, groups, axis, dtype, 4)
    assert np.max(np.abs(saved.inv_std * deviation - 1)) <= allowed(a.x, groups, axis, dtype, 8)


def test_nothing_is_saved_beyond_references_and_statistics(backend, dtype):
    a = arrays((8, 6, 4), 1, dtype)
    _, saved = F.group_norm(a.x, 3, a.weight, a.bias, activation="relu")
    assert saved.x is a.x
    assert saved.weight is a.weight
    assert saved.bias is a.bias


@activations
def test_out_receives_the_result(activation, backend, dtype):
    a = arrays((9, 6, 7), 1, dtype)
    y, saved = F.group_norm(a.x, 3, a.weight, a.bias, activation=activation)
    out = np.full_like(a.x, np.nan)
    got, saved_out = F.group_norm(a.x, 3, a.weight, a.bias, activation=activation, out=out)
    assert got is out
    assert np.array_equal(out, y)
    dx = np.full_like(a.x, np.nan)
    dweight, dbias = np.full_like(a.weight, np.nan), np.full_like(a.bias, np.nan)
    plain = F.group_norm_backward(a.dy, saved)
    result = F.group_norm_backward(a.dy, saved_out, dweight=dweight, dbias=dbias, out=dx)
    for given, ours, theirs in zip((dx, dweight, dbias), result, plain, strict=True):
        assert ours is given
        assert np.array_equal(ours, theirs)


def test_one_backends_state_goes_back_through_another(native, dtype):
    import bncore as bn

    a = arrays((6, 4, 5), 1, dtype)
    _, saved = F.group_norm(a.x, 2, a.weight, a.bias)
    wanted = F.group_norm_backward(a.dy, saved)
    with bn.use_backend("numpy"):
        for ours, theirs in zip(F.group_norm_backward(a.dy, saved), wanted, strict=True):
            assert relative_error(ours, theirs) <= tolerance(dtype, 64)
