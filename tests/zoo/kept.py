"""What must stay, in otherwise ordinary networks: batch statistics, values from outside, borders
the algebra does not cross, and traps where sizes agree and axes do not.
"""

from __future__ import annotations

import numpy as np
from onnx import helper

from .builder import Graph
from .layers import (
    bias,
    classifier,
    conv,
    conv_norm,
    gemm,
    kernel,
    matmul,
    norm,
    norm_params,
    pool,
    recurrent,
)
from .registry import model
from .shapes import reshape, transpose

IMAGE = ["N", 3, 8, 8]
BATCH = {"N": 2}


@model(
    norms=1,
    why="training_mode = 1 normalizes by the batch's own statistics",
    inputs={"N": 4},
    opset=15,
)
def training_mode(g: Graph) -> None:
    x = conv(g, conv_norm(g, g.input("image", IMAGE), 3, 6), 6, 8)
    x, mean, variance = g.many(
        "BatchNormalization", x, *norm_params(g, 8), outputs=3, training_mode=1, momentum=0.9
    )
    g.output(mean, "new_mean")
    g.output(variance, "new_variance")
    classifier(g, g("Relu", x), 8)


@model(
    norms=1,
    why="all five outputs are named: before opset 14 that is training mode",
    inputs=BATCH,
    opset=9,
)
def five_outputs(g: Graph) -> None:
    x = conv(g, conv_norm(g, g.input("image", IMAGE), 3, 6), 6, 8)
    x = g.many("BatchNormalization", x, *norm_params(g, 8), outputs=5, epsilon=1e-5)[0]
    classifier(g, g("Relu", x), 8)


@model(
    norms=1,
    why="gamma of the second norm is an input with a default: the caller may override it",
    inputs=BATCH,
)
def overridable(g: Graph) -> None:
    x = conv(g, conv_norm(g, g.input("image", IMAGE), 3, 6), 6, 8)
    params = norm_params(g, 8)
    kind = g.float_type
    g.inputs.append(helper.make_tensor_value_info(params[0], kind, [8]))
    classifier(g, g("Relu", norm(g, x, 8, params=params)), 8)


@model(
    norms=0,
    added=1,
    why="the convolution's weight is an input with a default: the scale multiplies whatever it is, "
    "a Mul that is smaller than the norm's",
    inputs=BATCH,
)
def overridable_weight(g: Graph) -> None:
    weight = kernel(g, (8, 3, 3, 3), 27, "weight")
    g.inputs.append(helper.make_tensor_value_info(weight, g.float_type, [8, 3, 3, 3]))
    x = norm(g, conv(g, g.input("image", IMAGE), 3, 8, weight=weight), 8)
    x = g("Sigmoid", x)
    classifier(g, conv_norm(g, x, 8, 8), 8)


@model(
    norms=0,
    added=1,
    why="the convolution's weight is computed from a second input: its scale is a Mul on the weight, "
    "which is smaller than the image",
)
def computed_weight(g: Graph) -> None:
    """A hypernetwork, for one image."""
    code = g("Tanh", gemm(g, g.input("code", [1, 4]), 4, 6 * 27))
    weight = reshape(g, code, 6, 3, 3, 3)
    x = norm(g, conv(g, g.input("image", [1, 3, 16, 16]), 3, 6, weight=weight), 6)
    classifier(g, g("Tanh", x), 6)


@model(norms=1, why="gamma and beta are computed from a second input", inputs={})
def conditional(g: Graph) -> None:
    """Conditional batch norm of a generator, for one image."""
    x = conv(g, conv_norm(g, g.input("image", [1, *IMAGE[1:]]), 3, 6), 6, 8)
    code = g.input("code", [1, 4])
    gamma, beta = (reshape(g, gemm(g, code, 4, 8), -1) for _ in range(2))
    params = [gamma, beta, *norm_params(g, 8)[2:]]
    classifier(g, g("Relu", norm(g, x, 8, params=params)), 8)


@model(
    norms=1,
    why="the result is a graph output beside the classifier's input; a ReLU is in front",
    inputs=BATCH,
)
def norm_neck(g: Graph) -> None:
    """BNNeck of person re-identification: features on both sides have losses."""
    x = conv_norm(g, g.input("image", IMAGE), 3, 8)
    x = norm(g, g("Flatten", g("GlobalAveragePool", x)), 8)
    g.output(x, "features")
    g.output(gemm(g, "features", 8, 4, with_bias=False), "logits")


@model(
    norms=0,
    why="the norms' own names are the graph's outputs, the convolutions take them over",
    inputs=BATCH,
)
def norm_is_output(g: Graph) -> None:
    """The second one also by another name, and read on."""
    x = conv_norm(g, g.input("image", IMAGE), 3, 8)
    g.output(norm(g, conv(g, x, 8, 4), 4), "map")
    g.output(norm(g, conv(g, x, 8, 8), 8), "features")
    g.output(g("Identity", "features"), "again")
    classifier(g, g("Tanh", "features"), 8)


