"""Attention with norms of other kinds or in other places than transformers have them."""

from __future__ import annotations

import numpy as np

from .builder import Graph
from .layers import bias, classifier, conv_norm, gemm, kernel, matmul, norm, silu
from .registry import model
from .shapes import reduce_mean, reshape, split, transpose

BATCH = {"N": 2}


def _attention(g: Graph, q: str, k: str, v: str, width: int) -> str:
    """Of (batch, heads, length, width)."""
    scores = g("MatMul", q, transpose(g, k, 0, 1, 3, 2))
    scores = g("Mul", scores, g.const(np.array(width**-0.5), "factor"))
    return g("MatMul", g("Softmax", scores, axis=-1), v)


def _linear_norm(g: Graph, x: str, ci: int, co: int, length: int) -> str:
    """LeViT's Linear_BN: no bias, the norm over rows."""
    rows = reshape(g, g("MatMul", x, kernel(g, (ci, co), ci)), -1, co)
    return reshape(g, norm(g, rows, co), -1, length, co)


@model(
    norms=0,
    added=3,
    why="the norm's axis is the feature axis of the MatMul behind Reshape; each linear layer "
    "without a bias gets an Add, but for the last one, whose shift goes on to the Gemm with "
    "the head's norm",
    inputs=BATCH,
    value_info=True,
)
def levit(g: Graph) -> None:
    x = g("HardSwish", conv_norm(g, g.input("image", ["N", 3, 16, 16]), 3, 8, act="", stride=2))
    x = conv_norm(g, x, 8, 12, act="", stride=2)
    x, length = transpose(g, reshape(g, x, -1, 12, 16), 0, 2, 1), 16
    qkv = reshape(g, _linear_norm(g, x, 12, 36, length), -1, length, 2, 18)
    parts = split(g, transpose(g, qkv, 0, 2, 1, 3), [6, 6, 6], axis=3)
    y = transpose(g, _attention(g, *parts, width=6), 0, 2, 1, 3)
    y = g("HardSwish", reshape(g, y, -1, length, 12))
    x = g("Add", x, _linear_norm(g, y, 12, 12, length))
    y = g("HardSwish", _linear_norm(g, x, 12, 24, length))
    x = g("Add", x, _linear_norm(g, y, 24, 12, length))
    g.output(gemm(g, norm(g, reduce_mean(g, x, 1), 12), 12, 5), "logits")


@model(
    norms=0,
    added=-3,
    why="the only batch norm follows the stem; the two layer scales are constant Muls behind "
    "linear layers, the last bias goes on to the Gemm; layer norms are not folded at these "
    "levels",
    inputs=BATCH,
    opset=20,
)
def convnext(g: Graph) -> None:
    x = silu(g, conv_norm(g, g.input("image", ["N", 3, 16, 16]), 3, 8, 4, act="", stride=4, pad=0))
    for _ in range(2):
        y = g("Conv", x, kernel(g, (8, 1, 7, 7), 49), bias(g, 8), pads=[3] * 4, group=8)
        y = transpose(g, y, 0, 2, 3, 1)
        y = g("LayerNormalization", y, bias(g, 8), bias(g, 8), axis=-1)
        y = matmul(g, g("Gelu", matmul(g, y, 8, 24)), 24, 8)
        y = g("Mul", y, g.const(g.normal((8,), 0.5), "layer_scale"))
        x = g("Add", x, transpose(g, y, 0, 3, 1, 2))
    classifier(g, x, 8)


@model(
    norms=0,
    added=-3,
    why="the first norm moves behind the residual Add, whose other summand is linear and takes "
    "1/s; the second is read by the head alone; so are the biases of what is added to the "
    "stream",
    inputs=BATCH,
)
def patch_transformer(g: Graph) -> None:
    """A transformer for series with batch norm where others have layer norm, behind the Add."""
    length, c = 6, 8
    x = matmul(g, g.input("patches", ["N", length, 5]), 5, c)
    heads = (
        transpose(g, reshape(g, matmul(g, x, c, c), -1, length, 2, 4), 0, 2, 1, 3) for _ in range(3)
    )
    y = transpose(g, _attention(g, *heads, width=4), 0, 2, 1, 3)
    y = matmul(g, reshape(g, y, -1, length, c), c, c)
    x = transpose(g, norm(g, transpose(g, g("Add", x, y), 0, 2, 1), c), 0, 2, 1)
    y = matmul(g, g("Tanh", matmul(g, x, c, 16)), 16, c)
    x = transpose(g, norm(g, transpose(g, g("Add", x, y), 0, 2, 1), c), 0, 2, 1)
    g.output(gemm(g, reduce_mean(g, x, 1), c, 3), "forecast")


@model(
    norms=1,
    added=-2,
    why="batch norms follow convolutions, also under Split; the group norm's Mul and Add are one "
    "pass as a batch norm; group and instance norms are not folded at these levels",
    inputs=BATCH,
)
def mixed_norms(g: Graph) -> None:
    """IBN-Net: half of the channels through an instance norm; a group norm in pieces."""
    x = conv_norm(g, g.input("image", ["N", 3, 12, 12]), 3, 8)
    left, right = split(g, g("Conv", x, kernel(g, (8, 8, 3, 3), 72), pads=[1] * 4), [4, 4])
    left = g("InstanceNormalization", left, bias(g, 4), bias(g, 4))
    x = g("Relu", g("Concat", left, norm(g, right, 4), axis=1))
    x = g("Conv", x, kernel(g, (8, 8, 1, 1), 8))
    rows = reshape(g, x, 0, 2, -1)
    one, zero = g.const(np.ones(2), "one"), g.const(np.zeros(2), "zero")
    x = reshape(g, g("InstanceNormalization", rows, one, zero), -1, 8, 12, 12)
    x = g("Mul", x, g.const(g.normal((8, 1, 1)), "gamma"))
    x = g("Add", x, g.const(g.normal((8, 1, 1)), "beta"))
    classifier(g, g("Relu", x), 8)
