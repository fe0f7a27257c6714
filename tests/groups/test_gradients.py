"""The gradients of group and instance norm are derivatives, and obey the invariants that follow from the formula."""

from __future__ import annotations

import numpy as np
import pytest

from bncore import functional as F
from tests.groups.cases import arrays
from tests.helpers import central_difference

CASES = [((3, 4, 5), 1, 2), ((5, 6), 1, 2), ((2, 3, 2, 6), -1, 3), ((2, 2, 4, 3), 2, 1)]
cases = pytest.mark.parametrize(("shape", "axis", "groups"), CASES, ids=str)


def agree(got, f, a):
    wanted = [
        central_difference(lambda v: f(x=v), a.x, a.dy),
        central_difference(lambda v: f(weight=v), a.weight, a.dy),
        central_difference(lambda v: f(bias=v), a.bias, a.dy),
    ]
    for ours, theirs in zip(got, wanted, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-7 * np.max(np.abs(theirs)))


@cases
@pytest.mark.parametrize("activation", [None, "relu"])
def test_group_norm(shape, axis, groups, activation, backend):
    a = arrays(shape, axis, np.float64, seed=3)

    def f(x=a.x, weight=a.weight, bias=a.bias):
        return F.group_norm(x, groups, weight, bias, axis=axis, activation=activation)[0]

    _, saved = F.group_norm(a.x, groups, a.weight, a.bias, axis=axis, activation=activation)
    agree(F.group_norm_backward(a.dy, saved), f, a)


@pytest.mark.parametrize(("shape", "axis"), [((3, 4, 5), 1), ((2, 3, 2, 4), -1)], ids=str)
@pytest.mark.parametrize("activation", [None, "relu"])
@pytest.mark.parametrize("training", [True, False])
def test_instance_norm(shape, axis, activation, training, backend):
    a = arrays(shape, axis, np.float64, seed=4)
    kw = {"axis": axis, "activation": activation, "training": training}
    if not training:
        kw |= {"running_mean": np.linspace(-1, 1, 4), "running_var": np.linspace(0.5, 2, 4)}

    def f(x=a.x, weight=a.weight, bias=a.bias):
        return F.instance_norm(x, weight, bias, **kw)[0]

    _, saved = F.instance_norm(a.x, a.weight, a.bias, **kw)
    agree(F.instance_norm_backward(a.dy, saved), f, a)


@cases
def test_dx_sums_to_nothing_in_every_group(shape, axis, groups, backend):
    """A constant or (with eps = 0) a factor on a group changes nothing."""
    a = arrays(shape, axis, np.float64)
    y, saved = F.group_norm(a.x, groups, axis=axis, eps=0.0)
    _, saved = F.group_norm(a.x, groups, a.weight, a.bias, axis=axis, eps=0.0)
    dx, _, _ = F.group_norm_backward(a.dy, saved)
    dx, x_hat = (np.moveaxis(v, axis, 1).reshape(shape[0], groups, -1) for v in (dx, y))
    scale = np.max(np.abs(dx)) * dx.shape[2]
    assert np.max(np.abs(dx.sum(axis=2))) <= 1e-13 * scale
    assert np.max(np.abs((dx * x_hat).sum(axis=2))) <= 1e-12 * scale
