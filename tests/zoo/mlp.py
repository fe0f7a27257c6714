"""Networks of rows: norms before and after the activation, tables of embeddings, tied weights."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from .builder import Graph
from .layers import bias, gemm, kernel, matmul, norm
from .registry import model
from .shapes import dropout, reshape

BATCH = {"N": 3}


@model(
    norms=0,
    added=-1,
    why="every form of Gemm and MatMul in front of a norm; MatMul of rows, with an Add or bare, "
    "becomes a Gemm",
    inputs=BATCH,
)
def mlp_norm_before_activation(g: Graph) -> None:
    x = g.input("row", ["N", 10])
    x = g("Relu", norm(g, gemm(g, x, 10, 16), 16))
    row = g.const(g.normal((1, 12), 0.3), "bias")
    x = g("Gemm", x, kernel(g, (16, 12), 16), row, alpha=0.5, beta=2.0)
    x = g("Tanh", norm(g, x, 12))
    x = g("Relu", norm(g, gemm(g, x, 12, 12, with_bias=False), 12))
    x = g("Elu", norm(g, matmul(g, x, 12, 10), 10))
    x = g("Sigmoid", norm(g, matmul(g, x, 10, 8, with_bias=False), 8))
    scalar = g.const(np.array(0.25), "bias")
    g.output(norm(g, g("Gemm", x, kernel(g, (8, 4), 8), scalar), 4), "logits")


@model(
    norms=0,
    added=-1,
    why="every norm is read by linear operations only: rows of their weights and their biases take "
    "it; MatMul and Add become a Gemm",
    inputs=BATCH,
)
def mlp_norm_after_activation(g: Graph) -> None:
    x = norm(g, g.input("row", ["N", 10]), 10)
    x = norm(g, g("Relu", gemm(g, x, 10, 16)), 16)
    x = norm(g, g("Tanh", matmul(g, x, 16, 12)), 12)
    x = norm(g, g("Softplus", matmul(g, x, 12, 12, with_bias=False)), 12)
    x = g("Gemm", x, kernel(g, (12, 8), 12), bias(g, 8), alpha=0.5, beta=0.25)
    x = dropout(g, norm(g, g("Sigmoid", x), 8))
    heads = [gemm(g, x, 8, 4), gemm(g, x, 8, 4, with_bias=False)]
    g.output(g("Softmax", heads[0], axis=-1), "probabilities")
    g.output(heads[1], "values")


@model(
    norms=0,
    why="the input's norm goes forward through Concat, beside embeddings it does not touch; the "
    "others go into the Gemm behind them; that over tables goes into the tables",
    inputs={"N": 3, "colour": (0, 7), "size": (0, 5)},
)
def tabular(g: Graph) -> None:
    x = norm(g, g.input("numbers", ["N", 6]), 6)
    parts = []
    for name, rows, width in (("colour", 7, 4), ("size", 5, 3)):
        index = g.input(name, ["N"], TensorProto.INT64)
        parts.append(g("Gather", g.const(g.normal((rows, width)), "table"), index, axis=0))
    x = g("Concat", *parts, x, axis=1)
    x = norm(g, g("Relu", gemm(g, x, 13, 16)), 16)
    x = norm(g, g("Relu", gemm(g, dropout(g, x), 16, 8)), 8)
    g.output(gemm(g, x, 8, 1), "price")


@model(
    norms=0,
    why="both tables and the linear layer under the Concat take their part of the norm",
    inputs={"N": 3, "user": (0, 9), "item": (0, 11)},
)
def embeddings(g: Graph) -> None:
    parts = []
    for name, rows in (("user", 9), ("item", 11)):
        index = g.input(name, ["N"], TensorProto.INT64)
        parts.append(g("Gather", g.const(g.normal((rows, 6)), "table"), index, axis=0))
    parts.append(gemm(g, g.input("context", ["N", 4]), 4, 6))
    x = g("Tanh", norm(g, g("Concat", *parts, axis=1), 18))
    g.output(gemm(g, x, 18, 1), "score")


@model(
    norms=0,
    why="encoder and decoder share one matrix; each takes a norm in a copy of its own",
    inputs=BATCH,
)
def tied_autoencoder(g: Graph) -> None:
    weight = kernel(g, (8, 14), 14)
    x = g("Gemm", g.input("row", ["N", 14]), weight, bias(g, 8), transB=1)
    x = norm(g, g("Sigmoid", norm(g, x, 8)), 8)
    g.output(g("Gemm", x, weight, bias(g, 14)), "again")


@model(
    norms=0,
    added=-1,
    why="Flatten with H·W > 1 repeats every channel; average pooling commutes; a ReLU-less "
    "convolution takes the rest; MatMul and Add become a Gemm",
    inputs=BATCH,
)
def norms_before_heads(g: Graph) -> None:
    """Norms over images, read through Flatten, Reshape and pooling by linear layers."""
    x = g.input("image", ["N", 4, 6, 6])
    maps = g("Relu", g("Conv", x, kernel(g, (8, 4, 3, 3), 36), strides=[2, 2], pads=[1] * 4))
    first = gemm(g, g("Flatten", norm(g, maps, 8)), 72, 4)
    second = matmul(g, reshape(g, norm(g, maps, 8), -1, 72), 72, 4)
    pooled = g("Flatten", g("GlobalAveragePool", norm(g, maps, 8)))
    third = g("Conv", norm(g, maps, 8), kernel(g, (4, 8, 3, 3), 72), bias(g, 4))
    g.output(g("Sum", first, second, gemm(g, pooled, 8, 4)), "logits")
    g.output(third, "map")
