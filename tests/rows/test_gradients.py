"""The gradients of layer and RMS norm are their derivatives, and obey the invariants that follow from the formula."""

from __future__ import annotations

import numpy as np
import pytest

from bncore import functional as F
from tests.helpers import central_difference
from tests.rows.cases import KINDS, arrays, norm, norm_backward

CASES = [((5, 3), -1, 1), ((3, 20), -1, 1), ((2, 3, 4), (-2, -1), 2), ((2, 2, 3), (0, 1, 2), 3)]
kinds = pytest.mark.parametrize("kind", KINDS)


@kinds
@pytest.mark.parametrize(("shape", "axis", "axes"), CASES, ids=str)
@pytest.mark.parametrize("activation", [None, "relu"])
def test_gradients_are_central_differences(kind, shape, axis, axes, activation, backend):
    a = arrays(shape, axes, np.float64, seed=3)
    options = {"axis": axis, "activation": activation}

    def f(x=a.x, weight=a.weight, bias=a.bias):
        return norm(kind, x, weight, bias, **options)[0]

    got = norm_backward(kind, a.dy, norm(kind, a.x, a.weight, a.bias, **options)[1])
    wanted = [
        central_difference(lambda v: f(x=v), a.x, a.dy),
        central_difference(lambda v: f(weight=v), a.weight, a.dy),
        central_difference(lambda v: f(bias=v), a.bias, a.dy),
    ]
    for ours, theirs in zip(got, wanted, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-7 * np.max(np.abs(theirs)))


@kinds
def test_a_gradient_along_an_inner_axis_is_a_central_difference(kind, backend, rng):
    x, dy = rng.standard_normal((2, 3, 4)), rng.standard_normal((2, 3, 4))
    weight, bias = rng.standard_normal(3), rng.standard_normal(3)
    _, saved = norm(kind, x, weight, bias, axis=1)
    got = norm_backward(kind, dy, saved)[0]
    wanted = central_difference(lambda v: norm(kind, v, weight, bias, axis=1)[0], x, dy)
    np.testing.assert_allclose(got, wanted, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("shape", [(6, 40), (70, 9), (2, 5000)], ids=str)
def test_directions_that_change_nothing_have_no_gradient(shape, backend):
    """A factor on a row changes nothing for eps = 0, nor does a constant for layer norm."""
    a = arrays(shape, 1, np.float64)
    for kind in KINDS:
        _, saved = norm(kind, a.x, a.weight, a.bias, eps=0.0)
        dx = norm_backward(kind, a.dy, saved)[0]
        size = np.sum(np.abs(dx) * np.maximum(1, np.abs(a.x)), axis=1)
        assert np.max(np.abs((dx * a.x).sum(axis=1)) / size) <= 1e-13
        if kind == "layer":
            assert np.max(np.abs(dx.sum(axis=1)) / size) <= 1e-14


def test_partial_gradients_flow_through_the_measured_values_only(backend, rng):
    """Behind them dx = gamma inv_rms dy: those values are scaled, not measured."""
    x, dy, weight = (
        rng.standard_normal((5, 10)),
        rng.standard_normal((5, 10)),
        rng.standard_normal(10),
    )
    _, saved = F.rms_norm(x, weight, partial=0.3)
    dx = F.rms_norm_backward(dy, saved)[0]
    np.testing.assert_allclose(dx[:, 3:], (dy * weight * saved.inv_std[:, None])[:, 3:], rtol=1e-13)
