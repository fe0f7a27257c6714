"""Ops whose form depends on the opset (what was an attribute became an input), one a function."""

from __future__ import annotations

import numpy as np

from .builder import Graph


def _ints(g: Graph, values: list[int]) -> str:
    return g.const(np.array(values, np.int64), "ints")


def squeeze(g: Graph, x: str, *axes: int) -> str:
    if g.opset < 13:
        return g("Squeeze", x, axes=axes)
    return g("Squeeze", x, _ints(g, [*axes]))


def unsqueeze(g: Graph, x: str, *axes: int) -> str:
    if g.opset < 13:
        return g("Unsqueeze", x, axes=axes)
    return g("Unsqueeze", x, _ints(g, [*axes]))


def reduce_mean(g: Graph, x: str, *axes: int, keepdims: int = 0) -> str:
    if g.opset < 18:
        return g("ReduceMean", x, axes=axes, keepdims=keepdims)
    return g("ReduceMean", x, _ints(g, [*axes]), keepdims=keepdims)


def reduce_max(g: Graph, x: str, *axes: int, keepdims: int = 0) -> str:
    if g.opset < 18:
        return g("ReduceMax", x, axes=axes, keepdims=keepdims)
    return g("ReduceMax", x, _ints(g, [*axes]), keepdims=keepdims)


def reduce_sum(g: Graph, x: str, *axes: int, keepdims: int = 0) -> str:
    if g.opset < 13:
        return g("ReduceSum", x, axes=axes, keepdims=keepdims)
    return g("ReduceSum", x, _ints(g, [*axes]), keepdims=keepdims)


def split(g: Graph, x: str, sizes: list[int], axis: int = 1) -> list[str]:
    if g.opset < 13:
        return g.many("Split", x, outputs=len(sizes), axis=axis, split=sizes)
    return g.many("Split", x, _ints(g, sizes), outputs=len(sizes), axis=axis)


def cut(g: Graph, x: str, axis: int, start: int, end: int) -> str:
    """Slice along one axis."""
    if g.opset < 10:
        return g("Slice", x, axes=[axis], starts=[start], ends=[end])
    return g("Slice", x, *(_ints(g, [value]) for value in (start, end, axis)))


def pad(g: Graph, x: str, pads: list[int], mode: str = "constant") -> str:
    if g.opset < 11:
        return g("Pad", x, mode=mode, pads=pads)
    return g("Pad", x, _ints(g, pads), mode=mode)


def clip(g: Graph, x: str, low: float, high: float) -> str:
    if g.opset < 11:
        return g("Clip", x, min=float(low), max=float(high))
    return g("Clip", x, g.const(np.array(float(low))), g.const(np.array(float(high))))


def dropout(g: Graph, x: str) -> str:
    return g("Dropout", x, ratio=0.5) if g.opset < 12 else g("Dropout", x)


def upsample(g: Graph, x: str, factor: float = 2.0, mode: str = "nearest") -> str:
    """Images, by a factor in height and width."""
    scales = [1.0, 1.0, factor, factor]
    if g.opset < 9:
        return g("Upsample", x, mode=mode, scales=scales)
    values = g.const(np.array(scales, np.float32), "scales", exact=True)
    if g.opset < 10:
        return g("Upsample", x, values, mode=mode)
    region = "" if g.opset >= 13 else g.const(np.zeros(0, np.float32), "roi", exact=True)
    return g("Resize", x, region, values, mode=mode)


def reshape(g: Graph, x: str, *shape: int) -> str:
    return g("Reshape", x, _ints(g, [*shape]))


def transpose(g: Graph, x: str, *perm: int) -> str:
    return g("Transpose", x, perm=perm)
