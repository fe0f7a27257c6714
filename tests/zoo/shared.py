"""Weights used more than once."""

from __future__ import annotations

import numpy as np

from .builder import Graph
from .layers import bias, conv, conv_norm, conv_weight, gemm, norm, norm_params, pool
from .registry import model


@model(
    norms=0,
    why="one weight, three norms: each use takes its norm in a copy",
    inputs={"N": 2},
)
def shared_heads(g: Graph) -> None:
    """A detector's head, shared between levels; norms are not shared."""
    level = conv_norm(g, g.input("image", ["N", 3, 16, 16]), 3, 8)
    tower, last = conv_weight(g, 8, 8, 3), conv_weight(g, 8, 4, 3)
    for number in range(3):
        x = g("Relu", norm(g, conv(g, level, 8, 8, weight=tower), 8))
        g.output(conv(g, x, 8, 4, weight=last), f"level{number}")
        level = pool(g, level)


@model(
    norms=0,
    why="one layer with its norm, called twice: folded for both calls, once each",
    inputs={"N": 2},
)
def siamese(g: Graph) -> None:
    weight, params = conv_weight(g, 3, 8, 3), norm_params(g, 8)
    second, others = conv_weight(g, 8, 8, 3), norm_params(g, 8)
    codes = []
    for name in ("left", "right"):
        x = g(
            "Relu",
            norm(g, conv(g, g.input(name, ["N", 3, 8, 8]), 3, 8, weight=weight), 8, params=params),
        )
        x = norm(g, conv(g, x, 8, 8, weight=second, stride=2), 8, params=others)
        codes.append(g("Flatten", g("GlobalMaxPool", x)))
    distance = g("Abs", g("Sub", *codes))
    g.output(g("Sigmoid", gemm(g, distance, 8, 1)), "same")


@model(
    norms=0,
    why="vectors that several norms and a bias share are only read; a weight that another node "
    "reads too stays as it is there",
    inputs={"N": 2},
)
def shared_initializers(g: Graph) -> None:
    """What deduplicating exporters write: one vector is a bias, a beta and a mean at once."""
    common, ones = bias(g, 8), g.const(np.ones(8), "ones")
    weight = conv_weight(g, 8, 8, 3)
    x = g("Conv", g.input("image", ["N", 8, 8, 8]), weight, common, pads=[1] * 4)
    x = g("Relu", g("BatchNormalization", x, ones, common, common, ones))
    x = g("Conv", x, weight, pads=[1] * 4)
    x = g("Sigmoid", g("BatchNormalization", x, common, common, common, ones))
    x = g("Mul", x, g("ReduceMean", weight, keepdims=1))
    g.output(gemm(g, g("Flatten", g("GlobalAveragePool", x)), 8, 3), "logits")
