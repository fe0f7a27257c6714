"""The gradients of batch norm are its derivatives, and obey the invariants that follow from the formula."""

from __future__ import annotations

import numpy as np
import pytest

from bncore import functional as F
from tests.helpers import central_difference
from tests.norm.cases import arrays

CASES = [((5, 3), 1), ((3, 4, 2, 2), 1), ((2, 3, 2, 4), -1), ((2, 2, 3), 2)]
cases = pytest.mark.parametrize(("shape", "axis"), CASES, ids=str)


@cases
@pytest.mark.parametrize("fusion", ["plain", "relu", "add", "add+relu"])
@pytest.mark.parametrize("training", [True, False])
def test_gradients_are_central_differences(shape, axis, fusion, training, backend):
    a = arrays(shape, axis, np.float64, seed=3)
    kw = {"axis": axis, "training": training, "activation": "relu" if "relu" in fusion else None}
    if not training:
        kw |= {"running_mean": a.running_mean, "running_var": a.running_var}
    residual = a.residual if "add" in fusion else None

    def f(x=a.x, weight=a.weight, bias=a.bias, residual=residual):
        return F.batch_norm(x, weight, bias, residual=residual, **kw)[0]

    _, saved = F.batch_norm(a.x, a.weight, a.bias, residual=residual, **kw)
    got = F.batch_norm_backward(a.dy, saved)
    wanted = [
        central_difference(lambda v: f(x=v), a.x, a.dy),
        central_difference(lambda v: f(weight=v), a.weight, a.dy),
        central_difference(lambda v: f(bias=v), a.bias, a.dy),
    ]
    if residual is not None:
        wanted.append(central_difference(lambda v: f(residual=v), residual, a.dy))
    for ours, theirs in zip(got, wanted, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-7 * np.max(np.abs(theirs)))


@cases
def test_dx_sums_to_nothing(shape, axis, backend):
    """sum(dx) = 0, and sum(dx x_hat) = 0 for eps = 0: a constant or a factor on the input changes nothing."""
    a = arrays(shape, axis, np.float64)
    _, saved = F.batch_norm(a.x, a.weight, a.bias, axis=axis, eps=0.0)
    dx, dweight, _ = F.batch_norm_backward(a.dy, saved)
    others = tuple(i for i in range(len(shape)) if i != axis % len(shape))
    wide = [1] * len(shape)
    wide[axis] = -1
    x_hat = (a.x - saved.mean.reshape(wide)) * saved.inv_std.reshape(wide)
    scale = np.max(np.abs(dx)) * a.x.size
    assert np.max(np.abs(dx.sum(axis=others))) <= 1e-14 * scale
    assert np.max(np.abs((dx * x_hat).sum(axis=others))) <= 1e-13 * scale
    np.testing.assert_allclose(dweight, (a.dy * x_hat).sum(axis=others), rtol=1e-10, atol=1e-12)


def test_a_bias_before_the_norm_has_no_gradient(backend):
    a = arrays((16, 6), 1, np.float64)
    _, saved = F.batch_norm(a.x + 3.0, a.weight, a.bias)
    dx, _, _ = F.batch_norm_backward(a.dy, saved)
    assert np.max(np.abs(dx.sum(axis=0))) <= 1e-13
