"""Batch norm gives the formula's numbers: every backend, instruction set, dtype, layout and fusion."""

from __future__ import annotations

import numpy as np
import pytest

from bncore import functional as F
from tests.helpers import relative_error, tolerance
from tests.norm.cases import SHAPES, arrays
from tests.reference import norm as exact

shapes = pytest.mark.parametrize(("shape", "axis"), SHAPES, ids=str)
fusions = pytest.mark.parametrize("fusion", ["plain", "relu", "add", "add+relu"])
parameters = pytest.mark.parametrize("parameters", ["both", "weight", "bias", "none"])
EPS = 1e-5


def chosen(a, fusion, parameters):
    """Keyword arguments for F.batch_norm."""
    return {
        "weight": a.weight if parameters in ("both", "weight") else None,
        "bias": a.bias if parameters in ("both", "bias") else None,
        "activation": "relu" if "relu" in fusion else None,
        "residual": a.residual if "add" in fusion else None,
        "eps": EPS,
    }


def allowed(dtype, mean, var, roundings):
    """Error allowed for numbers of the order of 1 that come from (x - mean) / std.

    float64 holds a mean to 2**-53 of itself, which is that times mean/std in units of the deviation; for float32 data
    this does not matter.
    """
    far = float(np.max(np.abs(mean) / np.sqrt(var + EPS)))
    return tolerance(dtype, roundings) + tolerance(np.float64, 4) * far


def check_backward(a, y, saved, kw, mean, var, axis, training, dtype):
    gate = y > 0 if kw["activation"] else None
    dx, dgamma, dbeta, g = exact.backward(
        a.dy, a.x, kw["weight"], kw["bias"], mean, var, EPS, axis, training, gate
    )
    got = F.batch_norm_backward(a.dy, saved)
    m = a.x.size // a.x.shape[axis]
    # A sum of m terms of order 1 that may cancel: its error goes with their magnitude, not with the sum's.
    sums = 4 * allowed(dtype, mean, var, 16) * m
    # dx is the difference of terms this large
    gain = np.abs(exact.vector(kw["weight"], mean.size, 1)) / np.sqrt(var + EPS)
    terms = float(np.max(gain) * np.max(np.abs(g)))
    assert np.max(np.abs(got[0] - dx)) <= 4 * allowed(dtype, mean, var, 16) * terms
    for value, reference, there in ((got[1], dgamma, kw["weight"]), (got[2], dbeta, kw["bias"])):
        if there is None:
            assert value is None
        else:
            assert value.dtype == dtype
            assert np.max(np.abs(value - reference)) <= sums
    if kw["residual"] is None:
        assert len(got) == 3
    else:
        assert np.array_equal(got[3], g.astype(dtype))


@shapes
@fusions
def test_training(shape, axis, fusion, backend, dtype):
    a = arrays(shape, axis, dtype)
    kw = chosen(a, fusion, "both")
    mean, var = exact.statistics(a.x, axis)
    running_mean, running_var = a.running_mean.copy(), a.running_var.copy()
    y, saved = F.batch_norm(
        a.x, running_mean=running_mean, running_var=running_var, momentum=0.3, axis=axis, **kw
    )
    y_exact = exact.forward(
        a.x, a.weight, a.bias, mean, var, EPS, axis, "relu" in fusion, kw["residual"]
    )
    assert y.dtype == dtype
    assert relative_error(y, y_exact) <= allowed(dtype, mean, var, 6)
    m = a.x.size // shape[axis]
    assert relative_error(running_mean, 0.7 * a.running_mean + 0.3 * mean) <= tolerance(dtype)
    assert relative_error(running_var, 0.7 * a.running_var + 0.3 * var * m / (m - 1)) <= tolerance(
        dtype
    )
    check_backward(a, y, saved, kw, mean, var, axis, True, dtype)


@shapes
@fusions
def test_evaluation(shape, axis, fusion, backend, dtype):
    a = arrays(shape, axis, dtype)
    kw = chosen(a, fusion, "both")
    before = a.running_mean.copy(), a.running_var.copy()
    y, saved = F.batch_norm(
        a.x, running_mean=a.running_mean, running_var=a.running_var, training=False, axis=axis, **kw
    )
    mean, var = (v.astype(exact.REAL) for v in before)
    y_exact = exact.forward(
        a.x, a.weight, a.bias, mean, var, EPS, axis, "relu" in fusion, kw["residual"]
    )
    assert relative_error(y, y_exact) <= tolerance(dtype, 6)
    assert np.array_equal(a.running_mean, before[0]), "evaluation changed the running mean"
    assert np.array_equal(a.running_var, before[1]), "evaluation changed the running variance"
    check_backward(a, y, saved, kw, mean, var, axis, False, dtype)


