"""Decoders: transposed convolutions with groups, sub-pixel convolutions."""

from __future__ import annotations

import numpy as np

from .builder import Graph
from .layers import conv, conv_norm, conv_transpose, gemm, norm
from .registry import model
from .shapes import reshape

BATCH = {"N": 2}


@model(
    norms=0,
    why="a Gemm seen as (N, C, H, W) takes every channel H·W times; a transposed weight is scaled "
    "group by group",
    inputs=BATCH,
)
def dcgan_generator(g: Graph) -> None:
    x = reshape(g, gemm(g, g.input("noise", ["N", 12]), 12, 16 * 4 * 4), -1, 16, 4, 4)
    x = g("Relu", norm(g, x, 16))
    x = g("Relu", norm(g, conv_transpose(g, x, 16, 12, groups=2), 12))
    x = g("Relu", norm(g, conv_transpose(g, x, 12, 12, 3, groups=12, with_bias=True), 12))
    g.output(g("Tanh", conv_transpose(g, x, 12, 3)), "image")


@model(norms=0, why="every norm follows a convolution that nothing else reads", inputs=BATCH)
def dcgan_discriminator(g: Graph) -> None:
    x = g(
        "LeakyRelu",
        conv(g, g.input("image", ["N", 3, 16, 16]), 3, 8, 4, stride=2, pad=1),
        alpha=0.2,
    )
    x = g("LeakyRelu", norm(g, conv(g, x, 8, 12, 4, stride=2, pad=1), 12), alpha=0.2)
    x = g("LeakyRelu", norm(g, conv(g, x, 12, 16, 3, stride=2), 16), alpha=0.2)
    g.output(g("Sigmoid", conv(g, x, 16, 1, 2, pad=0)), "real")


@model(
    norms=0,
    added=1,
    why="the scale goes into axis 0 of the transposed weight; the shift stays, as one Add",
    inputs=BATCH,
)
def norm_before_transposed(g: Graph) -> None:
    x = g("Tanh", conv(g, g.input("image", ["N", 3, 8, 8]), 3, 8))
    g.output(conv_transpose(g, norm(g, x, 8), 8, 4, groups=2), "image_2x")


@model(
    norms=0,
    why="channels of DepthToSpace are followed back: tiled for DCR, repeated for CRD",
    inputs=BATCH,
)
def super_resolution(g: Graph) -> None:
    """SRResNet with a norm after each sub-pixel step."""
    x = g.input("image", ["N", 3, 6, 6])
    x = g("PRelu", conv(g, x, 3, 8, 5, with_bias=True), g.const(np.full((8, 1, 1), 0.2), "slope"))
    y = g("PRelu", conv_norm(g, x, 8, 8, act=""), g.const(np.array([0.3]), "slope"))
    x = g("Add", conv_norm(g, y, 8, 8, act=""), x)
    for mode in ("DCR", "CRD"):
        x = g("DepthToSpace", conv(g, x, 8, 32), blocksize=2, mode=mode)
        x = g("Relu", norm(g, x, 8))
    g.output(g("Tanh", conv(g, x, 8, 3, 5, with_bias=True)), "image_4x")
