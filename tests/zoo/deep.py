"""Three hundred layers: for the time a fold takes, and for roundings that would add up."""

from __future__ import annotations

from .builder import Graph
from .layers import bias, classifier, conv, conv_norm, norm, norm_params
from .registry import DEEP, model

BATCH = {"N": 2}
BLOCKS = 100


@model(
    norms=0,
    why="every norm follows a convolution that nothing else reads",
    inputs=BATCH,
    into=DEEP,
)
def resnet_300(g: Graph) -> None:
    x = conv_norm(g, g.input("image", ["N", 3, 8, 8]), 3, 8)
    for _ in range(BLOCKS):
        y = conv_norm(g, conv_norm(g, x, 8, 4, 1), 4, 4)
        params = [g.const(g.rng.uniform(0.05, 0.2, 8), "gamma"), *norm_params(g, 8)[1:]]
        x = g("Relu", g("Add", x, norm(g, conv(g, y, 4, 8, 1), 8, params=params)))
    classifier(g, x, 8)


@model(
    norms=0,
    why="norms behind convolutions, norms in front of pointwise ones",
    inputs=BATCH,
    into=DEEP,
)
def chain_300(g: Graph) -> None:
    """No residuals; every third norm stands between a ReLU and a pointwise convolution."""
    x = conv_norm(g, g.input("image", ["N", 3, 8, 8]), 3, 8)
    for _ in range(BLOCKS):
        x = conv_norm(g, x, 8, 8, act="LeakyRelu", groups=8)
        x = norm(g, g("Relu", conv(g, x, 8, 8, 1, with_bias=True)), 8)
        x = conv_norm(g, x, 8, 8, 1, groups=2)
    classifier(g, x, 8)


@model(
    norms=0,
    added=BLOCKS,
    why="scales are positive and pass the ReLUs; the stream is read by every block's Add, so each "
    "block's first shift stays; the last sum is read by its norm alone",
    inputs=BATCH,
    into=DEEP,
)
def resnet_pre_300(g: Graph) -> None:
    x = g(
        "Conv", g.input("image", ["N", 3, 8, 8]), g.const(g.normal((8, 3, 1, 1), 0.5)), bias(g, 8)
    )
    for _ in range(BLOCKS):
        y = conv(g, g("Relu", norm(g, x, 8, "positive")), 8, 4, 1)
        y = conv(g, g("Relu", norm(g, y, 4)), 4, 4)
        y = g("Conv", g("Relu", norm(g, y, 4)), g.const(g.normal((8, 4, 1, 1), 0.1)), bias(g, 8))
        x = g("Add", x, y)
    classifier(g, g("Relu", norm(g, x, 8, "positive")), 8)
