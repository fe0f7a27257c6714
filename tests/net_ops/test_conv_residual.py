"""A residual added inside a convolution's pass is the sum behind it, forward and backward, in layers and blocks too."""

from __future__ import annotations

import numpy as np
import pytest

import bncore as bn
from bncore import functional as F
from tests.helpers import central_difference, relative_error, tolerance

layouts = pytest.mark.parametrize("axis", [1, -1], ids=["channels first", "channels last"])
activations = pytest.mark.parametrize("activation", [None, "relu"])
# out channels, groups, kernel: products, depthwise, 1x1 without patches; more images than one band holds
KINDS = [(7, 1, 3), (4, 4, 3), (6, 2, 3), (33, 1, 1)]
kinds = pytest.mark.parametrize(("out", "groups", "kernel"), KINDS, ids=str)


def arrays(out, groups, kernel, axis, dtype, images=9):
    rng = np.random.default_rng(4)
    shapes = [(images, 4, 10, 9), (images, out, 10, 9)]
    if axis == -1:
        shapes = [(n, h, w, c) for n, c, h, w in shapes]
    x, residual = (rng.standard_normal(s).astype(dtype) for s in shapes)
    weight = rng.standard_normal((out, 4 // groups, kernel, kernel)).astype(dtype)
    return x, weight, rng.standard_normal(out).astype(dtype), residual


@layouts
@activations
@kinds
@pytest.mark.parametrize("has_bias", [True, False])
def test_it_is_the_sum(out, groups, kernel, axis, activation, has_bias, backend, dtype):
    x, weight, bias, residual = arrays(out, groups, kernel, axis, dtype)
    bias = bias if has_bias else None
    kw = {"padding": kernel // 2, "groups": groups, "axis": axis}
    y, saved = F.conv2d(x, weight, bias, residual=residual, activation=activation, **kw)
    plain, _ = F.conv2d(x, weight, bias, **kw)
    wanted = plain + residual
    wanted = np.maximum(wanted, 0) if activation else wanted
    assert relative_error(y, wanted) <= tolerance(dtype, 8)
    dy = residual[::-1].copy()
    g = np.where(y > 0, dy, 0) if activation else dy
    dx, dweight, dbias, dresidual = F.conv2d_backward(dy, saved)
    assert np.array_equal(dresidual, g)
    _, plain_saved = F.conv2d(x, weight, bias, **kw)
    for ours, theirs in zip((dx, dweight, dbias), F.conv2d_backward(g, plain_saved), strict=True):
        assert (ours is None and theirs is None) or np.array_equal(ours, theirs)


@layouts
def test_gradients_are_central_differences(axis, backend):
    x, weight, bias, residual = arrays(3, 1, 3, axis, np.float64, images=2)
    kw = {"padding": 1, "axis": axis, "activation": "relu"}
    y, saved = F.conv2d(x, weight, bias, residual=residual, **kw)
    dy = np.cos(np.arange(y.size, dtype=np.float64)).reshape(y.shape)
    gradients = F.conv2d_backward(dy, saved)
    for got, wanted in (
        (
            gradients[0],
            central_difference(
                lambda v: F.conv2d(v, weight, bias, residual=residual, **kw)[0], x, dy
            ),
        ),
        (
            gradients[3],
            central_difference(
                lambda v: F.conv2d(x, weight, bias, residual=v, **kw)[0], residual, dy
            ),
        ),
    ):
        np.testing.assert_allclose(got, wanted, rtol=1e-6, atol=1e-7 * np.max(np.abs(wanted)))


@layouts
def test_transposed_and_one_dimensional_convolutions_take_it_too(axis, backend, dtype):
    rng = np.random.default_rng(1)
    x = rng.standard_normal((3, 4, 5, 4) if axis == -1 else (3, 4, 5, 5)).astype(dtype)
    weight = rng.standard_normal((4, 6, 2, 2)).astype(dtype)
    plain, _ = F.conv_transpose2d(x, weight, None, stride=2, axis=axis)
    r = rng.standard_normal(plain.shape).astype(dtype)
    y, _ = F.conv_transpose2d(x, weight, None, stride=2, axis=axis, residual=r)
    assert relative_error(y, plain + r) <= tolerance(dtype, 8)
    x1 = rng.standard_normal((3, 8, 8)).astype(dtype)
    weight1 = rng.standard_normal((5, 8, 3)).astype(dtype)
    plain1, _ = F.conv1d(x1, weight1, padding=1, axis=axis)
    y1, saved = F.conv1d(x1, weight1, padding=1, axis=axis, residual=plain1)
    assert relative_error(y1, 2 * plain1) <= tolerance(dtype, 8)
    assert F.conv1d_backward(plain1, saved)[3].shape == plain1.shape


def test_a_wrong_residual_is_named(backend):
    x, weight, bias, residual = arrays(7, 1, 3, 1, np.float32)
    with pytest.raises(ValueError, match=r"residual must have shape \(9, 7, 10, 9\)"):
        F.conv2d(x, weight, bias, padding=1, residual=residual[:, :3])
    with pytest.raises(ValueError, match="out must not overlap an input"):
        F.conv2d(x, weight, bias, padding=1, residual=residual, out=residual)


@activations
def test_a_residual_block_that_ends_in_a_convolution(activation, backend):
    """As after folding: the sum is part of the convolution's pass, with the gradients of the separate steps."""
    rng = np.random.default_rng(0)
    conv = bn.Conv2d(3, 3, 3, padding=1, rng=1, dtype=np.float64)
    block = bn.Residual(bn.Sequential(bn.Tanh(), conv), activation=activation)
    x, dy = rng.standard_normal((2, 2, 3, 6, 6))
    y = block(x)
    inner, _ = F.conv2d(np.tanh(x), conv.weight, conv.bias, padding=1)
    np.testing.assert_allclose(y, np.maximum(inner + x, 0) if activation else inner + x, atol=1e-12)
    wanted = central_difference(block, x, dy)
    y = block(x)
    np.testing.assert_allclose(
        block.backward(dy), wanted, rtol=1e-5, atol=1e-7 * np.max(np.abs(wanted))
    )