@parameters
@fusions
@pytest.mark.parametrize(("shape", "axis"), [((6, 5, 4), 1), ((30, 20), -1)])
def test_parameters_are_optional_each(parameters, fusion, shape, axis, backend, dtype):
    a = arrays(shape, axis, dtype)
    kw = chosen(a, fusion, parameters)
    mean, var = exact.statistics(a.x, axis)
    y, saved = F.batch_norm(a.x, axis=axis, **kw)
    y_exact = exact.forward(
        a.x, kw["weight"], kw["bias"], mean, var, EPS, axis, "relu" in fusion, kw["residual"]
    )
    assert relative_error(y, y_exact) <= allowed(dtype, mean, var, 6)
    check_backward(a, y, saved, kw, mean, var, axis, True, dtype)


@shapes
def test_statistics_are_as_good_as_float64(shape, axis, backend, dtype):
    a = arrays(shape, axis, dtype)
    mean, var = exact.statistics(a.x, axis)
    stats = F.statistics(a.x, axis=axis)
    assert stats.mean.dtype == stats.var.dtype == np.float64
    assert stats.count == a.x.size // shape[axis]
    deviation = np.sqrt(var) + 1e-30
    assert np.max(np.abs(stats.mean - mean) / deviation) <= allowed(dtype, mean, var, 4)
    assert np.max(np.abs(stats.var - var) / var) <= allowed(dtype, mean, var, 8)


@pytest.mark.parametrize("unbiased", [True, False])
@pytest.mark.parametrize("momentum", [0.0, 0.1, 1.0])
def test_running_statistics(unbiased, momentum, backend, dtype, rng):
    x = rng.standard_normal((7, 3, 2)).astype(dtype)
    mean, var = exact.statistics(x, 1)
    running_mean, running_var = np.full(3, 5, dtype), np.full(3, 9, dtype)
    F.batch_norm(x, None, None, running_mean, running_var, momentum=momentum, unbiased=unbiased)
    new_var = var * 14 / 13 if unbiased else var
    assert relative_error(running_mean, (1 - momentum) * 5 + momentum * mean) <= tolerance(dtype)
    assert relative_error(running_var, (1 - momentum) * 9 + momentum * new_var) <= tolerance(dtype)


def test_only_one_running_statistic_is_enough_in_training(backend, dtype, rng):
    x = rng.standard_normal((7, 3)).astype(dtype)
    running_mean = np.zeros(3, dtype)
    F.batch_norm(x, running_mean=running_mean, momentum=1.0)
    assert relative_error(running_mean, x.mean(0, dtype=np.float64)) <= tolerance(dtype)


def test_saved_says_which_statistics_were_used(backend, dtype, rng):
    x = rng.standard_normal((50, 4)).astype(dtype)
    mean, var = exact.statistics(x, 1)
    _, saved = F.batch_norm(x, eps=1e-3)
    assert relative_error(saved.mean, mean) <= tolerance(dtype)
    assert relative_error(saved.inv_std, 1 / np.sqrt(var + 1e-3)) <= tolerance(dtype)


@pytest.mark.parametrize("fusion", ["plain", "relu", "add+relu"])
def test_nothing_is_saved_beyond_plain_batch_norm(fusion, backend, dtype, rng):
    """Only references to arrays that exist anyway: the input, the parameters, and the output for add + ReLU."""
    a = arrays((8, 3, 4), 1, dtype)
    kw = chosen(a, fusion, "both")
    y, saved = F.batch_norm(a.x, **kw)
    assert saved.x is a.x
    assert saved.weight is a.weight
    assert saved.y is (y if fusion == "add+relu" else None)
    slots = [
        n for n in ("x", "y", "weight", "bias", "mean", "inv_std") if getattr(saved, n) is not None
    ]
    assert sum(getattr(saved, n).size for n in slots if n in ("mean", "inv_std")) == 2 * 3


@fusions
def test_out_receives_the_result(fusion, backend, dtype):
    a = arrays((9, 5, 6), 1, dtype)
    kw = chosen(a, fusion, "both")
    y, saved = F.batch_norm(a.x, **kw)
    out = np.full_like(a.x, np.nan)
    got, saved_out = F.batch_norm(a.x, out=out, **kw)
    assert got is out
    assert np.array_equal(out, y)
    dx = np.full_like(a.x, np.nan)
    dweight, dbias = np.full_like(a.weight, np.nan), np.full_like(a.bias, np.nan)
    plain = F.batch_norm_backward(a.dy, saved)
    result = F.batch_norm_backward(a.dy, saved_out, dweight=dweight, dbias=dbias, out=dx)
    assert result[0] is dx
    assert result[1] is dweight
    assert result[2] is dbias
    for ours, theirs in zip(result, plain, strict=True):
        assert np.array_equal(ours, theirs)
