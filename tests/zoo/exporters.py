"""How exporters write things: old files, Constant nodes, decomposed norms, dynamic shapes,
transposed layouts.
"""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from .builder import Graph
from .layers import (
    bias,
    classifier,
    conv,
    conv_norm,
    conv_weight,
    gemm,
    kernel,
    norm,
    norm_params,
    pool,
)
from .registry import model
from .shapes import (
    clip,
    cut,
    dropout,
    pad,
    reduce_mean,
    reshape,
    squeeze,
    transpose,
    unsqueeze,
    upsample,
)

IMAGE = ["N", 3, 12, 12]
BATCH = {"N": 2}


@model(
    norms=0,
    added=1,
    why="ordinary ones follow convolutions; that of the input keeps its shift as one Add in front "
    "of the padded convolution",
    inputs={"N": 2, "H": 10, "W": 14},
    value_info=True,
)
def dynamic_sizes(g: Graph) -> None:
    """Batch, height and width open; the view before the classifier is computed from Shape."""
    x = norm(g, g.input("image", ["N", 3, "H", "W"]), 3)
    x = g("Relu", conv(g, x, 3, 8, with_bias=True))
    x = g("GlobalAveragePool", conv_norm(g, x, 8, 8, stride=2))
    batch = g("Gather", g("Shape", x), g.const(np.array(0, np.int64)), axis=0)
    view = g("Concat", unsqueeze(g, batch, 0), g.const(np.array([8], np.int64)), axis=0)
    x = norm(g, gemm(g, g("Reshape", x, view), 8, 8), 8)
    g.output(gemm(g, x, 8, 3), "logits", ["N", 3])


def _plain(g: Graph) -> None:
    x = conv_norm(g, g.input("image", IMAGE), 3, 8)
    x = conv_norm(g, x, 8, 8, groups=2, with_bias=True)
    x = norm(g, g("Flatten", g("GlobalAveragePool", x)), 8)
    g.output(norm(g, gemm(g, x, 8, 4), 4), "logits")


@model(
    norms=0, why="a Constant node is as constant as an initializer", inputs=BATCH, constants="node"
)
def constant_nodes(g: Graph) -> None:
    _plain(g)


@model(norms=0, why="Identity of a constant is one", inputs=BATCH, constants="alias")
def aliased_constants(g: Graph) -> None:
    _plain(g)


@model(
    norms=0,
    why="as any other; weights are listed among the inputs, as IR 3 demands",
    inputs=BATCH,
    ir=3,
    opset=8,
    overridable=True,
)
def ir3(g: Graph) -> None:
    _plain(g)


@model(
    norms=0,
    added=-7,
    why="constant Muls and Adds are norms in disguise: four go into the convolution in front of "
    "them, through the Transposes; those on the input go forward into a convolution without "
    "padding; MatMul and Add become a Gemm",
    inputs=BATCH,
    opset=13,
    value_info=True,
)
def tf2onnx(g: Graph) -> None:
    """Images with channels last outside, first inside; a norm as Mul and Add, or with reshaped
    parameters.
    """
    x = g.input("image", ["N", 12, 12, 3])
    x = g("Mul", x, g.const(np.array([0.5, 0.25, 0.4]), "scale"))
    x = transpose(g, g("Sub", x, g.const(np.array([0.2, -0.3, 0.1]), "mean")), 0, 3, 1, 2)
    x = conv(g, x, 3, 8, pad=0)
    x = g("Mul", x, g.const(g.normal((1, 8, 1, 1)), "scale"))
    x = clip(g, g("Add", x, g.const(g.normal((1, 8, 1, 1)), "shift")), 0, 6)
    params = [reshape(g, g.const(g.rng.uniform(0.5, 1.5, (1, 1, 1, 8))), -1) for _ in range(4)]
    x = g("Relu", g("BatchNormalization", conv(g, x, 8, 8), *params, epsilon=1e-3))
    x = transpose(g, conv(g, x, 8, 8, stride=2), 0, 2, 3, 1)
    x = g("Mul", g.const(g.normal((8,)), "scale"), x)
    x = g("Relu", g("Add", x, g.const(g.normal((8,)), "shift")))
    x = g("MatMul", reduce_mean(g, x, 1, 2), kernel(g, (8, 4), 8))
    g.output(g("Add", x, bias(g, 4)), "logits")


