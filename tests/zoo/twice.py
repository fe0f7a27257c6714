"""Values read twice by one node, broadcast ones, overlapping pieces: where one use too many is
easily overlooked.
"""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from .builder import Graph
from .layers import bias, classifier, conv, conv_norm, gemm, kernel, norm
from .registry import Minimum, model
from .shapes import cut, reshape, split

IMAGE = ["N", 3, 8, 8]
BATCH = {"N": 2}


@model(
    norms=1,
    why="both halves of the Concat are one convolution, the norm's halves differ",
    inputs=BATCH,
)
def concat_of_one(g: Graph) -> None:
    x = conv(g, g.input("image", IMAGE), 3, 4)
    x = norm(g, g("Concat", x, x, axis=1), 8)
    classifier(g, g("Tanh", x), 8)


@model(
    norms=0,
    why="the sum of a value with itself: the scale goes into it once, half of the shift",
    inputs=BATCH,
)
def sum_of_one(g: Graph) -> None:
    x = conv(g, g.input("image", IMAGE), 3, 8)
    classifier(g, g("Tanh", norm(g, g("Add", x, x), 8)), 8)


@model(
    norms=1,
    why="one summand has a single channel for all: it cannot take a scale of eight",
    inputs=BATCH,
)
def broadcast_channel(g: Graph) -> None:
    x = g.input("image", IMAGE)
    x = norm(g, g("Add", conv(g, x, 3, 8), conv(g, x, 3, 1)), 8)
    classifier(g, g("Tanh", x), 8)


@model(
    norms=0,
    why="one summand has a single pixel for all: scale into both, shift into one",
    inputs=BATCH,
)
def broadcast_pixel(g: Graph) -> None:
    """FiLM's shift, time embeddings of diffusion networks."""
    step = reshape(g, gemm(g, g.input("step", ["N", 4]), 4, 8), -1, 8, 1, 1)
    x = norm(g, g("Add", conv(g, g.input("image", IMAGE), 3, 8), step), 8)
    classifier(g, g("Tanh", x), 8)


@model(norms=2, why="channels 3 and 4 are read by both norms with different scales", inputs=BATCH)
def overlapping_slices(g: Graph) -> None:
    x = conv(g, g.input("image", IMAGE), 3, 8)
    left, right = norm(g, cut(g, x, 1, 0, 5), 5), norm(g, cut(g, x, 1, 3, 8), 5)
    classifier(g, g("Concat", g("Tanh", left), g("Sigmoid", right), axis=1), 10)


@model(
    norms=0,
    why="each channel of the convolution is picked once: the permutation is undone",
    inputs=BATCH,
)
def picked_channels(g: Graph) -> None:
    x = conv(g, g.input("image", IMAGE), 3, 6)
    order = g.const(np.array([4, 0, 5, 2, 1, 3], np.int64), "order")
    classifier(g, g("Tanh", norm(g, g("Gather", x, order, axis=1), 6)), 6)


@model(norms=1, why="channel 2 is picked twice, with two scales", inputs=BATCH)
def repeated_channels(g: Graph) -> None:
    x = conv(g, g.input("image", IMAGE), 3, 6)
    order = g.const(np.array([2, 0, 2, 5, 1, 3], np.int64), "order")
    classifier(g, g("Tanh", norm(g, g("Gather", x, order, axis=1), 6)), 6)


@model(
    norms=2,
    why="two norms read one convolution, both in front of what is not linear",
    inputs=BATCH,
    optional={
        "norms": Minimum(1, 0, "one in the convolution, the other composed with its inverse")
    },
)
def two_norms_of_one(g: Graph) -> None:
    """Domain-specific batch norm; the composition of one with the other's inverse is an option."""
    x = conv(g, g.input("image", IMAGE), 3, 8)
    classifier(g, g("Add", g("Tanh", norm(g, x, 8)), g("Sigmoid", norm(g, x, 8))), 8)


