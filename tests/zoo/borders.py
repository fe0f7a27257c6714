"""Norms in front of convolutions and pools: what padding, pooling and resizing let through."""

from __future__ import annotations

from .builder import Graph
from .layers import bias, classifier, conv, gemm, kernel, norm, pool
from .registry import model
from .shapes import pad, transpose, upsample

BATCH = {"N": 2}


def _features(g: Graph, c: int = 8, size: int = 12) -> str:
    """Something a norm cannot go back into."""
    x = g("Conv", g.input("image", ["N", 3, size, size]), kernel(g, (c, 3, 3, 3), 27), pads=[1] * 4)
    return g("Tanh", x)


@model(
    norms=0,
    added=1,
    why="pools that do not count padding pass scale and shift; under counted padding the shift "
    "stays as an Add",
    inputs=BATCH,
)
def pools_behind_norms(g: Graph) -> None:
    """ResNet-D's downsampling with a norm in front."""
    x = _features(g)
    first = pool(g, norm(g, x, 8), 3, "AveragePool", strides=[2, 2], pads=[1] * 4)
    second = pool(
        g, norm(g, x, 8), 3, "AveragePool", strides=[2, 2], pads=[1] * 4, count_include_pad=1
    )
    third = pool(g, norm(g, x, 8, "positive"), 3, strides=[2, 2], pads=[1] * 4)
    parts = [g("Conv", y, kernel(g, (4, 8, 1, 1), 8), bias(g, 4)) for y in (first, second, third)]
    classifier(g, g("Relu", g("Concat", *parts, axis=1)), 12)


@model(
    norms=0,
    why="edge, reflecting and interpolated borders are values of the same channel; a 1x1 "
    "convolution under SAME has no border",
    inputs=BATCH,
)
def borders_of_the_same_channel(g: Graph) -> None:
    x = _features(g)
    one = pad(g, norm(g, x, 8), [0, 0, 1, 1, 0, 0, 1, 1], "edge")
    two = pad(g, norm(g, x, 8), [0, 0, 1, 1, 0, 0, 1, 1], "reflect")
    three = upsample(g, norm(g, x, 8), mode="linear")
    four = norm(g, x, 8)
    parts = [
        conv(g, one, 8, 4, pad=0),
        conv(g, two, 8, 4, pad=0),
        conv(g, three, 8, 4, 2, stride=2, pad=0),
        g("Conv", four, kernel(g, (4, 8, 1, 1), 8), auto_pad="SAME_UPPER"),
    ]
    classifier(g, g("Sigmoid", g("Concat", *parts, axis=1)), 16)


@model(
    norms=0,
    added=2,
    why="SAME pads with zeros for kernels above 1, also where it is written as VALID behind a Pad: "
    "each shift stays as an Add",
    inputs=BATCH,
    opset=13,
)
def keras_padding(g: Graph) -> None:
    x = norm(g, _features(g, size=13), 8)
    x = g(
        "Sigmoid", g("Conv", x, kernel(g, (8, 8, 3, 3), 72), strides=[2, 2], auto_pad="SAME_UPPER")
    )
    x = pad(g, norm(g, x, 8), [0, 0, 0, 0, 0, 0, 1, 1])
    x = g("Conv", x, kernel(g, (8, 8, 3, 3), 72), strides=[2, 2], auto_pad="VALID")
    classifier(g, g("Relu", x), 8)


@model(
    norms=0,
    why="channels last while flattened: the map is tiled over the pixels, not repeated",
    inputs=BATCH,
    opset=13,
)
def keras_flatten(g: Graph) -> None:
    x = transpose(g, norm(g, _features(g, 4, 5), 4), 0, 2, 3, 1)
    g.output(gemm(g, g("Flatten", x), 100, 3), "logits")


@model(
    norms=0,
    added=1,
    why="LeakyReLU passes positive scales both ways; the shift in between stays as an Add, that in "
    "front of the pointwise convolution does not",
    inputs=BATCH,
)
def leaky_chain(g: Graph) -> None:
    x = g("Conv", g.input("image", ["N", 3, 8, 8]), kernel(g, (8, 3, 3, 3), 27), bias(g, 8))
    x = norm(g, g("LeakyRelu", x, alpha=0.2), 8, "positive")
    x = g("Conv", g("LeakyRelu", x, alpha=0.1), kernel(g, (8, 8, 1, 1), 8))
    x = g("Conv", norm(g, g("LeakyRelu", x), 8), kernel(g, (6, 8, 1, 1), 8), bias(g, 6))
    classifier(g, g("HardSigmoid", x), 6)


@model(
    norms=1,
    why="all means lie ten thousand deviations from 0: subtracting them after a product would lose "
    "half of the digits; the norm stays, or an Add in its place",
    inputs={"N": 3, "row": (1e4, 1.0)},
    amplifies=1e4,
)
def far_means_in_front(g: Graph) -> None:
    """Features that were never centred, as years or prices are."""
    params = [
        g.rng.uniform(0.5, 1.5, 6),
        g.normal((6,)),
        1e4 + g.normal((6,)),
        g.rng.uniform(0.5, 2, 6),
    ]
    x = g("BatchNormalization", g.input("row", ["N", 6]), *(g.const(p, "norm") for p in params))
    g.output(g("Tanh", gemm(g, x, 6, 4)), "values")


@model(
    norms=0,
    why="bias and mean are both large and cancel: their difference is formed before anything is "
    "rounded",
    inputs=BATCH,
    amplifies=1e3,
)
def far_means_behind(g: Graph) -> None:
    far = g.rng.uniform(1e3, 2e3, 8)
    x = g(
        "Conv", g.input("image", ["N", 3, 8, 8]), kernel(g, (8, 3, 3, 3), 27), g.const(far, "bias")
    )
    params = [
        g.rng.uniform(0.5, 1.5, 8),
        g.normal((8,)),
        far + g.normal((8,)),
        g.rng.uniform(0.5, 2, 8),
    ]
    x = g("BatchNormalization", x, *(g.const(p, "norm") for p in params))
    classifier(g, g("Relu", x), 8)


@model(
    norms=0,
    why="pruned channels, gamma 0: backward they are constants, forward their column of the weight "
    "is 0 and the constant goes into the bias",
    inputs=BATCH,
)
def pruned_channels(g: Graph) -> None:
    def pruned(x: str) -> str:
        gamma = g.normal((8,)) * (g.rng.uniform(size=8) < 0.6)
        gamma[0] = 0
        rest = [g.normal((8,)), g.normal((8,)), g.rng.uniform(0.5, 2, 8)]
        return g("BatchNormalization", x, *(g.const(p, "norm") for p in (gamma, *rest)))

    x = g("Relu", pruned(conv(g, g.input("image", ["N", 3, 8, 8]), 3, 8)))
    x = g("Conv", pruned(g("Sigmoid", conv(g, x, 8, 8))), kernel(g, (8, 8, 3, 3), 72))
    classifier(g, g("Relu", x), 8)
