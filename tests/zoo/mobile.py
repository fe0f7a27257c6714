"""Small convolutional networks for phones: depthwise convolutions, gates, channel shuffles."""

from __future__ import annotations

from .builder import Graph
from .layers import classifier, conv, conv_norm, norm, silu
from .registry import model
from .shapes import clip, reshape, split, transpose

IMAGE = ["N", 3, 16, 16]
BATCH = {"N": 2}
EVERY = "every norm follows a convolution that nothing else reads"


@model(norms=0, why=EVERY, inputs=BATCH, opset=11)
def mobilenet_v1(g: Graph) -> None:
    x, ci = clip(g, conv_norm(g, g.input("image", IMAGE), 3, 8, act="", stride=2), 0, 6), 8
    for co, stride in ((16, 1), (16, 2)):
        x = clip(g, conv_norm(g, x, ci, ci, act="", groups=ci, stride=stride), 0, 6)
        x, ci = clip(g, conv_norm(g, x, ci, co, 1, act=""), 0, 6), co
    classifier(g, x, ci)


def _inverted(g: Graph, x: str, ci: int, co: int, stride: int = 1) -> str:
    wide = 3 * ci
    y = g("HardSwish", conv_norm(g, x, ci, wide, 1, act=""))
    y = g("HardSwish", conv_norm(g, y, wide, wide, act="", groups=wide, stride=stride))
    y = conv_norm(g, y, wide, co, 1, act="")
    return g("Add", x, y) if stride == 1 and ci == co else y


@model(norms=0, why=EVERY, inputs=BATCH)
def mobilenet_v2(g: Graph) -> None:
    x = conv_norm(g, g.input("image", IMAGE), 3, 8, stride=2)
    x = _inverted(g, x, 8, 8)
    classifier(g, _inverted(g, x, 8, 12, stride=2), 12)


def _squeeze_excite(g: Graph, x: str, c: int) -> str:
    gate = silu(g, conv(g, g("GlobalAveragePool", x), c, c // 4, 1, with_bias=True))
    gate = g("Sigmoid", conv(g, gate, c // 4, c, 1, with_bias=True))
    return g("Mul", x, gate)


@model(norms=0, why=EVERY, inputs=BATCH, value_info=True)
def efficientnet(g: Graph) -> None:
    x = silu(g, conv_norm(g, g.input("image", IMAGE), 3, 8, act="", stride=2))
    for _ in range(2):
        y = silu(g, conv_norm(g, x, 8, 16, 1, act=""))
        y = silu(g, conv_norm(g, y, 16, 16, 5, act="", groups=16))
        y = conv_norm(g, _squeeze_excite(g, y, 16), 16, 8, 1, act="")
        x = g("Add", y, x)
    classifier(g, silu(g, conv_norm(g, x, 8, 16, 1, act="")), 16)


def _shuffle(g: Graph, x: str, c: int, groups: int, size: int) -> str:
    x = reshape(g, x, -1, groups, c // groups, size, size)
    return reshape(g, transpose(g, x, 0, 2, 1, 3, 4), -1, c, size, size)


@model(norms=0, why=EVERY, inputs=BATCH)
def shufflenet_v2(g: Graph) -> None:
    x = conv_norm(g, g.input("image", IMAGE), 3, 8, stride=2)
    for _ in range(2):
        kept, x = split(g, x, [4, 4])
        x = conv_norm(g, x, 4, 4, 1)
        x = conv_norm(g, x, 4, 4, act="", groups=4)
        x = conv_norm(g, x, 4, 4, 1)
        x = _shuffle(g, g("Concat", kept, x, axis=1), 8, 2, 8)
    classifier(g, x, 8)


@model(
    norms=0,
    why="the permutation of channels is undone on the way back through Reshape, Transpose, Reshape",
    inputs=BATCH,
)
def shufflenet_norm_after_shuffle(g: Graph) -> None:
    x = conv_norm(g, g.input("image", IMAGE), 3, 12, stride=2)
    x = _shuffle(g, conv(g, x, 12, 12, 1, groups=3), 12, 3, 8)
    x = g("Relu", norm(g, x, 12))
    x = conv_norm(g, x, 12, 12, act="", groups=12)
    classifier(g, x, 12)


@model(
    norms=0,
    why="a Split's pieces are each read by a norm: the norms join to one over the whole, which "
    "goes into the convolution",
    inputs=BATCH,
)
def split_norms(g: Graph) -> None:
    """One convolution for two branches with a norm each, as merged by an exporter."""
    left, right = split(g, conv(g, g.input("image", IMAGE), 3, 10), [4, 6])
    left, right = g("Relu", norm(g, left, 4)), g("Sigmoid", norm(g, right, 6))
    classifier(g, g("Concat", left, right, axis=1), 10)
