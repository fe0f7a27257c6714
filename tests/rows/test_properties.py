"""Properties of layer and RMS norm over random shapes: the formula holds, rows are strangers to each other."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bncore import functional as F
from tests.helpers import relative_error, tolerance
from tests.reference import rows as exact
from tests.rows.cases import KINDS, arrays, leading, norm, norm_backward, oracle, trailing

many = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@many
@given(
    shape=st.lists(st.integers(1, 9), min_size=1, max_size=5).map(tuple),
    data=st.data(),
    kind=st.sampled_from(KINDS),
    activation=st.sampled_from([None, "relu"]),
)
def test_random_shapes_and_axes(shape, data, kind, activation, backend, dtype):
    axes = data.draw(st.integers(1, len(shape)))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    x, dy = (rng.standard_normal(shape).astype(dtype) for _ in range(2))
    d = math.prod(shape[len(shape) - axes :])
    options = {"kind": oracle(kind), "axes": axes, "leading": leading(kind, d)}
    y, saved = norm(kind, x, axis=trailing(axes), activation=activation, eps=1e-3)
    pre = exact.forward(x, None, None, 1e-3, **options)
    # what is beside the measured values may be much larger than they are; two close values repeat their rounding
    size = max(1.0, float(np.max(np.abs(pre))))
    y_exact = np.where(pre < 0, 0, pre) if activation else pre
    assert np.max(np.abs(y - y_exact)) <= tolerance(dtype, 64) * size
    gate = y > 0 if activation else None
    dx, *_ = exact.backward(dy, x, None, 1e-3, open_gate=gate, **options)
    largest = float(np.max(saved.inv_std)) * size**2 * float(np.max(np.abs(dy)))
    assert np.max(np.abs(norm_backward(kind, dy, saved)[0] - dx)) <= tolerance(dtype, 256) * largest


@many
@given(
    n=st.integers(1, 200),
    d=st.integers(1, 300),
    seed=st.integers(0, 2**32),
    kind=st.sampled_from(KINDS),
)
def test_a_row_does_not_depend_on_its_neighbours(n, d, seed, kind, backend, dtype):
    """To the bit, forward: batches may be split and padded at will."""
    x = np.random.default_rng(seed).standard_normal((n, d)).astype(dtype)
    y, saved = norm(kind, x)
    for i in {0, n // 2, n - 1}:
        alone, alone_saved = norm(kind, x[i : i + 1])
        assert np.array_equal(alone[0], y[i])
        assert alone_saved.inv_std[0] == saved.inv_std[i]


@many
@given(n=st.integers(1, 70), d=st.integers(2, 300), seed=st.integers(0, 2**32))
def test_a_normalized_row_has_mean_0_and_mean_square_1(n, d, seed, backend, dtype):
    x = (np.random.default_rng(seed).standard_normal((n, d)) * 7 + 3).astype(dtype)
    y, saved = F.layer_norm(x, eps=0.0)
    rows = exact.by_row(y, 1)
    of_the_mean = tolerance(np.float64, 4) * float(np.max(np.abs(saved.mean) * saved.inv_std))
    allowed = tolerance(dtype, 256) + 4 * of_the_mean
    assert np.max(np.abs(np.mean(rows, axis=1))) <= allowed
    assert relative_error(np.mean(rows**2, axis=1), np.ones(n)) <= allowed
    rows = exact.by_row(F.rms_norm(x, eps=0.0)[0], 1)
    assert relative_error(np.mean(rows**2, axis=1), np.ones(n)) <= tolerance(dtype, 64)


@pytest.mark.parametrize("shape", [(4, 4), (33, 10), (64, 130), (9, 5000)], ids=str)
def test_layer_norm_is_batch_norm_turned_round(shape, backend, dtype):
    """A row's statistics are those of a channel of the transposed array."""
    x = arrays(shape, 1, dtype).x
    y, saved = F.layer_norm(x)
    turned, _ = F.batch_norm(np.ascontiguousarray(x.T))
    of_the_mean = tolerance(np.float64, 8) * float(np.max(np.abs(saved.mean) * saved.inv_std))
    assert np.max(np.abs(y - turned.T)) <= tolerance(dtype, 32) + of_the_mean
