"""Masked batch norm: what is masked is as if it were not there, to the bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bncore import backend as backends
from bncore import functional as F
from tests.helpers import central_difference, relative_error, tolerance

LENGTHS = np.array([5, 0, 9, 1, 12, 7])


def sequences(rng, axis, padded, dtype=np.float64, c=3, lengths=LENGTHS, mean=3):
    """(N, L, C) or (N, C, L) with garbage behind every sequence, the valid part independent of `padded`."""
    n = len(lengths)
    valid = [rng.standard_normal((length, c)) + mean for length in lengths]
    x = np.full((n, padded, c), np.nan)
    for i, part in enumerate(valid):
        x[i, : len(part)] = part
        x[i, len(part) :: 2] = 1e30
    x = x if axis == -1 else np.moveaxis(x, 2, 1)
    return np.ascontiguousarray(x, dtype), np.concatenate(valid).astype(dtype)


def valid_part(a, axis, lengths=LENGTHS):
    """(m, C): the valid positions in order."""
    a = a if axis == -1 else np.moveaxis(a, 1, 2)
    return np.concatenate([a[i, :length] for i, length in enumerate(lengths)])


def masked_part(a, axis, lengths=LENGTHS):
    a = a if axis == -1 else np.moveaxis(a, 1, 2)
    return np.concatenate([a[i, length:] for i, length in enumerate(lengths)])


def run(x, dy, axis, lengths=LENGTHS, renorm=False, **options):
    """y, dx, dweight, dbias[, dresidual], running mean and spread."""
    c = x.shape[axis]
    rng = np.random.default_rng(3)
    weight, bias = rng.normal(1, 0.3, c).astype(x.dtype), rng.normal(0, 0.3, c).astype(x.dtype)
    mean, spread = np.zeros(c, x.dtype), np.ones(c, x.dtype)
    norm = F.batch_renorm if renorm else F.batch_norm
    mask = None if lengths is None else lengths
    y, saved = norm(x, weight, bias, mean, spread, axis=axis, mask=mask, momentum=0.1, **options)
    return (y, *F.batch_norm_backward(dy, saved), mean, spread)


@pytest.mark.parametrize("renorm", [False, True], ids=["norm", "renorm"])
@pytest.mark.parametrize("activation", [None, "relu"])
@pytest.mark.parametrize("axis", [1, -1])
def test_masked_equals_packed(backend, rng, axis, activation, renorm):
    x, packed = sequences(rng, axis, 15)
    dy, packed_dy = sequences(rng, axis, 15)
    got = run(x, dy, axis, activation=activation, renorm=renorm)
    expected = run(packed, packed_dy, -1, None, activation=activation, renorm=renorm)
    for i, (value, exact) in enumerate(zip(got, expected, strict=True)):
        value = valid_part(value, axis) if i < 2 else value
        assert relative_error(value, exact) < 1e-12
    for out in got[:2]:
        assert not masked_part(out, axis).any()


@pytest.mark.parametrize("renorm", [False, True], ids=["norm", "renorm"])
@pytest.mark.parametrize("activation", [None, "relu"])
@pytest.mark.parametrize("axis", [1, -1])
@pytest.mark.parametrize("c", [3, 70])
def test_the_amount_of_padding_changes_no_bit(backend, dtype, axis, activation, renorm, c):
    results = []
    for padded in (12, 13, 40):
        rng = np.random.default_rng(7)
        x, _ = sequences(rng, axis, padded, dtype, c)
        dy, _ = sequences(rng, axis, padded, dtype, c)
        got = run(x, dy, axis, activation=activation, renorm=renorm)
        results.append([valid_part(a, axis) if a.ndim == 3 else a for a in got])
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("axis", [1, -1])
def test_sequences_of_one_step_without_padding_are_no_exception(backend, dtype, axis):
    lengths = np.array([1, 0, 1] * 50)
    results = []
    for padded in (1, 2, 5):
        rng = np.random.default_rng(7)
        x, _ = sequences(rng, axis, padded, dtype, 70, lengths)
        dy, _ = sequences(rng, axis, padded, dtype, 70, lengths)
        got = run(x, dy, axis, lengths, activation="relu")
        results.append([valid_part(a, axis, lengths) if a.ndim == 3 else a for a in got])
        grid = np.arange(padded) < lengths[:, None]
        for a, b in zip(got, run(x, dy, axis, grid, activation="relu"), strict=True):
            np.testing.assert_array_equal(a, b)
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("axis", [1, -1])
def test_many_values_in_many_chunks(backend, dtype, axis):
    """Longer than a block and than a chunk, for one and more threads."""
    rng = np.random.default_rng(1)
    lengths = rng.integers(0, 900, 40)
    x, packed = sequences(rng, axis, 901, dtype, 8, lengths)
    dy, packed_dy = sequences(rng, axis, 901, dtype, 8, lengths, mean=0)
    got = run(x, dy, axis, lengths)
    expected = run(packed, packed_dy, -1, None)
    for i, (value, exact) in enumerate(zip(got, expected, strict=True)):
        value = valid_part(value, axis, lengths) if i < 2 else value
        assert relative_error(value, exact) < tolerance(dtype, 64)
    core = backends.native_module()
    if backend != "numpy" and core is not None:
        core.force_threads(3)
        try:
            for a, b in zip(got, run(x, dy, axis, lengths), strict=True):
                np.testing.assert_array_equal(a, b)
        finally:
            core.force_threads(0)


@pytest.mark.parametrize("axis", [1, -1, 2])
def test_masks_with_holes_in_images(backend, rng, dtype, axis):
    """Any pattern over the positions of a rank-4 input, with a residual: equals the selected positions as a batch."""
    shape = [6, 5, 4, 3]
    c = shape[axis]
    x, residual, dy = (rng.standard_normal(shape).astype(dtype) for _ in range(3))
    positions = np.delete(shape, axis)
    mask = rng.random(positions) < 0.4
    select = np.moveaxis(np.broadcast_to(np.expand_dims(mask, axis), shape), axis, -1)[..., 0]
    part = [np.moveaxis(a, axis, -1)[select] for a in (x, residual, dy)]
    y, saved = F.batch_norm(x, axis=axis, mask=mask, residual=residual, activation="relu")
    expected, expected_saved = F.batch_norm(part[0], axis=-1, residual=part[1], activation="relu")
    got = [y, *F.batch_norm_backward(dy, saved)]
    wanted = [expected, *F.batch_norm_backward(part[2], expected_saved)]
    assert got[2] is got[3] is None
    for a, b in ((got[0], wanted[0]), (got[1], wanted[1]), (got[4], wanted[4])):
        last = np.moveaxis(a, axis, -1)
        assert relative_error(last[select], b) < tolerance(dtype)
        assert not last[~select].any()
    assert c == saved.mean.size


def test_a_mask_over_samples_takes_them_out(backend, rng, dtype):
    x = rng.standard_normal((9, 4, 5)).astype(dtype)
    keep = np.array([1, 1, 0, 1, 0, 0, 1, 1, 0], bool)
    y, _ = F.batch_norm(x, mask=keep)
    expected, _ = F.batch_norm(np.ascontiguousarray(x[keep]))
    assert relative_error(y[keep], expected) < tolerance(dtype)
    assert not y[~keep].any()
    flat, _ = F.batch_norm(np.ascontiguousarray(x[..., 0]), mask=keep)
    assert not flat[~keep].any()


@pytest.mark.parametrize("axis", [1, -1])
def test_gradients_by_differences(backend, rng, axis):
    lengths = np.array([3, 1, 4])
    x = rng.standard_normal((3, 4, 2) if axis == -1 else (3, 2, 4))
    dy = rng.standard_normal(x.shape)
    weight, bias = rng.normal(1, 0.3, 2), rng.normal(0, 0.3, 2)
    _, saved = F.batch_norm(x, weight, bias, axis=axis, mask=lengths, activation="relu")
    dx, dweight, dbias = F.batch_norm_backward(dy, saved)

    def forward(x=x, weight=weight, bias=bias):
        return F.batch_norm(x, weight, bias, axis=axis, mask=lengths, activation="relu")[0]

    assert relative_error(dx, central_difference(lambda v: forward(x=v), x, dy)) < 1e-7
    assert (
        relative_error(dweight, central_difference(lambda v: forward(weight=v), weight, dy)) < 1e-7
    )
    assert relative_error(dbias, central_difference(lambda v: forward(bias=v), bias, dy)) < 1e-7


@pytest.mark.parametrize("axis", [1, -1])
def test_halves_and_evaluation_take_masks(backend, rng, axis):
    x, packed = sequences(rng, axis, 14)
    dy, _ = sequences(rng, axis, 14)
    stats = F.statistics(x, axis=axis, mask=LENGTHS)
    expected = F.statistics(packed, axis=-1)
    assert stats.count == LENGTHS.sum() == expected.count
    assert relative_error(stats.mean, expected.mean) < 1e-14
    assert relative_error(stats.var, expected.var) < 1e-13
    y, saved = F.normalize(x, stats, axis=axis, mask=LENGTHS)
    assert relative_error(valid_part(y, axis), F.normalize(packed, stats, axis=-1)[0]) < 1e-13
    sums = F.gradient_sums(dy, saved)
    assert sums.count == LENGTHS.sum()
    dx = F.input_gradient(dy, saved, sums)
    whole = F.batch_norm_backward(dy, F.batch_norm(x, axis=axis, mask=LENGTHS)[1])[0]
    assert relative_error(dx, whole) < 1e-12
    mean, var = stats.mean, stats.var
    for norm, spread in ((F.batch_norm, var), (F.batch_renorm, np.sqrt(var))):
        y, saved = norm(x, None, None, mean, spread, training=False, axis=axis, mask=LENGTHS)
        z, _ = norm(packed, None, None, mean, spread, training=False, axis=-1)
        assert relative_error(valid_part(y, axis), z) < 1e-13
        assert not masked_part(F.batch_norm_backward(dy, saved)[0], axis).any()


def test_nothing_valid_gives_zeros_and_changes_nothing(backend, rng, dtype):
    x = rng.standard_normal((3, 4, 5)).astype(dtype)
    for norm in (F.batch_norm, F.batch_renorm):
        mean, spread = np.zeros(4, dtype), np.ones(4, dtype)
        y, saved = norm(x, None, None, mean, spread, mask=np.zeros(3, int))
        assert not y.any()
        assert not mean.any()
        assert (spread == 1).all()
        assert not F.batch_norm_backward(x, saved)[0].any()
    assert F.statistics(x, mask=np.zeros((3, 5), bool)).count == 0


def test_empty_arrays_pass(backend, dtype):
    shapes = ((0, 3, 5), 1), ((2, 3, 0), 1), ((2, 0, 3), -1), ((2, 0, 3), 1), ((2, 3, 4, 0), 1)
    for shape, axis in shapes:
        x = np.empty(shape, dtype)
        longest = x.shape[2 if axis == 1 else 1]
        for lengths in (np.zeros(shape[0], int), np.full(shape[0], longest)):
            y, saved = F.batch_norm(x, axis=axis, mask=lengths)
            assert y.shape == F.batch_norm_backward(x, saved)[0].shape == shape


def test_lengths_of_any_integer_type_and_in_any_layout(backend, rng):
    x = rng.standard_normal((2, 200, 3, 4))
    lengths = np.array([150, 7], np.uint8)
    grid = np.arange(200) < lengths[:, None]
    for axis in (1, 2, 3):
        a = np.ascontiguousarray(np.moveaxis(x, 2, axis))
        for mask in (lengths, lengths.astype(np.int64), list(lengths)):
            np.testing.assert_array_equal(
                F.batch_norm(a, axis=axis, mask=mask)[0], F.batch_norm(a, axis=axis, mask=grid)[0]
            )


BAD = {
    "one position": (np.array([1, 0, 0]), ValueError, "a single valid position in input of shape"),
    "too long": (np.array([1, 2, 6]), ValueError, "lengths from 0 to 5, got 6"),
    "negative": (np.array([1, 2, -1]), ValueError, "lengths from 0 to 5, got -1"),
    "how many": (np.array([1, 2]), ValueError, r"shape \(3,\) if it holds lengths, got \(2,\)"),
    "floats": (np.ones((3, 5)), TypeError, "bool .* or of integer lengths, got float64"),
    "shape": (np.ones((3, 4), bool), ValueError, r"shape \(3, 5\).* got \(3, 4\)"),
    "with channels": (np.ones((3, 4, 5), bool), ValueError, r"shape \(3, 5\)"),
    "a scalar": (np.array(True), ValueError, r"shape \(3, 5\)"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_masks_are_explained(backend, case):
    mask, error, message = BAD[case]
    with pytest.raises(error, match=message):
        F.batch_norm(np.ones((3, 4, 5)), mask=mask)
    with pytest.raises(ValueError, match="got lengths"):
        F.batch_norm(np.ones((3, 4)), mask=np.ones(3, int))


def test_the_core_refuses_runs_that_leave_the_array(native):
    """They come from functional alone; a mistake there must not become a stray pointer."""
    core = backends.native_module()
    x = np.ones((2, 3, 4))
    for runs in (
        [[0, 0], [9, 2]],
        [[0, 1], [8, 2]],
        [[7, 0], [8, 2]],
        [[2, 0], [1, 2], [8, 3]],
        [[2, 0], [8, 4]],
        [[2, 0], [2, 2], [8, 3]],
    ):
        with pytest.raises(backends.Refused):
            core.statistics(x, 1, np.array(runs, np.int64))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_mask_selects(data):
    """On the backend in force: rank 2 to 4, any channel axis, any mask."""
    rank = data.draw(st.integers(2, 4))
    shape = tuple(data.draw(st.integers(1, 6)) for _ in range(rank))
    axis = data.draw(st.integers(0, rank - 1))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    positions = shape[:axis] + shape[axis + 1 :]
    mask = rng.random(positions) < data.draw(st.floats(0, 1))
    x = rng.standard_normal(shape)
    stats = F.statistics(x, axis=axis, mask=mask)
    selected = np.moveaxis(x, axis, -1)[mask]
    assert stats.count == len(selected)
    if len(selected):
        np.testing.assert_allclose(stats.mean, selected.mean(0), rtol=0, atol=1e-14)
        np.testing.assert_allclose(stats.var, selected.var(0), rtol=0, atol=1e-14)
    y, _ = F.normalize(x, stats, axis=axis, mask=mask)
    assert not np.moveaxis(y, axis, -1)[~mask].any()
