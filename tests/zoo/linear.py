"""Linear operations in less usual clothes: Einsum, batched and left-hand weights, gates, scaled
residuals.
"""

from __future__ import annotations

import numpy as np

from .builder import Graph
from .layers import bias, classifier, conv, conv_norm, gemm, kernel, matmul, norm, recurrent
from .registry import model
from .shapes import reduce_mean, reshape, split, transpose

BATCH = {"N": 2}


@model(
    norms=0,
    added=1,
    why="the norm's axis is an Einsum's label that only the weight has (behind: its shift becomes "
    "an Add), or one it shares with the input (in front: rows and, with the Add there is, the "
    "shift)",
    inputs=BATCH,
)
def einsum_layers(g: Graph) -> None:
    x = g("Einsum", g.input("rows", ["N", 5, 6]), kernel(g, (6, 8), 6), equation="bld,de->bel")
    x = transpose(g, g("Sigmoid", norm(g, x, 8)), 0, 2, 1)
    x = reshape(g, norm(g, reshape(g, x, -1, 8), 8), -1, 5, 8)
    x = g("Einsum", x, kernel(g, (4, 8), 8), equation="bld,ed->ble")
    g.output(g("Tanh", g("Add", x, bias(g, 4))), "values")


@model(
    norms=0,
    added=-1,
    why="the weight is on the left: its rows are the norm's channels, and the bias is a column; the "
    "last one is constant along the Softmax's axis and goes",
    inputs=BATCH,
)
def token_mixing(g: Graph) -> None:
    """MLP-Mixer's mixing of tokens, with norms over tokens, behind and in front."""
    x = g.input("tokens", ["N", 6, 10])
    y = g("MatMul", kernel(g, (8, 6), 6), x)
    y = g("Tanh", norm(g, g("Add", y, g.const(g.normal((8, 1)), "bias")), 8))
    y = g("MatMul", kernel(g, (6, 8), 8), norm(g, y, 8))
    y = g("Add", g.const(g.normal((6, 1)), "bias"), y)
    g.output(g("Softmax", y, axis=-1), "weights")


@model(
    norms=1,
    why="one matrix a group: the scale over (group, feature) can be cut group by group, but the "
    "shift would stay as an Add in place of the norm",
    inputs=BATCH,
)
def grouped_matmul(g: Graph) -> None:
    x = transpose(g, reshape(g, g.input("row", ["N", 12]), -1, 3, 4), 1, 0, 2)
    x = transpose(g, g("MatMul", x, kernel(g, (3, 4, 5), 4)), 1, 0, 2)
    x = g("Tanh", norm(g, reshape(g, x, -1, 15), 15))
    g.output(gemm(g, x, 15, 3), "logits")


@model(
    norms=1,
    why="a gate from the data stands between convolution and norm: the scale passes it, the shift "
    "does not, and would stay as an Add",
    inputs=BATCH,
)
def norm_behind_gate(g: Graph) -> None:
    x = conv_norm(g, g.input("image", ["N", 3, 8, 8]), 3, 8)
    gate = g("Sigmoid", conv(g, g("GlobalAveragePool", x), 8, 8, 1, with_bias=True))
    x = norm(g, g("Mul", conv(g, x, 8, 8), gate), 8)
    classifier(g, g("Tanh", x), 8)


@model(
    norms=0,
    added=-4,
    why="constant factors on branches go into their convolutions with the norms; a sum of "
    "positions is scaled with its convolution; the last factor and the mean's shift go "
    "forward",
    inputs=BATCH,
)
def scaled_residuals(g: Graph) -> None:
    """ESRGAN's residual scaling, a table of positions, factors behind norms."""
    x = conv(g, g.input("image", ["N", 3, 8, 8]), 3, 8)
    x = norm(g, g("Add", x, g.const(g.normal((1, 8, 8, 8)), "positions")), 8)
    for factor in (0.2, 0.3):
        y = norm(g, conv(g, g("Relu", conv_norm(g, x, 8, 8)), 8, 8), 8)
        x = g("Add", x, g("Mul", y, g.const(np.array(factor), "factor")))
    x = g("Mul", reduce_mean(g, g("Relu", x), 2, 3), g.const(np.array(1.5)))
    x = g("Sub", x, g.const(g.normal((8,)), "centre"))
    g.output(gemm(g, x, 8, 3), "logits")


@model(
    norms=0,
    added=-1,
    why="rows of an RNN's input weight; the linear layer behind it, which becomes a Gemm",
    inputs=BATCH,
)
def plain_rnn(g: Graph) -> None:
    x = transpose(g, norm(g, g.input("steps", ["N", 6, 7]), 6), 2, 0, 1)
    hidden = 8
    w, r = (g.const(g.normal((1, hidden, n), 0.3), "weight") for n in (6, hidden))
    x = g("RNN", x, w, r, hidden_size=hidden)
    x = norm(g, reshape(g, x, -1, hidden), hidden)
    g.output(matmul(g, x, hidden, 3), "values")


@model(
    norms=0,
    why="one input with a norm feeds a GRU and an LSTM: both take it in copies of their weights",
    inputs=BATCH,
)
def two_recurrent_readers(g: Graph) -> None:
    x = transpose(g, norm(g, g.input("steps", ["N", 6, 7]), 6), 2, 0, 1)
    y = recurrent(g, "GRU", x, 6, 5, directions=1)
    z = recurrent(g, "LSTM", x, 6, 5, directions=1)
    g.output(g("Concat", y, z, axis=-1), "states")


@model(
    norms=0,
    why="double precision throughout",
    inputs=BATCH,
    storage=np.float64,
)
def double_precision(g: Graph) -> None:
    x = norm(g, gemm(g, g.input("row", ["N", 8]), 8, 12), 12)
    left, right = split(g, g("Tanh", x), [5, 7])
    left, right = gemm(g, norm(g, left, 5), 5, 4), gemm(g, norm(g, right, 7), 7, 4)
    g.output(norm(g, g("Add", left, right), 4), "logits")