@model(
    norms=0,
    added=-6,
    why="every chain is one map: that on the input goes forward into an unpadded convolution, the "
    "others (a norm without gamma, then Mul and Add; a depthwise 1x1 convolution) backward",
    inputs=BATCH,
)
def caffe(g: Graph) -> None:
    """BatchNorm without an affine part, then Scale; mean and scale of the data in the graph."""
    x = g("Sub", g.input("image", IMAGE), g.const(np.array([0.1, 0.2, 0.3]).reshape(3, 1, 1)))
    x = conv(g, g("Div", x, g.const(np.array([0.5, 0.6, 0.7]).reshape(1, 3, 1, 1))), 3, 8, pad=0)
    one, zero = g.const(np.ones(8), "one"), g.const(np.zeros(8), "zero")
    for _ in range(2):
        _, _, *statistics = norm_params(g, 8)
        x = g("BatchNormalization", x, one, zero, *statistics, epsilon=1e-5)
        x = g("Mul", x, g.const(g.normal((8, 1, 1)), "scale"))
        x = g("Add", g.const(g.normal((8, 1, 1)), "shift"), x)
        x = conv(g, g("Relu", x), 8, 8)
    x = norm(g, conv(g, x, 8, 8, 1, pad=0, groups=8, with_bias=True), 8)
    classifier(g, g("Relu", x), 8)


def _old(g: Graph) -> None:
    x = g(
        "PRelu",
        conv_norm(g, g.input("image", IMAGE), 3, 8, act=""),
        g.const(np.array([[[0.2]]] * 8)),
    )
    x = g("Relu", norm(g, upsample(g, conv(g, pool(g, x), 8, 8, groups=4)), 8))
    x = conv(g, pad(g, x, [0, 0, 1, 1, 0, 0, 1, 1]), 8, 8, pad=0, with_bias=True)
    x = clip(g, norm(g, cut(g, x, 2, 1, 9), 8), -1, 6)
    x = squeeze(g, dropout(g, norm(g, g("GlobalAveragePool", x), 8)), 2, 3)
    g.output(norm(g, gemm(g, x, 8, 4), 4), "logits")


OLD = (
    "norms follow convolutions, also behind Upsample and Slice, or a pooled one goes into the Gemm"
)


@model(norms=0, why=OLD, inputs=BATCH, opset=7, ir=3, overridable=True, typed=True)
def opset7(g: Graph) -> None:
    _old(g)


@model(norms=0, why=OLD, inputs=BATCH, opset=9, ir=4)
def opset9(g: Graph) -> None:
    _old(g)


@model(norms=0, why=OLD, inputs=BATCH, opset=21, ir=10)
def opset21(g: Graph) -> None:
    _old(g)


@model(
    norms=0,
    why="norms follow convolutions; nobody reads the Dropout's mask",
    inputs=BATCH,
    opset=8,
    ir=3,
    overridable=True,
)
def unread_mask(g: Graph) -> None:
    x = conv_norm(g, g.input("image", IMAGE), 3, 8)
    x = g.many("Dropout", norm(g, conv(g, x, 8, 8), 8), outputs=2)[0]
    classifier(g, x, 8)


@model(
    norms=0,
    added=-1,
    why="the weight is turned by constant Transposes and Unsqueeze before it is used: constants "
    "all the same; MatMul and Add become a Gemm",
    inputs=BATCH,
    opset=13,
)
def computed_constants(g: Graph) -> None:
    """Unoptimized exports: weights pass Transpose, Reshape, Unsqueeze and Cast on their way."""
    stored = g.const(g.normal((3, 3, 3, 8), 0.2), "kernel_hwio")
    x = g("Conv", g.input("image", IMAGE), transpose(g, stored, 3, 2, 0, 1), pads=[1] * 4)
    gamma, beta, mean, variance = norm_params(g, 8)
    mean = squeeze(g, unsqueeze(g, mean, 0), 0)
    variance = g("Cast", g("Cast", variance, to=TensorProto.DOUBLE), to=g.float_type)
    x = g("Relu", g("BatchNormalization", x, gamma, beta, mean, variance, epsilon=1e-5))
    x = g("Flatten", g("GlobalAveragePool", x))
    x = g("MatMul", x, transpose(g, kernel(g, (6, 8), 8), 1, 0))
    g.output(norm(g, g("Add", x, bias(g, 6)), 6), "logits")


@model(
    norms=0,
    added=-3,
    why="names that a careless rewrite would choose are taken; norms follow convolutions; four "
    "Adds of constants are one",
    inputs=BATCH,
)
def names_taken(g: Graph) -> None:
    x = conv(g, g.input("image", IMAGE), 3, 8)
    y = g("Sigmoid", norm(g, x, 8))
    for taken in ("weight_0_folded", "weight_0_fused", "conv_0_bias", "batchnormalization_0_bias"):
        g._count[taken] = -1
        g.initializers.append(_vector(g, taken))
        y = g("Add", y, taken)
    x = conv(g, y, 8, 8, weight=conv_weight(g, 8, 8, 3))
    classifier(g, g("Relu", norm(g, x, 8)), 8)


def _vector(g: Graph, name: str):  # type: ignore[no-untyped-def]
    made = g.const(g.normal((8, 1, 1)), "taken")
    tensor = g.initializers.pop()
    assert tensor.name == made
    tensor.name = name
    return tensor


@model(norms=0, why="as any other: nodes need no names", inputs=BATCH)
def nameless_nodes(g: Graph) -> None:
    _plain(g)
    for node in g.nodes:
        node.name = ""
