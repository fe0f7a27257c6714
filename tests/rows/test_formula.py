"""Layer norm and RMS norm give the formula's numbers: every backend, instruction set, dtype, shape and option."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bncore import functional as F
from tests.helpers import relative_error, tolerance
from tests.reference import rows as exact
from tests.rows.cases import KINDS, SHAPES, arrays, leading, norm, norm_backward, oracle, trailing

shapes = pytest.mark.parametrize(("shape", "axes"), SHAPES, ids=str)
kinds = pytest.mark.parametrize("kind", KINDS)
EPS = 1e-5


def of_the_mean(kind, rows):
    """float64 holds a row's mean to 2**-53 of itself: that, in units of the row's deviation."""
    if kind != "layer":
        return 0.0
    wanted = [exact.statistics(row, "layer", row.size, EPS) for row in rows]
    return tolerance(np.float64, 4) * float(max(abs(mean) * inv for mean, inv in wanted))


def check(kind, a, axes, dtype, weight, bias, activation, y, gradients):
    d = math.prod(a.x.shape[a.x.ndim - axes :])
    options = {"kind": oracle(kind), "axes": axes, "leading": leading(kind, d)}
    relu = activation is not None
    y_exact = exact.forward(a.x, weight, bias, EPS, relu=relu, **options)
    assert y.dtype == dtype
    rows = exact.by_row(a.x, axes)
    far = of_the_mean(kind, rows)
    assert relative_error(y, y_exact) <= tolerance(dtype, 8) + far
    gate = y > 0 if relu else None
    dx, dgamma, dbeta = exact.backward(a.dy, a.x, weight, EPS, open_gate=gate, **options)
    # dx is a difference of terms this large, row by row; a sum's error goes with the size of its terms
    inverse = np.array(
        [exact.statistics(row, oracle(kind), leading(kind, d), EPS)[1] for row in rows]
    )
    x_hat_max = max(1.0, float(np.max(np.abs(rows) * inverse[:, None])) if kind != "layer" else 1.0)
    gain = inverse * x_hat_max**2 * float(np.max(np.abs(a.dy)))
    gain *= 1 if weight is None else float(np.max(np.abs(weight)))
    error = np.max(np.abs(exact.by_row(gradients[0], axes) - exact.by_row(dx, axes)), axis=1)
    assert np.all(error <= (tolerance(dtype, 64) + 16 * far) * gain)
    sums = (tolerance(dtype, 16) + far) * (4 + math.sqrt(len(rows))) * 4 * x_hat_max
    for got, wanted, there in ((gradients[1], dgamma, weight), (gradients[2], dbeta, bias)):
        if there is None:
            assert got is None
        else:
            assert got.dtype == dtype and got.shape == there.shape
            assert np.max(np.abs(got - wanted)) <= sums


@shapes
@kinds
@pytest.mark.parametrize("activation", [None, "relu"])
def test_forward_and_gradients(shape, axes, kind, activation, backend, dtype):
    a = arrays(shape, axes, dtype)
    options = {"axis": trailing(axes), "eps": EPS, "activation": activation}
    y, saved = norm(kind, a.x, a.weight, a.bias, **options)
    gradients = norm_backward(kind, a.dy, saved)
    check(kind, a, axes, dtype, a.weight, a.bias, activation, y, gradients)


@kinds
@pytest.mark.parametrize(
    ("activation", "parameters", "shape", "axes"),
    [
        *(
            (activation, parameters, shape, len(shape) - 1)
            for activation in (None, "relu")
            for parameters in ("weight", "bias", "none")
            for shape in ((50, 40), (3, 2, 5))
        ),
        ("relu", "none", (2, 131_075), 1),
    ],
    ids=str,
)
def test_parameters_are_optional_each(kind, activation, parameters, shape, axes, backend, dtype):
    a = arrays(shape, axes, dtype)
    weight = a.weight if parameters == "weight" else None
    bias = a.bias if parameters == "bias" else None
    options = {"axis": trailing(axes), "eps": EPS, "activation": activation}
    y, saved = norm(kind, a.x, weight, bias, **options)
    check(kind, a, axes, dtype, weight, bias, activation, y, norm_backward(kind, a.dy, saved))


def test_parameter_gradients_of_many_long_rows(native, dtype):
    """Their column sums move on to float64 on the way."""
    a = arrays((70, 131_072), 1, dtype)
    _, saved = F.layer_norm(a.x, a.weight, a.bias, eps=EPS)
    _, dweight, dbias = F.layer_norm_backward(a.dy, saved)
    dy = a.dy.astype(np.float64)
    x_hat = (a.x - saved.mean[:, None]) * saved.inv_std[:, None]
    assert np.max(np.abs(dbias - dy.sum(axis=0))) <= tolerance(dtype, 512)
    assert np.max(np.abs(dweight - (dy * x_hat).sum(axis=0))) <= tolerance(dtype, 1024)


@shapes
def test_saved_statistics_are_as_good_as_float64(shape, axes, backend, dtype):
    a = arrays(shape, axes, dtype)
    lead = shape[: len(shape) - axes]
    rows = exact.by_row(a.x, axes)
    _, layer = F.layer_norm(a.x, axis=trailing(axes), eps=EPS)
    _, rms = F.rms_norm(a.x, axis=trailing(axes), eps=EPS)
    assert rms.mean is None
    for saved, kind in ((layer, "layer"), (rms, "rms")):
        wanted = [exact.statistics(row, kind, row.size, EPS) for row in rows]
        assert saved.inv_std.dtype == np.float64 and saved.inv_std.shape == lead
        inverse = np.array([inv for _, inv in wanted]).reshape(lead)
        assert np.max(np.abs(saved.inv_std / inverse - 1)) <= tolerance(dtype, 4) + of_the_mean(
            kind, rows
        )
        if kind == "layer":
            assert saved.mean.shape == lead
            off = (saved.mean - np.array([mean for mean, _ in wanted]).reshape(lead)) * inverse
            assert np.max(np.abs(off)) <= tolerance(dtype, 4) + of_the_mean(kind, rows)


@pytest.mark.parametrize(
    ("partial", "d", "count"),
    [(1.0, 7, 7), (0.5, 7, 3), (0.01, 7, 1), (0.29, 100, 29), (0.7, 10, 7)],
)
def test_partial_takes_the_first_values(partial, d, count, backend, rng):
    """Also where p·d in binary is a rounding short of the integer meant."""
    x = rng.standard_normal((4, d))
    y, _ = F.rms_norm(x, partial=partial, eps=0.0)
    np.testing.assert_allclose(
        y, x / np.sqrt(np.mean(x[:, :count] ** 2, axis=1, keepdims=True)), rtol=1e-12
    )


@kinds
@pytest.mark.parametrize(
    ("shape", "axis"), [((3, 4, 5), 1), ((2, 3, 4, 5), -3), ((4, 3), 0)], ids=str
)
@pytest.mark.parametrize("activation", [None, "relu"])
def test_an_inner_axis_gives_what_it_gives_as_the_last_one(
    kind, shape, axis, activation, backend, dtype, rng
):
    x, dy = (rng.standard_normal(shape).astype(dtype) for _ in range(2))
    weight, bias = (rng.standard_normal(shape[axis]).astype(dtype) for _ in range(2))
    last, last_dy = (np.ascontiguousarray(np.moveaxis(v, axis, -1)) for v in (x, dy))
    wanted, wanted_saved = norm(kind, last, weight, bias, activation=activation)
    out, dx = np.empty_like(x), np.empty_like(x)
    for given, target in ((None, None), (out, dx)):
        y, saved = norm(kind, x, weight, bias, axis=axis, activation=activation, out=given)
        assert y.flags.c_contiguous and (given is None or y is given)
        assert np.array_equal(np.moveaxis(y, axis, -1), wanted)
        assert np.array_equal(saved.inv_std, wanted_saved.inv_std)
        got = norm_backward(kind, dy, saved, out=target)
        assert target is None or got[0] is target
        right = norm_backward(kind, last_dy, wanted_saved)
        assert np.array_equal(np.moveaxis(got[0], axis, -1), right[0])
        assert np.array_equal(got[1], right[1]) and np.array_equal(got[2], right[2])


@kinds
def test_out_receives_the_result(kind, backend, dtype):
    a = arrays((9, 5, 6), 2, dtype)
    options = {"axis": (-2, -1), "activation": "relu"}
    y, saved = norm(kind, a.x, a.weight, a.bias, **options)
    out = np.full_like(a.x, np.nan)
    got, saved_out = norm(kind, a.x, a.weight, a.bias, out=out, **options)
    assert got is out and np.array_equal(out, y)
    dx, dweight, dbias = (np.full_like(v, np.nan) for v in (a.x, a.weight, a.bias))
    plain = norm_backward(kind, a.dy, saved)
    result = norm_backward(kind, a.dy, saved_out, dweight=dweight, dbias=dbias, out=dx)
    assert result[0] is dx and result[1] is dweight and result[2] is dbias
    for ours, theirs in zip(result, plain, strict=True):
        assert np.array_equal(ours, theirs)


@pytest.mark.parametrize(
    "axis", [(1, 2), (-2, -1), [1, 2], (2, 1), (-1, 1), (np.int64(-2), -1)], ids=str
)
def test_several_axes_may_be_named_in_any_way(axis, backend, dtype):
    a = arrays((4, 3, 5), 2, dtype)
    y, _ = F.layer_norm(a.x, a.weight, a.bias, axis=axis)
    flat, _ = F.layer_norm(a.x.reshape(4, 15), a.weight.reshape(15), a.bias.reshape(15))
    assert np.array_equal(y.reshape(4, 15), flat)


def test_nothing_is_saved_beyond_references_and_statistics(backend, dtype):
    a = arrays((8, 6), 1, dtype)
    for kind in KINDS:
        _, saved = norm(kind, a.x, a.weight, a.bias, activation="relu")
        assert saved.x is a.x and saved.weight is a.weight and saved.bias is a.bias
