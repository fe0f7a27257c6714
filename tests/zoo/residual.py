"""Networks with residual streams: post- and pre-activation, grouped, ArcFace's, RepVGG's."""

from __future__ import annotations

from .builder import Graph
from .layers import classifier, conv, conv_norm, conv_transpose, gemm, norm, pool
from .registry import Minimum, model
from .shapes import dropout

IMAGE = ["N", 3, 16, 16]
BATCH = {"N": 2}


def _post(g: Graph, x: str, ci: int, co: int, stride: int = 1, groups: int = 1) -> str:
    y = conv_norm(g, x, ci, co, stride=stride)
    y = conv_norm(g, y, co, co, act="", groups=groups)
    if stride > 1 or ci != co:
        x = conv_norm(g, x, ci, co, 1, act="", stride=stride)
    return g("Relu", g("Add", y, x))


@model(norms=0, why="every norm follows a convolution that nothing else reads", inputs=BATCH)
def resnet_post(g: Graph) -> None:
    x = conv_norm(g, g.input("image", IMAGE), 3, 8)
    x = _post(g, x, 8, 8)
    x = _post(g, x, 8, 16, stride=2)
    classifier(g, _post(g, x, 16, 16), 16)


@model(
    norms=0,
    why="as resnet_post; axis 0 of a grouped weight is the absolute output channel",
    inputs=BATCH,
)
def resnext(g: Graph) -> None:
    x = conv_norm(g, g.input("image", IMAGE), 3, 8)
    x = _post(g, x, 8, 16, stride=2, groups=4)
    classifier(g, _post(g, x, 16, 16, groups=8), 16)


def _pre(g: Graph, x: str, ci: int, co: int, sign: str = "positive", stride: int = 1) -> str:
    """Norm, ReLU, convolution, twice; a projection reads what the first convolution reads."""
    a = g("Relu", norm(g, x, ci, sign))
    y = g("Relu", norm(g, conv(g, a, ci, co, stride=stride), co))
    y = conv(g, y, co, co)
    shortcut = conv(g, a, ci, co, 1, stride=stride) if stride > 1 or ci != co else x
    return g("Add", y, shortcut)


def _preact(g: Graph, *signs: str) -> None:
    first, second = signs
    x = conv(g, g.input("image", IMAGE), 3, 8)
    x = _pre(g, x, 8, 8, first)
    x = _pre(g, x, 8, 16, stride=2)
    x = _pre(g, x, 16, 16, second)
    classifier(g, g("Relu", norm(g, x, 16, "positive")), 16)


@model(
    norms=0,
    added=2,
    why="scales are positive and pass the ReLUs; shifts stay as an Add where the stream is read "
    "by an Add too (blocks 1 and 3), else they go into the summand that is a convolution",
    inputs=BATCH,
    optional={
        "rebase": Minimum(0, 0, "either stream is stored with its first reader's shift in it"),
    },
    value_info=True,
)
def resnet_pre(g: Graph) -> None:
    _preact(g, "positive", "positive")


@model(
    norms=2,
    why="blocks 1 and 3 norm a stream that is read elsewhere, in front of a ReLU, with signs that "
    "cannot pass it; the others are as in resnet_pre",
    inputs=BATCH,
)
def resnet_pre_mixed(g: Graph) -> None:
    _preact(g, "mixed", "mixed")


@model(
    norms=0,
    why="each sum is read by one norm alone, and both summands are convolutions: scale into both, "
    "shift into one",
    inputs=BATCH,
)
def resnet_pre_projections(g: Graph) -> None:
    x = conv(g, g.input("image", IMAGE), 3, 8)
    x = _pre(g, x, 8, 12, "mixed")
    x = _pre(g, x, 12, 16, "mixed", stride=2)
    classifier(g, g("Relu", norm(g, x, 16)), 16)


def _prelu(g: Graph, x: str, c: int) -> str:
    return g("PRelu", x, g.const(g.rng.uniform(0.1, 0.4, (c, 1, 1)), "slope"))


