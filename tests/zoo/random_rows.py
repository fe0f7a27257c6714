"""The second half of random graphs: from images to rows or sequences, and a few layers there."""

from __future__ import annotations

from .builder import Graph
from .layers import bias, gemm, kernel, matmul, norm, recurrent
from .shapes import reduce_max, reduce_mean, reshape, transpose


def rows(g: Graph, x: str, c: int, axes: list[int], pixels: int) -> str:
    """From an image to rows, by one of the usual ways, then a few layers."""
    kind = g.rng.integers(6)
    if kind == 0 and c * pixels <= 600:
        y, c = g("Flatten", x), c * pixels
    elif kind == 1:
        y = reduce_max(g, x, *axes)
    elif kind == 2:
        y = reduce_mean(g, x, *axes)
    elif kind == 3:
        return _sequence(g, x, c, pixels)
    else:
        y = g("Flatten", g("GlobalAveragePool", x))
    for _ in range(g.rng.integers(1, 6)):
        what = g.rng.integers(5)
        if what == 0:
            y, c = gemm(g, y, c, 6, with_bias=bool(g.rng.integers(2))), 6
        elif what == 1:
            y, c = matmul(g, y, c, 5, with_bias=bool(g.rng.integers(2))), 5
        elif what == 2:
            y = g(str(g.rng.choice(["Relu", "Tanh", "LeakyRelu"])), y)
        else:
            y = norm(g, y, c)
    return y


def _sequence(g: Graph, x: str, c: int, length: int) -> str:
    """Pixels as steps: a norm over channels, a linear layer or a recurrent one, a norm again."""
    y = reshape(g, x, -1, c, length)
    if g.rng.integers(2):
        y = norm(g, y, c)
    if g.rng.integers(2):
        y = recurrent(g, "LSTM", transpose(g, y, 2, 0, 1), c, 5, directions=1)
        y = reshape(g, y, -1, 5)
    else:
        y = g("MatMul", transpose(g, y, 0, 2, 1), kernel(g, (c, 5), c))
        y = g("Add", y, bias(g, 5)) if g.rng.integers(2) else y
        y = reshape(g, y, -1, 5)
    if g.rng.integers(2):
        y = norm(g, y, 5)
    return gemm(g, y, 5, 3)
