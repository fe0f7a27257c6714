"""Networks whose branches are concatenated: DenseNet, Inception, CSP, U-Net."""

from __future__ import annotations

from .builder import Graph
from .layers import classifier, conv, conv_norm, conv_transpose, norm, pool
from .registry import Minimum, model
from .shapes import upsample

IMAGE = ["N", 3, 16, 16]
BATCH = {"N": 2}


def _dense_layer(g: Graph, features: list[str], c: int, growth: int) -> str:
    x = g("Concat", *features, axis=1)
    x = conv(g, g("Relu", norm(g, x, c, "positive")), c, 2 * growth, 1)
    return conv(g, g("Relu", norm(g, x, 2 * growth)), 2 * growth, growth)


@model(
    norms=0,
    added=6,
    why="scales are positive and pass the ReLUs into the 1x1 convolutions; the shifts of the six "
    "norms over concatenations stay as Adds, since other layers read the same features",
    inputs=BATCH,
    optional={
        "rebase": Minimum(
            0,
            5,
            "one less in the second block, whose features are all linear; the first has a ReLU",
        ),
    },
)
def densenet(g: Graph) -> None:
    x, c, growth = conv_norm(g, g.input("image", IMAGE), 3, 8), 8, 4
    for last in (False, True):
        features = [x]
        for _ in range(2):
            features.append(_dense_layer(g, features, c, growth))
            c += growth
        x = g("Relu", norm(g, g("Concat", *features, axis=1), c, "positive"))
        if not last:
            x = pool(g, conv(g, x, c, 8, 1), op="AveragePool")
            c = 8
    classifier(g, x, c)


@model(
    norms=0,
    why="every norm follows a convolution; that over Concat is cut into its branches, all "
    "convolutions",
    inputs=BATCH,
)
def inception(g: Graph) -> None:
    x = conv_norm(g, g.input("image", IMAGE), 3, 8)
    branches = [
        conv_norm(g, x, 8, 4, 1),
        conv_norm(g, conv_norm(g, x, 8, 4, 1), 4, 6),
        conv_norm(g, pool(g, x, 3, strides=[1, 1], pads=[1] * 4), 8, 4, 1),
        conv_norm(g, pool(g, x, 3, "AveragePool", strides=[1, 1], pads=[1] * 4), 8, 2, 1),
    ]
    x = g("Concat", *branches, axis=1)
    branches = [conv(g, x, 16, 6, 1), conv(g, x, 16, 10, 3, with_bias=True)]
    x = g("Relu", norm(g, g("Concat", *branches, axis=1), 16))
    classifier(g, x, 16)


@model(
    norms=1,
    why="the pooled branch of the Concat is no linear operation, its signs are mixed and a ReLU "
    "follows: it keeps its part of the norm",
    inputs=BATCH,
)
def inception_pooled_branch(g: Graph) -> None:
    x = conv_norm(g, g.input("image", IMAGE), 3, 8)
    branches = [conv(g, x, 8, 8, 3, stride=2), pool(g, x)]
    x = g("Relu", norm(g, g("Concat", *branches, axis=1), 16))
    classifier(g, x, 16)


@model(norms=0, why="the norm over the Concat of two convolutions is cut in two", inputs=BATCH)
def csp(g: Graph) -> None:
    """A cross-stage partial bottleneck as in early YOLOv5: two bare convolutions, Concat, norm."""
    x = conv_norm(g, g.input("image", IMAGE), 3, 8, act="LeakyRelu")
    y = conv_norm(g, x, 8, 8, 1, act="LeakyRelu")
    y = g("Add", y, conv_norm(g, y, 8, 8, act="LeakyRelu"))
    both = g("Concat", conv(g, y, 8, 8, 1), conv(g, x, 8, 8, 1), axis=1)
    x = g("LeakyRelu", norm(g, both, 16), alpha=0.1)
    x = conv_norm(g, x, 16, 12, 1, act="LeakyRelu")
    pooled = [pool(g, x, k, strides=[1, 1], pads=[k // 2] * 4) for k in (3, 5)]
    x = conv_norm(g, g("Concat", x, *pooled, axis=1), 36, 12, 1, act="LeakyRelu")
    classifier(g, x, 12)


@model(
    norms=0,
    why="norms follow convolutions, transposed ones, or an upsampled convolution; weights of "
    "interpolation sum to 1, so both scale and shift pass",
    inputs=BATCH,
)
def unet(g: Graph) -> None:
    fine = conv_norm(g, g.input("image", IMAGE), 3, 8)
    middle = conv_norm(g, pool(g, fine), 8, 12)
    x = conv_norm(g, pool(g, middle), 12, 16)
    up = g("Relu", norm(g, conv_transpose(g, x, 16, 12, 2, pad=0, with_bias=True), 12))
    x = conv_norm(g, g("Concat", up, middle, axis=1), 24, 12)
    up = g("Relu", norm(g, upsample(g, conv(g, x, 12, 8), mode="linear"), 8))
    x = conv_norm(g, g("Concat", up, fine, axis=1), 16, 8)
    g.output(conv(g, x, 8, 2, 1, with_bias=True), "mask")


@model(
    norms=0,
    added=1,
    why="the norm over Concat(upsampled, skip) goes forward into the padded convolution, the only "
    "reader; its shift stays as one Add",
    inputs=BATCH,
)
def unet_norm_over_skip(g: Graph) -> None:
    fine = conv_norm(g, g.input("image", IMAGE), 3, 8)
    x = conv_norm(g, pool(g, fine), 8, 8)
    both = g("Concat", upsample(g, x), fine, axis=1)
    g.output(conv(g, norm(g, both, 16), 16, 2), "mask")
