"""Properties over random shapes: the formula, layouts and samples agree, groups have mean 0 and variance 1."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bncore import functional as F
from tests.helpers import relative_error, tolerance
from tests.reference import group as exact

many = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
seeds = st.integers(0, 2**32)


@many
@given(
    before=st.lists(st.integers(1, 7), min_size=1, max_size=3),
    groups=st.integers(1, 5),
    channels=st.integers(1, 5),
    behind=st.lists(st.integers(1, 7), max_size=3),
    relu=st.booleans(),
    seed=seeds,
)
def test_random_shapes_and_axes(before, groups, channels, behind, relu, seed, backend, dtype):
    shape, axis = (*before, groups * channels, *behind), len(before)
    rng = np.random.default_rng(seed)
    x, dy = (rng.standard_normal(shape).astype(dtype) for _ in range(2))
    weight, bias = (rng.standard_normal(shape[axis]).astype(dtype) for _ in range(2))
    y, saved = F.group_norm(x, groups, weight, bias, axis=axis, activation="relu" if relu else None)
    wanted = exact.forward(x, groups, weight, bias, 1e-5, axis, relu)
    # two values close to each other: their deviation is a rounding or so, which y repeats
    assert np.max(np.abs(y - wanted)) <= tolerance(dtype, 64) * max(1, np.max(np.abs(weight)))
    dx, dweight, dbias = F.group_norm_backward(dy, saved)
    gate = y > 0 if relu else None
    dx_exact, dgamma, dbeta = exact.backward(dy, x, groups, weight, 1e-5, axis, gate)
    gain = max(1, np.max(np.abs(weight)))
    largest = np.max(saved.inv_std) * np.max(np.abs(dy)) * gain
    assert np.max(np.abs(dx - dx_exact)) <= tolerance(dtype, 256) * largest
    assert np.max(np.abs(dweight - dgamma)) <= tolerance(dtype, 64) * x.size
    assert np.max(np.abs(dbias - dbeta)) <= tolerance(dtype, 64) * x.size


@many
@given(
    n=st.integers(1, 9),
    groups=st.integers(1, 6),
    channels=st.integers(1, 12),
    s=st.integers(1, 90),
    seed=seeds,
)
def test_layouts_agree(n, groups, channels, s, seed, backend, dtype):
    x = np.random.default_rng(seed).standard_normal((n, groups * channels, s)).astype(dtype)
    last = np.ascontiguousarray(np.moveaxis(x, 1, -1))
    first_y, _ = F.group_norm(x, groups, activation="relu")
    last_y, _ = F.group_norm(last, groups, axis=-1, activation="relu")
    np.testing.assert_allclose(
        np.moveaxis(last_y, -1, 1), first_y, rtol=0, atol=tolerance(dtype, 64)
    )


@pytest.mark.parametrize(
    ("shape", "axis", "groups"),
    [((40, 6, 3), 1, 3), ((9, 64), 1, 8), ((20, 32, 9, 9), 1, 4), ((6, 11, 11, 8), -1, 2)],
    ids=str,
)
def test_samples_do_not_influence_each_other(shape, axis, groups, backend, dtype, rng):
    """To the bit: what a sample gives does not depend on the batch it is in."""
    x, dy = (rng.standard_normal(shape).astype(dtype) for _ in range(2))
    weight = rng.standard_normal(shape[axis]).astype(dtype)
    y, saved = F.group_norm(x, groups, weight, axis=axis)
    dx = F.group_norm_backward(dy, saved)[0]
    for i in (0, 5):
        alone, alone_saved = F.group_norm(x[i : i + 1], groups, weight, axis=axis)
        alone_dx = F.group_norm_backward(dy[i : i + 1], alone_saved)[0]
        # which values meet in one vector may differ with the number of samples, hence the roundings
        assert relative_error(alone[0], y[i]) <= tolerance(dtype, 8)
        assert relative_error(alone_dx[0], dx[i]) <= tolerance(dtype, 32)


@many
@given(n=st.integers(1, 9), groups=st.integers(1, 9), m=st.integers(2, 300), seed=seeds)
def test_a_normalized_group_has_mean_0_and_variance_1(n, groups, m, seed, backend, dtype):
    x = (np.random.default_rng(seed).standard_normal((n, groups, m)) * 7 + 3).astype(dtype)
    y, saved = F.group_norm(x, groups, eps=0.0)
    mean, var = exact.statistics(y, groups, 1)
    of_the_mean = tolerance(np.float64, 4) * float(np.max(np.abs(saved.mean) * saved.inv_std))
    assert np.max(np.abs(mean)) <= tolerance(dtype, 64) + of_the_mean
    assert relative_error(var, np.ones_like(var)) <= tolerance(dtype, 256) + of_the_mean
