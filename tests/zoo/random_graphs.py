"""Random graphs around norms: no architecture anybody would train, but every neighbourhood a norm
can have.

``random_entry(seed)`` is like an entry of the zoo, except that nobody knows its minimum; a fold
must only be right. Images first, then rows; values are picked again, so that many have several
readers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .builder import Graph
from .layers import conv, conv_transpose, conv_weight, matmul, norm, norm_params, pool
from .random_bodies import branch, same_conv
from .random_rows import rows
from .random_values import Image, list_a_default, shared
from .registry import Entry, Minimum
from .shapes import (
    clip,
    cut,
    dropout,
    pad,
    reshape,
    split,
    squeeze,
    transpose,
    unsqueeze,
    upsample,
)

UNKNOWN = Minimum(0, 0, "a random graph, of which only the answers are known")


Step = Callable[[Graph, Image, list[Image]], Image]


def random_entry(seed: int) -> Entry:
    rng = np.random.default_rng(seed)
    opset = int(rng.choice([9, 11, 13, 17, 18, 20]))
    constants = str(rng.choice(["initializer", "initializer", "node", "alias"]))
    ir = 3 if opset == 9 and constants == "initializer" and rng.integers(2) else 8
    return Entry(
        f"random {seed}",
        _fill,
        UNKNOWN,
        {"N": 2},
        graph={"opset": opset, "constants": constants},
        file={"ir": ir, "overridable": ir == 3, "value_info": bool(rng.integers(2))},
    )


def _fill(g: Graph) -> None:
    rng = g.rng
    batch: Any = "N" if rng.integers(2) else 2
    dims = int(rng.choice([1, 2, 2, 2, 3]))
    size = {1: 16, 2: 8, 3: 4}[dims]
    seen = [Image(g.input("image", [batch, 4, *[size] * dims]), 4, size, dims)]
    seen.append(_conv(g, seen[0], seen))
    for _ in range(rng.integers(4, 16)):
        recent = seen[-1] if rng.uniform() < 0.75 else seen[rng.integers(len(seen))]
        step = STEPS[rng.choice(len(STEPS), p=WEIGHTS)]
        made = step(g, recent, seen)
        if made.name != recent.name:
            seen.append(made)
    if rng.uniform() < 0.2:
        list_a_default(g)
    outputs = {seen[-1].name: seen[-1]}
    if rng.uniform() < 0.3:
        other = seen[rng.integers(1, len(seen))]
        outputs[other.name] = other
    for number, image in enumerate(outputs.values()):
        if rng.uniform() < 0.4:
            g.output(image.name, f"image{number}")
        else:
            g.output(
                rows(g, image.name, image.c, image.axes, image.size**image.dims), f"rows{number}"
            )


def _conv(g: Graph, x: Image, seen: list[Image]) -> Image:
    k = int(g.rng.choice([1, 3]))
    groups = int(g.rng.choice([1, 1, 1, 2 if x.c % 2 == 0 else 1]))
    co = int(g.rng.choice([4, 6, 8]))
    if x.size < k:
        return x
    stride = 2 if x.size >= 6 and g.rng.uniform() < 0.2 else 1
    padding = int(g.rng.choice([0, k // 2]))
    bias = bool(g.rng.integers(2))
    key = "conv", x.c, co, k, groups, x.dims
    weight = shared(g, key, lambda: conv_weight(g, x.c, co, k, groups=groups, dims=x.dims))
    y = conv(
        g,
        x.name,
        x.c,
        co,
        k,
        stride=stride,
        pad=padding,
        groups=groups,
        dims=x.dims,
        with_bias=bias,
        weight=weight,
    )
    return x._replace(name=y, c=co, size=(x.size + 2 * padding - k) // stride + 1)


def _conv_transpose(g: Graph, x: Image, seen: list[Image]) -> Image:
    if x.size > 8:
        return x
    groups = 2 if x.c % 2 == 0 and g.rng.integers(2) else 1
    k, stride = ((1, 1), (2, 2), (3, 1), (4, 2))[g.rng.integers(4)]
    options = {"groups": groups, "dims": x.dims, "with_bias": bool(g.rng.integers(2))}
    y = conv_transpose(g, x.name, x.c, 6, k, stride=stride, pad=0, **options)
    return x._replace(name=y, c=6, size=stride * (x.size - 1) + k)


def _norm(g: Graph, x: Image, seen: list[Image]) -> Image:
    sign = str(g.rng.choice(["mixed", "positive"]))
    params = shared(g, ("norm", x.c, sign), lambda: norm_params(g, x.c, sign))
    return x._replace(name=norm(g, x.name, x.c, params=params))


def _activation(g: Graph, x: Image, seen: list[Image]) -> Image:
    op = str(
        g.rng.choice([*["Relu"] * 4, "LeakyRelu", "PRelu", "Clip", "Tanh", "Sigmoid", "Abs", "Neg"])
    )
    if op == "Clip":
        return x._replace(name=clip(g, x.name, 0, 6))
    slope = (
        [g.const(g.rng.uniform(0.1, 0.9, (x.c, *[1] * x.dims)), "slope")] if op == "PRelu" else []
    )
    return x._replace(name=g(op, x.name, *slope))


def _constant(g: Graph, x: Image, seen: list[Image]) -> Image:
    """Per channel, over the width, of every pixel, or a scalar; on either side."""
    ones = [1] * x.dims
    shapes = [(x.c, *ones), (1, x.c, *ones), (x.size,), (1, x.c, *x.space), (), (1, *ones)]
    shape = shapes[g.rng.choice(6, p=[0.4, 0.2, 0.1, 0.1, 0.1, 0.1])]
    op = str(g.rng.choice(["Mul", "Add", "Sub", "Div"]))
    values = g.rng.uniform(0.5, 1.5, shape) * g.rng.choice([-1, 1, 1], shape)
    sides = [x.name, g.const(values)]
    if op != "Div" and g.rng.integers(2):
        sides.reverse()
    return x._replace(name=g(op, *sides))


def _pool(g: Graph, x: Image, seen: list[Image]) -> Image:
    if x.size < 4:
        return x
    op = str(g.rng.choice(["MaxPool", "AveragePool"]))
    if g.rng.integers(2):
        return x._replace(name=pool(g, x.name, 2, op, dims=x.dims), size=x.size // 2)
    options: dict[str, Any] = {"strides": [1] * x.dims, "pads": [1] * (2 * x.dims)}
    if op == "AveragePool" and g.rng.integers(2):
        options["count_include_pad"] = 1
    return x._replace(name=pool(g, x.name, 3, op, dims=x.dims, **options))


def _resize(g: Graph, x: Image, seen: list[Image]) -> Image:
    if x.size > 4 or x.dims != 2:
        return x
    mode = str(g.rng.choice(["nearest", "linear"])) if g.opset > 9 else "nearest"
    return x._replace(name=upsample(g, x.name, mode=mode), size=2 * x.size)


def _pad(g: Graph, x: Image, seen: list[Image]) -> Image:
    if not 2 <= x.size <= 8:
        return x
    mode = str(g.rng.choice(["constant", "reflect", "edge"]))
    pads = [0, 0, *[1] * x.dims] * 2
    return x._replace(name=pad(g, x.name, pads, mode), size=x.size + 2)


def _add(g: Graph, x: Image, seen: list[Image]) -> Image:
    """A residual: with an equal value from before, itself, its convolution, or a gate."""
    equal = [y for y in seen if (y.c, y.size) == (x.c, x.size)]
    other = equal[g.rng.integers(len(equal))].name
    kind = g.rng.integers(5)
    if kind == 0:
        other = conv(g, x.name, x.c, x.c, 3, dims=x.dims)
    elif kind == 1:
        pooled = g("GlobalAveragePool", other)
        other = conv(g, pooled, x.c, x.c, 1, dims=x.dims, with_bias=True)
    elif kind == 2:
        other = conv(g, x.name, x.c, 1, 1, dims=x.dims)
    op = str(g.rng.choice(["Add", "Add", "Sub", "Sum", "Mul"]))
    if op == "Mul":
        other = g("Sigmoid", other)
    sides = [x.name, other]
    if g.rng.integers(2):
        sides.reverse()
    return x._replace(name=g(op, *sides))


def _concat(g: Graph, x: Image, seen: list[Image]) -> Image:
    same = [y for y in seen if y.size == x.size and y.c + x.c <= 16]
    if not same:
        return x
    other = same[g.rng.integers(len(same))]
    return x._replace(name=g("Concat", x.name, other.name, axis=1), c=x.c + other.c)


def _split(g: Graph, x: Image, seen: list[Image]) -> Image:
    sizes = [x.c // 2, x.c - x.c // 2]
    parts = [x._replace(name=y, c=c) for y, c in zip(split(g, x.name, sizes), sizes)]
    parts = [(_norm if g.rng.integers(2) else _activation)(g, part, seen) for part in parts]
    seen.append(parts[0])
    if g.rng.integers(2):
        return parts[1]
    return x._replace(name=g("Concat", parts[1].name, parts[0].name, axis=1))


def _channels(g: Graph, x: Image, seen: list[Image]) -> Image:
    """Cut, picked, shuffled, or brought into space and back."""
    kind = g.rng.integers(4)
    if kind == 0 and x.c > 4:
        return x._replace(name=cut(g, x.name, 1, 1, x.c - 1), c=x.c - 2)
    if kind == 1:
        order = g.rng.permutation(x.c) if g.rng.integers(3) else g.rng.integers(0, x.c, x.c)
        return x._replace(name=g("Gather", x.name, g.const(order.astype(np.int64)), axis=1))
    if kind == 2 and x.c % 4 == 0 and x.size <= 6 and x.dims == 2:
        mode = {"mode": str(g.rng.choice(["DCR", "CRD"]))} if g.opset >= 11 else {}
        y = g("DepthToSpace", x.name, blocksize=2, **mode)
        return x._replace(name=y, c=x.c // 4, size=2 * x.size)
    if x.c % 2:
        return x
    y = transpose(g, reshape(g, x.name, -1, 2, x.c // 2, *x.space), 0, 2, 1, *range(3, 3 + x.dims))
    return x._replace(name=reshape(g, y, -1, x.c, *x.space))


def _views(g: Graph, x: Image, seen: list[Image]) -> Image:
    """What changes nothing, or puts channels last and does something there."""
    kind = g.rng.integers(4)
    if kind == 0:
        return x._replace(name=dropout(g, x.name) if g.rng.integers(2) else g("Identity", x.name))
    if kind == 1:
        return x._replace(name=squeeze(g, unsqueeze(g, x.name, 2), 2))
    y = transpose(g, x.name, *x.channels_last)
    if kind == 2:
        op = str(g.rng.choice(["Mul", "Add"]))
        y = g(op, y, g.const(g.rng.uniform(0.5, 1.5, (x.c,))))
    else:
        y = matmul(g, y, x.c, x.c, with_bias=bool(g.rng.integers(2)))
    return x._replace(name=transpose(g, y, *x.channels_first))


def _branch(g: Graph, x: Image, seen: list[Image]) -> Image:
    return branch(g, x, (_norm, _norm, same_conv, same_conv, _activation, _constant))


# step -> how often
OFTEN: dict[Step, float] = {
    _norm: 8,
    _conv: 5,
    _activation: 4,
    _constant: 2,
    _add: 2,
    _concat: 1.5,
    _split: 1,
    _channels: 1.5,
    _views: 1.5,
    _pool: 1,
    _resize: 0.5,
    _pad: 0.7,
    _conv_transpose: 1,
    _branch: 0.7,
}
STEPS = list(OFTEN)
WEIGHTS = np.array(list(OFTEN.values())) / sum(OFTEN.values())
