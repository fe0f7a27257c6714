"""Dropout: the mask comes from the generator alone, kept values are scaled, both ends of p work."""

import numpy as np
import pytest

from bncore import functional as F

pytestmark = pytest.mark.usefixtures("backend")


def generator():
    return np.random.default_rng(12345)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_elements_are_dropped_with_probability_p_and_the_others_scaled(p, dtype):
    x = np.random.default_rng(1).normal(size=(200, 301)).astype(dtype)
    y, _ = F.dropout(x, p, generator())
    kept = y != 0
    assert abs(1 - kept.mean() - p) < 5 * np.sqrt(p * (1 - p) / x.size)
    np.testing.assert_allclose(y[kept], (x / (1 - p))[kept], rtol=4 * np.finfo(dtype).eps)


def test_mask_is_the_generators(dtype):
    x = np.ones((7, 11), dtype)
    y, _ = F.dropout(x, 0.3, generator())
    np.testing.assert_array_equal(y != 0, generator().random((7, 11), dtype=np.float32) >= 0.3)


def test_mask_does_not_depend_on_dtype_or_layout(dtype):
    y, _ = F.dropout(np.ones((6, 8), dtype), 0.4, generator())
    z, _ = F.dropout(np.ones((8, 6), np.float64).T, 0.4, generator())
    np.testing.assert_array_equal(y != 0, z != 0)


def test_bits_do_not_depend_on_threads(dtype, with_threads):
    x = np.random.default_rng(2).normal(size=300_001).astype(dtype)
    first, *others = [with_threads(n, lambda: F.dropout(x, 0.5, generator())[0]) for n in (1, 2, 8)]
    for other in others:
        np.testing.assert_array_equal(first, other)


def test_gradient_passes_where_the_value_did(dtype):
    x = np.random.default_rng(3).normal(size=(5, 33)).astype(dtype)
    y, saved = F.dropout(x, 0.25, generator())
    dx = F.dropout_backward(np.ones_like(x), saved)
    np.testing.assert_allclose(dx, np.where(y != 0, 1 / 0.75, 0), rtol=4 * np.finfo(dtype).eps)


def test_p_zero_returns_an_equal_array_and_draws_nothing(dtype):
    x, rng = np.ones((3, 4), dtype), generator()
    y, saved = F.dropout(x, 0, rng)
    assert y is not x
    np.testing.assert_array_equal(y, x)
    np.testing.assert_array_equal(F.dropout_backward(x, saved), x)
    assert rng.bit_generator.state == generator().bit_generator.state


def test_p_one_drops_everything(dtype):
    x = np.ones((3, 4), dtype)
    y, saved = F.dropout(x, 1.0, generator())
    np.testing.assert_array_equal(y, 0)
    np.testing.assert_array_equal(F.dropout_backward(x, saved), 0)


def test_nan_is_not_hidden(dtype):
    x = np.full(100, np.nan, dtype)
    assert np.isnan(F.dropout(x, 0.5, generator())[0]).all()


def test_out_may_be_the_input(dtype):
    x = np.random.default_rng(4).normal(size=(5, 33)).astype(dtype)
    for p in (0.0, 0.5, 1.0):
        expected, _ = F.dropout(x, p, generator())
        out, same = np.empty_like(x), x.copy()
        assert F.dropout(x, p, generator(), out=out)[0] is out
        assert F.dropout(same, p, generator(), out=same)[0] is same
        np.testing.assert_array_equal(out, expected)
        np.testing.assert_array_equal(same, expected)


def test_empty_input(dtype):
    y, saved = F.dropout(np.empty((0, 3), dtype), 0.5, generator())
    assert y.shape == (0, 3) and F.dropout_backward(y, saved).shape == (0, 3)


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan"), float("inf")])
def test_impossible_probabilities_are_refused(p):
    with pytest.raises(ValueError, match="p must be a number in"):
        F.dropout(np.ones(3), p, generator())


def test_wrong_arguments_are_refused():
    with pytest.raises(TypeError, match="rng must be a numpy.random.Generator"):
        F.dropout(np.ones(3), 0.5, 0)
    with pytest.raises(TypeError, match="rng must be a numpy.random.Generator"):
        F.dropout(np.ones(3), 0.5, np.random.RandomState(0))
    with pytest.raises(TypeError, match="p must be a number"):
        F.dropout(np.ones(3), "half", generator())
    with pytest.raises(TypeError, match="x must be float32 or float64"):
        F.dropout(np.ones(3, int), 0.5, generator())
    _, saved = F.dropout(np.ones(3), 0.5, generator())
    with pytest.raises(ValueError, match=r"dy must have shape \(3,\)"):
        F.dropout_backward(np.ones(4), saved)
    with pytest.raises(TypeError, match="dy must have dtype float64"):
        F.dropout_backward(np.ones(3, np.float32), saved)


@pytest.mark.parametrize("p", [0.0, 0.5, 1.0])
def test_out_may_be_the_input_when_it_is_a_memmap(p, dtype, tmp_path):
    x = np.random.default_rng(3).normal(size=(4, 9)).astype(dtype)
    mapped = np.memmap(tmp_path / "x", dtype, "w+", shape=x.shape)
    mapped[...] = x
    expected, saved = F.dropout(x, p, generator())
    F.dropout(mapped, p, generator(), out=mapped)
    np.testing.assert_array_equal(mapped, expected)
    mapped[...] = x
    F.dropout_backward(mapped, saved, out=mapped)
    np.testing.assert_array_equal(mapped, F.dropout_backward(x, saved))