@model(norms=1, why="the convolution's own result is a graph output too", inputs=BATCH)
def producer_is_output(g: Graph) -> None:
    x = conv(g, conv_norm(g, g.input("image", IMAGE), 3, 8), 8, 4)
    g.output(g("Tanh", norm(g, x, 4)), "map")
    g.output(x, "raw")


@model(norms=3, why="functions on both sides that no scale passes", inputs={"N": 3})
def between_nonlinear(g: Graph) -> None:
    x = g.input("row", ["N", 8])
    x = g("Tanh", norm(g, g("Sigmoid", gemm(g, x, 8, 8)), 8))
    x = g("Softmax", norm(g, g("Elu", gemm(g, x, 8, 8)), 8), axis=-1)
    x = g("Gemm", x, kernel(g, (8, 8), 8))
    g.output(g("Sigmoid", norm(g, g("Relu", x), 8)), "gates")


@model(
    norms=1,
    why="behind an LSTM, in front of a Tanh: its output is not linear in its weights",
    inputs={"N": 2},
)
def behind_lstm(g: Graph) -> None:
    x = recurrent(
        g, "LSTM", transpose(g, g.input("steps", ["N", 5, 6]), 1, 0, 2), 6, 8, directions=1
    )
    x = norm(g, reshape(g, x, -1, 8), 8)
    g.output(gemm(g, g("Tanh", x), 8, 3), "logits")


@model(
    norms=0,
    added=1,
    why="MaxPool under a norm with negative scales, in front of a Tanh: size and shift pass, the "
    "sign stays as a Mul",
    inputs=BATCH,
)
def negative_over_max_pool(g: Graph) -> None:
    x = pool(g, conv(g, g.input("image", IMAGE), 3, 8))
    classifier(g, g("Tanh", norm(g, x, 8)), 8)


@model(
    norms=1,
    why="the norm is over steps, which the linear layer does not own; both are 8 long",
    inputs={"N": 3},
)
def trap_linear_over_steps(g: Graph) -> None:
    x = norm(g, matmul(g, g.input("rows", ["N", 8, 6]), 6, 8), 8)
    x = g("Tanh", x)
    g.output(matmul(g, x, 8, 3), "values")


@model(
    norms=1,
    why="a vector over the width of 8 between convolution and norm of 8 channels: the scale "
    "passes, the shift does not, and stays as an Add",
    inputs=BATCH,
)
def trap_vector_over_width(g: Graph) -> None:
    x = conv(g, g.input("image", IMAGE), 3, 8)
    x = g("Mul", x, g.const(g.rng.uniform(0.5, 1.5, (8,)), "window"))
    classifier(g, g("Sigmoid", norm(g, x, 8)), 8)


@model(
    norms=1,
    why="each of the 4·H·W columns has a scale of its own; the convolution has 4",
    inputs=BATCH,
)
def trap_norm_over_pixels(g: Graph) -> None:
    x = g("Flatten", conv(g, g.input("image", IMAGE), 3, 4, stride=2))
    x = g("Sigmoid", norm(g, x, 64))
    g.output(gemm(g, x, 64, 3), "logits")


@model(
    norms=0,
    why="(steps, features) read as (channels, length) of a convolution without a Transpose: the "
    "norm is over steps, not the linear layer's features, and goes forward into the "
    "convolution",
    inputs=BATCH,
)
def trap_reshape_is_no_transpose(g: Graph) -> None:
    x = reshape(g, matmul(g, g.input("rows", ["N", 8, 6]), 6, 8), -1, 8, 8)
    x = g("Conv", norm(g, x, 8), kernel(g, (6, 8, 3), 24), bias(g, 6))
    g.output(g("Tanh", x), "map")


@model(
    norms=1,
    added=0,
    why="padding with a constant other than zero: sv + t differs between channels",
    inputs=BATCH,
)
def trap_constant_padding(g: Graph) -> None:
    x = norm(g, g("Sigmoid", g.input("image", IMAGE)), 3)
    pads = g.const(np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64))
    x = g("Pad", x, pads, g.const(np.array(0.75)))
    classifier(g, g("Relu", conv(g, x, 3, 8, pad=0)), 8)


@model(
    norms=0,
    added=-1,
    why="norms that nothing reads may go; the inputs that only they read, with a default or "
    "without, may not",
    inputs=BATCH,
)
def unread_norm(g: Graph) -> None:
    """An auxiliary head whose output was cut off."""
    x = conv_norm(g, g.input("image", IMAGE), 3, 8)
    params = norm_params(g, 8)
    g.inputs.append(helper.make_tensor_value_info(params[2], g.float_type, [8]))
    spare = conv(g, g.input("spare", IMAGE), 3, 8)
    norm(g, norm(g, g("Add", spare, conv(g, x, 8, 8)), 8, params=params), 8)
    classifier(g, conv_norm(g, x, 8, 8), 8)
