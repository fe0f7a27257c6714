"""An If in a random graph: both bodies read the same outer value and do something else with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .builder import Graph
from .layers import conv, conv_weight
from .random_values import Image, shared

Step = Callable[[Graph, Image, list[Image]], Image]


def branch(g: Graph, x: Image, steps: Sequence[Step]) -> Image:
    """A few of the steps, which must keep the shape, in each body; nothing before opset 11, whose
    files may be of IR 3 and then have no initializers in bodies.
    """
    if g.opset < 11:
        return x
    bodies = []
    for name in ("then", "else"):
        inner = g.body()
        inner.shelf = dict(g.shelf)  # outer constants may be read inside, not the other way round
        y = x
        for _ in range(g.rng.integers(1, 5)):
            y = steps[g.rng.integers(len(steps))](inner, y, [x])
        result = y.name if y.name != x.name and g.rng.integers(2) else inner("Identity", y.name)
        inner.output(result, shape=["N", x.c, *x.space])
        bodies.append(inner.graph(name))
    condition = g("Greater", g("ReduceMean", x.name, keepdims=0), g.const(np.array(0.0)))
    return x._replace(name=g("If", condition, then_branch=bodies[0], else_branch=bodies[1]))


def same_conv(g: Graph, x: Image, seen: list[Image]) -> Image:
    """A convolution that keeps the shape."""
    key = "same", x.c, x.dims
    weight = shared(g, key, lambda: conv_weight(g, x.c, x.c, 3, dims=x.dims))
    with_bias = bool(g.rng.integers(2))
    y = conv(g, x.name, x.c, x.c, 3, dims=x.dims, weight=weight, with_bias=with_bias)
    return x._replace(name=y)
