"""Instance norm is group norm with a group a channel; its running statistics, and evaluation by them."""

from __future__ import annotations

import numpy as np
import pytest

from bncore import functional as F
from tests.groups.cases import CASES, arrays
from tests.helpers import relative_error, tolerance
from tests.reference import group as exact

cases = pytest.mark.parametrize(
    ("shape", "axis"),
    [c[:2] for c in CASES if np.prod(c[0]) > c[0][0] * c[0][c[1]]],
    ids=str,
)


@cases
@pytest.mark.parametrize("activation", [None, "relu"])
def test_it_equals_group_norm_with_a_group_a_channel(shape, axis, activation, backend, dtype):
    a = arrays(shape, axis, dtype)
    kw = {"axis": axis, "activation": activation}
    y, saved = F.instance_norm(a.x, a.weight, a.bias, **kw)
    other, other_saved = F.group_norm(a.x, shape[axis], a.weight, a.bias, **kw)
    assert np.array_equal(y, other)
    assert np.array_equal(saved.mean, other_saved.mean)
    for ours, theirs in zip(
        F.instance_norm_backward(a.dy, saved),
        F.group_norm_backward(a.dy, other_saved),
        strict=True,
    ):
        assert np.array_equal(ours, theirs)


@cases
@pytest.mark.parametrize("unbiased", [True, False])
@pytest.mark.parametrize("momentum", [0.0, 0.1, 1.0])
def test_running_statistics(shape, axis, unbiased, momentum, backend, dtype):
    a = arrays(shape, axis, dtype)
    c = shape[axis]
    mean, var = np.linspace(-1, 1, c, dtype=dtype), np.linspace(1, 2, c, dtype=dtype)
    wanted = exact.running(a.x, axis, mean, var, momentum, unbiased)
    F.instance_norm(a.x, None, None, mean, var, momentum=momentum, unbiased=unbiased, axis=axis)
    # sums of means that may cancel: in units of the largest
    assert relative_error(mean, wanted[0]) <= tolerance(dtype, 64)
    assert relative_error(var, wanted[1]) <= tolerance(dtype, 16)


def test_only_one_running_statistic_is_enough_in_training(backend, dtype, rng):
    x = rng.standard_normal((7, 3, 4)).astype(dtype)
    running = np.zeros(3, dtype)
    F.instance_norm(x, running_mean=running, momentum=1.0)
    assert relative_error(running, x.mean((0, 2), dtype=np.float64)) <= tolerance(dtype)
    F.instance_norm(x, running_var=running, momentum=1.0)
    var = x.var(2, dtype=np.float64, ddof=1).mean(0)
    assert relative_error(running, var) <= tolerance(dtype)


@pytest.mark.parametrize("axis", [1, -1, 0])
@pytest.mark.parametrize("activation", [None, "relu"])
def test_evaluation_is_batch_norms(axis, activation, backend, dtype):
    a = arrays((4, 4, 4), axis, dtype)
    running = np.linspace(-1, 1, 4, dtype=dtype), np.linspace(1, 2, 4, dtype=dtype)
    kw = {"training": False, "axis": axis, "activation": activation, "eps": 1e-3}
    out = np.empty_like(a.x)
    y, saved = F.instance_norm(a.x, a.weight, a.bias, *running, out=out, **kw)
    other, other_saved = F.batch_norm(a.x, a.weight, a.bias, *running, **kw)
    assert y is out
    assert np.array_equal(y, other)
    dweight = np.empty(4, dtype)
    ours = F.instance_norm_backward(a.dy, saved, dweight=dweight)
    assert ours[1] is dweight
    for one, another in zip(ours, F.batch_norm_backward(a.dy, other_saved), strict=True):
        assert np.array_equal(one, another)


def test_evaluation_needs_running_statistics(backend):
    with pytest.raises(ValueError, match="running_mean and running_var must be given"):
        F.instance_norm(np.ones((2, 3, 4)), training=False)


@pytest.mark.parametrize(("shape", "axis"), [((5, 4), 1), ((5, 4, 1, 1), 1), ((5, 1, 4), -1)])
def test_one_value_per_instance_is_refused(shape, axis, backend, dtype):
    running_mean = np.zeros(4, dtype)
    with pytest.raises(
        ValueError, match=r"more than one value per instance.*batch norm.*group norm.*layer norm"
    ):
        F.instance_norm(np.ones(shape, dtype), running_mean=running_mean, axis=axis)
    assert not running_mean.any()
    y, _ = F.instance_norm(
        np.ones(shape, dtype),
        None,
        None,
        running_mean,
        np.ones(4, dtype),
        training=False,
        axis=axis,
    )
    assert np.all(np.isfinite(y))