def _arcface(g: Graph, x: str, ci: int, co: int, stride: int = 1) -> str:
    y = conv(g, norm(g, x, ci), ci, co)
    y = _prelu(g, norm(g, y, co), co)
    y = norm(g, conv(g, y, co, co, stride=stride), co)
    if stride > 1:
        x = norm(g, conv(g, x, ci, co, 1, stride=stride), co)
    return g("Add", y, x)


@model(
    norms=0,
    added=2,
    why="in both blocks the first norm goes forward into a zero-padded convolution, and its shift "
    "stays as one Add; the last two meet in the Gemm behind Flatten",
    inputs=BATCH,
    value_info=True,
)
def arcface(g: Graph) -> None:
    x = g.input("image", IMAGE)
    x = _prelu(g, norm(g, conv(g, x, 3, 8), 8), 8)
    x = _arcface(g, x, 8, 8, stride=2)
    x = _arcface(g, x, 8, 16, stride=2)
    x = g("Flatten", dropout(g, norm(g, x, 16)))
    g.output(norm(g, gemm(g, x, 16 * 16, 12), 12), "embedding")


@model(
    norms=2,
    why="the norm on the identity branch is read by an Add; merging it into a parallel "
    "convolution's centre tap is an option (norms), and its shift alone going there leaves a Mul",
    inputs=BATCH,
    optional={
        "norms": Minimum(
            0, -6, "the identity's norm in a centre tap, and parallel branches in one convolution"
        )
    },
)
def repvgg(g: Graph) -> None:
    """As trained: three branches, of which the third is a norm alone."""
    x, ci = g.input("image", IMAGE), 3
    for co, stride in ((8, 1), (8, 1), (8, 1), (16, 2)):
        branches = [
            conv_norm(g, x, ci, co, 3, act="", stride=stride),
            conv_norm(g, x, ci, co, 1, act="", stride=stride),
        ]
        y = g("Add", *branches)
        if ci == co and stride == 1:
            y = g("Add", y, norm(g, x, ci))
        x, ci = g("Relu", y), co
    classifier(g, x, ci)


@model(
    norms=1,
    added=2,
    why="conv, ReLU, norm: shift as an Add in front of the padded convolution (twice; the first "
    "scale is positive and passes MaxPool); the third stands between ReLU and MaxPool with "
    "both signs",
    inputs=BATCH,
)
def alexnet(g: Graph) -> None:
    """The norm after the activation, as in early networks with batch norm."""
    x = g("Relu", conv(g, g.input("image", IMAGE), 3, 8, with_bias=True))
    x = pool(g, norm(g, x, 8, "positive"))
    x = g("Relu", conv(g, x, 8, 12, with_bias=True))
    x = g("Relu", conv(g, norm(g, x, 12), 12, 12, with_bias=True))
    x = g("Flatten", pool(g, norm(g, x, 12)))
    x = g("Relu", gemm(g, x, 12 * 16, 16))
    g.output(gemm(g, x, 16, 5), "logits")


@model(
    norms=0,
    why="positive scales pass MaxPool on the way back to the convolution",
    inputs=BATCH,
)
def vgg_norm_after_pool(g: Graph) -> None:
    x, ci = g.input("image", IMAGE), 3
    for co in (8, 12):
        x = pool(g, conv(g, x, ci, co, with_bias=True))
        x, ci = g("Relu", norm(g, x, co, "positive")), co
    classifier(g, x, ci)


@model(
    norms=0,
    why="convolutions and transposed ones with nothing between them and their norm; sums of "
    "convolutions of several resolutions stay linear through Resize",
    inputs=BATCH,
)
def fused_resolutions(g: Graph) -> None:
    """HRNet's exchange of resolutions, with one norm over the sum instead of one a branch."""
    fine = conv_norm(g, g.input("image", IMAGE), 3, 8)
    coarse = conv_norm(g, fine, 8, 8, stride=2)
    up = conv_transpose(g, coarse, 8, 8)
    total = g("Sum", conv(g, fine, 8, 8), up, conv(g, fine, 8, 8, 1, with_bias=True))
    classifier(g, g("Relu", norm(g, total, 8)), 8)
