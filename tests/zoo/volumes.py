"""Three space dimensions: C3D, factorized video convolutions, a volumetric decoder."""

from __future__ import annotations

from .builder import Graph
from .layers import classifier, conv, conv_norm, conv_transpose, kernel, norm, pool
from .registry import model

VOLUME = ["N", 2, 6, 8, 8]


@model(norms=0, why="every norm follows a 3-D convolution that nothing else reads", inputs={"N": 1})
def c3d(g: Graph) -> None:
    x = conv_norm(g, g.input("video", VOLUME), 2, 6, dims=3)
    x = conv_norm(g, pool(g, x, dims=3), 6, 8, dims=3, groups=2)
    classifier(g, x, 8)


@model(
    norms=0,
    added=1,
    why="one norm follows a convolution, one stands before a padded one: an Add",
    inputs={"N": 1},
)
def r2plus1d(g: Graph) -> None:
    x = g("Conv", g.input("video", VOLUME), kernel(g, (6, 2, 1, 3, 3), 18), pads=[0, 1, 1] * 2)
    x = g("Relu", norm(g, x, 6))
    x = norm(g, g("Sigmoid", g("Conv", x, kernel(g, (6, 6, 3, 1, 1), 18), pads=[1, 0, 0] * 2)), 6)
    classifier(g, g("Relu", conv(g, x, 6, 8, dims=3)), 8)


@model(norms=0, why="norms follow convolutions and grouped transposed ones", inputs={"N": 1})
def vnet(g: Graph) -> None:
    fine = conv_norm(g, g.input("volume", VOLUME), 2, 4, dims=3)
    x = conv_norm(g, fine, 4, 8, 2, dims=3, stride=2, pad=0)
    x = norm(g, conv_transpose(g, x, 8, 4, 2, pad=0, groups=2, dims=3), 4)
    x = g("Relu", g("Add", x, fine))
    g.output(conv(g, x, 4, 2, 1, dims=3), "mask")
