"""Sequences: recurrent layers with norms around them, dilated 1-D convolutions, sets of points."""

from __future__ import annotations

from .builder import Graph
from .layers import classifier, conv, conv_norm, gemm, norm, pool, recurrent
from .registry import model
from .shapes import dropout, pad, reduce_max, reduce_sum, reshape, squeeze, transpose


@model(
    norms=0,
    why="those in front of an LSTM go into its input weights, through Transpose; that behind it "
    "into the linear layer; the others follow convolutions",
    inputs={"N": 2},
)
def crnn(g: Graph) -> None:
    x = conv_norm(g, g.input("image", ["N", 1, 8, 24]), 1, 8)
    x = conv_norm(g, pool(g, x), 8, 12)
    x = pool(g, x, strides=[2, 1], k=2, pads=[0, 0, 0, 1])
    x = g("Relu", conv(g, x, 12, 12, 2, pad=0, with_bias=True))
    x = transpose(g, norm(g, squeeze(g, x, 2), 12), 2, 0, 1)
    y = recurrent(g, "LSTM", x, 12, 10)
    y = reshape(g, transpose(g, y, 0, 2, 1, 3), -1, 20)
    y = gemm(g, norm(g, y, 20), 20, 6)
    g.output(reshape(g, y, 11, -1, 6), "letters")


@model(
    norms=0,
    why="norms of (steps·batch, features) reach the GRU's input weights through Reshape, which "
    "keeps the last axis, and the last one the linear layer",
    inputs={"N": 2},
)
def deep_speech(g: Graph) -> None:
    x = conv_norm(g, g.input("spectrum", ["N", 1, 12, 18]), 1, 4, 3, act="Relu", stride=2)
    x = transpose(g, reshape(g, x, -1, 24, 9), 2, 0, 1)
    for size, reset in ((24, 1), (10, 0)):
        x = reshape(g, norm(g, reshape(g, x, -1, size), size), 9, -1, size)
        x = recurrent(g, "GRU", x, size, 10, linear_before_reset=reset)
        x = reduce_sum(g, x, 1)
    x = gemm(g, norm(g, reshape(g, x, -1, 10), 10), 10, 7)
    g.output(reshape(g, x, 9, -1, 7), "letters")


@model(
    norms=0,
    why="the first norm passes reflecting padding into a convolution without padding of its own; "
    "the others follow convolutions",
    inputs={"N": 2},
)
def temporal_convolutions(g: Graph) -> None:
    x = norm(g, g.input("signal", ["N", 4, 32]), 4)
    x = g("Relu", conv(g, pad(g, x, [0, 0, 2, 0, 0, 2], "reflect"), 4, 8, 5, pad=0, dims=1))
    for dilation in (1, 2):
        y = pad(g, x, [0, 0, 2 * dilation, 0, 0, 0])
        y = g("Relu", norm(g, conv(g, y, 8, 8, pad=0, dims=1, dilation=dilation), 8))
        x = g("Add", x, norm(g, conv(g, y, 8, 8, 1, dims=1), 8))
    classifier(g, x, 8)


@model(
    norms=0, why="every norm follows a pointwise convolution or a Gemm", inputs={"N": 2, "P": 20}
)
def pointnet(g: Graph) -> None:
    """With the network that estimates a 3 x 3 transform of the points; their number is dynamic."""
    points = g.input("points", ["N", 3, "P"])
    t = conv_norm(g, conv_norm(g, points, 3, 8, 1, dims=1), 8, 12, 1, dims=1)
    t = g("Relu", norm(g, gemm(g, reduce_max(g, t, 2), 12, 8), 8))
    t = reshape(g, gemm(g, t, 8, 9), -1, 3, 3)
    x = transpose(g, g("MatMul", transpose(g, points, 0, 2, 1), t), 0, 2, 1)
    x = conv_norm(g, x, 3, 8, 1, dims=1)
    x = reduce_max(g, conv_norm(g, x, 8, 16, 1, act="", dims=1), 2)
    x = g("Relu", norm(g, dropout(g, gemm(g, x, 16, 12)), 12))
    g.output(gemm(g, x, 12, 4), "logits")