@model(norms=0, why="the half of the Split that is an output keeps its values", inputs=BATCH)
def split_into_output(g: Graph) -> None:
    """Detection heads: boxes leave as they are, scores are normed."""
    boxes, scores = split(g, conv(g, g.input("image", IMAGE), 3, 10, with_bias=True), [4, 6])
    g.output(boxes, "boxes")
    g.output(g("Sigmoid", norm(g, scores, 6)), "scores")


@model(norms=1, why="the only node, from the graph's input to its output", inputs=BATCH)
def norm_alone(g: Graph) -> None:
    g.output(norm(g, g.input("image", IMAGE), 3), "normed")


@model(
    norms=0,
    why="inputs that are left out by an empty name are not values: biases appear in their place",
    inputs=BATCH,
)
def empty_names(g: Graph) -> None:
    x = g("Conv", g.input("image", IMAGE), kernel(g, (8, 3, 3, 3), 27), "")
    x = g("Relu", norm(g, x, 8))
    x = g("Relu", norm(g, g("ConvTranspose", x, kernel(g, (8, 6, 2, 2), 8), "", strides=[2, 2]), 6))
    x = g("Gemm", g("Flatten", g("GlobalAveragePool", x)), kernel(g, (6, 4), 6), "")
    g.output(norm(g, x, 4), "logits")


@model(
    norms=0,
    why="biases of zeros made by ConstantOfShape, Expand and CastLike are constants",
    inputs=BATCH,
)
def zero_bias_from_shape(g: Graph) -> None:
    weight = kernel(g, (8, 3, 3, 3), 27)
    zeros = g("ConstantOfShape", g.const(np.array([8], np.int64)))
    zeros = g("CastLike", zeros, weight)
    x = g("Relu", norm(g, g("Conv", g.input("image", IMAGE), weight, zeros), 8))
    weight = kernel(g, (8, 8, 3, 3), 72)
    size = g("Gather", g("Shape", weight), g.const(np.array([0], np.int64)))
    zero = g("CastLike", g.const(np.array(0, np.int64)), weight)
    x = g("Relu", norm(g, g("Conv", x, weight, g("Expand", zero, size)), 8))
    classifier(g, x, 8)


@model(
    norms=0,
    why="weights stored in float16 and cast to float32 where they are used are constants",
    inputs=BATCH,
)
def weights_stored_in_half(g: Graph) -> None:
    def cast(shape: tuple[int, ...], fan_in: int) -> str:
        values = g.normal(shape, np.sqrt(1.5 / fan_in)).astype(np.float16)
        half = g.const(values.astype(np.float64) if g.double else values, "half", exact=True)
        return g("Cast", half, to=g.float_type)

    x = g("Conv", g.input("image", IMAGE), cast((8, 3, 3, 3), 27), bias(g, 8))
    x = g("Relu", norm(g, x, 8))
    x = g("Flatten", g("GlobalAveragePool", x))
    g.output(norm(g, g("Gemm", x, cast((8, 4), 8)), 4), "logits")


@model(
    norms=0,
    why="the mask of a sequence multiplies the norm's input and is no constant; the norm itself "
    "follows a convolution",
    inputs={"N": 2, "lengths": (3, 9)},
)
def masked_sequence(g: Graph) -> None:
    """Padding by a mask computed from lengths, around ordinary blocks."""
    lengths = g.input("lengths", ["N", 1, 1], TensorProto.INT64)
    places = g.const(np.arange(10).reshape(1, 1, 10), "places")
    mask = g("Cast", g("Less", places, lengths), to=g.float_type)
    x = g("Mul", g.input("steps", ["N", 4, 10]), mask)
    for ci, co in ((4, 6), (6, 8)):
        x = g("Mul", conv_norm(g, x, ci, co, dims=1), mask)
    g.output(gemm(g, g("ReduceMean", x, axes=[2], keepdims=0), 8, 3), "logits")
