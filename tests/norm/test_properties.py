"""Properties of batch norm over random shapes: layouts agree, native and NumPy agree, a batch has mean 0, variance 1."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bncore import functional as F
from tests.helpers import relative_error, tolerance
from tests.reference import norm as exact

shapes = st.lists(st.integers(1, 9), min_size=2, max_size=5).map(tuple)
many = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@many
@given(shape=shapes, data=st.data())
def test_random_shapes_and_axes(shape, data, backend, dtype):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    x = rng.standard_normal(shape).astype(dtype)
    if x.size == x.shape[axis]:
        with pytest.raises(ValueError, match="more than one value"):
            F.batch_norm(x, axis=axis)
        return
    mean, var = exact.statistics(x, axis)
    y, saved = F.batch_norm(x, axis=axis)
    # the mean is a double: half a rounding of it, in deviations, is what y may be off where values are close together
    of_mean = np.finfo(np.float64).eps * np.max(np.abs(mean) / np.sqrt(var + 1e-5))
    error = np.max(np.abs(y - exact.forward(x, None, None, mean, var, 1e-5, axis)))
    assert error <= tolerance(dtype, 64) + of_mean
    dy = rng.standard_normal(shape).astype(dtype)
    dx_exact, *_ = exact.backward(dy, x, None, None, mean, var, 1e-5, axis, True)
    largest = np.max(1 / np.sqrt(var + 1e-5)) * np.max(np.abs(dy))
    assert (
        np.max(np.abs(F.batch_norm_backward(dy, saved)[0] - dx_exact))
        <= tolerance(dtype, 256) * largest
    )


@many
@given(n=st.integers(2, 70), c=st.integers(1, 80), s=st.integers(1, 90), seed=st.integers(0, 2**32))
def test_layouts_agree(n, c, s, seed, backend, dtype):
    x = np.random.default_rng(seed).standard_normal((n, c, s)).astype(dtype)
    last = np.ascontiguousarray(np.moveaxis(x, 1, -1))
    first_y, _ = F.batch_norm(x, axis=1, activation="relu")
    last_y, _ = F.batch_norm(last, axis=-1, activation="relu")
    np.testing.assert_allclose(
        np.moveaxis(last_y, -1, 1), first_y, rtol=0, atol=tolerance(dtype, 64)
    )


@many
@given(n=st.integers(2, 300), c=st.integers(1, 70), seed=st.integers(0, 2**32))
def test_a_normalized_batch_has_mean_0_and_variance_1(n, c, seed, backend, dtype):
    x = (np.random.default_rng(seed).standard_normal((n, c)) * 7 + 3).astype(dtype)
    y, saved = F.batch_norm(x, eps=0.0)
    mean, var = exact.statistics(y, 1)
    # float64 holds the mean to 2**-53 of itself: two values close to each other see that enlarged
    of_the_mean = tolerance(np.float64, 4) * float(np.max(np.abs(saved.mean) * saved.inv_std))
    assert np.max(np.abs(mean)) <= tolerance(dtype, 64) + of_the_mean
    assert relative_error(var, np.ones(c)) <= tolerance(dtype, 256) + of_the_mean
