"""A whole net in float64 NumPy, and its norms' population statistics by their definitions.

The oracle of the tests of statistics: reads a net's weights and sizes, uses none of its arithmetic. Keeps all data in
memory at once.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

Array = np.ndarray[Any, Any]
Norm = Callable[[str, Any, Array], Array]


def run(layer: Any, x: Array, norm: Norm, path: str = "") -> Array:
    """y of a net in float64, dropout off; `norm(path, layer, x)` says what a norm gives before its activation."""

    def inside(name: str, child: Any, x: Array) -> Array:
        return run(child, x, norm, f"{path}.{name}" if path else name)

    kind = type(layer).__name__
    if kind == "Sequential":
        for index, child in enumerate(layer.layers):
            x = inside(str(index), child, x)
        return x
    if kind == "Residual":
        shortcut = x if layer.shortcut is None else inside("shortcut", layer.shortcut, x)
        return _act(inside("main", layer.main, x) + shortcut, layer.activation)
    if kind == "Concat":
        parts = [inside(str(index), branch, x) for index, branch in enumerate(layer.branches)]
        return np.concatenate(parts, layer.axis)
    if kind == "BatchNorm":
        return _act(norm(path, layer, x), layer.activation)
    return _LAYERS[kind](layer, x)


def _act(x: Array, activation: str | None) -> Array:
    return x if activation is None else np.maximum(x, 0)


def _linear(layer: Any, x: Array) -> Array:
    y = x @ np.float64(layer.weight).T
    return _act(y if layer.bias is None else y + np.float64(layer.bias), layer.activation)


def _conv(layer: Any, x: Array) -> Array:
    assert layer.groups == 1 and layer.dilation == (1, 1)
    windows = _windows(layer, x, layer.padding, 0.0)
    y = np.einsum("nchwij,ocij->nohw", windows, np.float64(layer.weight))
    if layer.bias is not None:
        y += np.float64(layer.bias)[:, None, None]
    return _act(_back(layer, y), layer.activation)


def _windows(layer: Any, x: Array, padding: Any, fill: float) -> Array:
    """(n, c, output rows, output columns, kernel rows, kernel columns)"""
    x = np.moveaxis(x, -1, 1) if layer.axis == -1 else x
    kernel, step = _pair(layer.kernel_size), _pair(layer.stride or layer.kernel_size)
    up, left = _pair(padding)
    x = np.pad(x, ((0, 0), (0, 0), (up, up), (left, left)), constant_values=fill)
    return sliding_window_view(x, kernel, (2, 3))[:, :, :: step[0], :: step[1]]


def _pair(size: Any) -> tuple[int, int]:
    return tuple(size) if isinstance(size, tuple) else (size, size)


def _back(layer: Any, y: Array) -> Array:
    return np.moveaxis(y, 1, -1) if layer.axis == -1 else y


_LAYERS: dict[str, Callable[[Any, Array], Array]] = {
    "Linear": _linear,
    "Conv2d": _conv,
    "MaxPool": lambda p, x: _back(p, _windows(p, x, p.padding, -np.inf).max(axis=(4, 5))),
    "AvgPool": lambda p, x: _back(p, _windows(p, x, p.padding, 0.0).mean(axis=(4, 5))),
    "GlobalAvgPool": lambda p, x: x.mean(axis=(2, 3) if p.axis == 1 else (1, 2)),
    "Flatten": lambda _, x: x.reshape(len(x), -1),
    "ReLU": lambda _, x: np.maximum(x, 0),
    "Dropout": lambda _, x: x,
}


def moments(x: Array, axis: int) -> tuple[int, Array, Array]:
    """Values per channel, mean and biased variance."""
    rows = np.moveaxis(x, axis, -1).reshape(-1, x.shape[axis])
    return len(rows), rows.mean(axis=0), rows.var(axis=0)


def normalized(norm: Any, x: Array, mean: Array, var: Array) -> Array:
    """gamma (x - mean) / sqrt(var + eps) + beta"""
    shape = [1] * x.ndim
    shape[norm.axis] = -1
    y = (x - mean.reshape(shape)) / np.sqrt(var + norm.eps).reshape(shape)
    if norm.weight is not None:
        y = y * np.float64(norm.weight).reshape(shape)
    if norm.bias is not None:
        y = y + np.float64(norm.bias).reshape(shape)
    return y


def stored(norm: Any, count: float, var: Array) -> Array:
    """What the running variance holds for a biased variance over `count` values."""
    return var * (count / (count - 1)) if norm.unbiased else var


def population(net: Any, x: Array, method: str, borders: list[int]) -> dict[str, tuple[Any, Any]]:
    """{path: (running mean, running variance)} after `recalibrate` with that method, by definition."""
    result: dict[str, tuple[Any, Any]] = {}
    x = np.float64(x)
    if method == "ema":

        def keep(path: str, norm: Any, x: Array) -> Array:
            result[path] = np.float64(norm.running_mean), np.float64(norm.running_var)
            return normalized(norm, x, *result[path])

        run(net, x, keep)
    elif method == "sequential":  # everything at once: what comes in is what evaluation computes

        def fix(path: str, norm: Any, x: Array) -> Array:
            count, mean, var = moments(x, norm.axis)
            result[path] = mean, stored(norm, count, var)
            return normalized(norm, x, *result[path])

        run(net, x, fix)
    else:
        received: dict[str, list[Array]] = {}
        norms: dict[str, Any] = {}

        def by_batch(path: str, norm: Any, x: Array) -> Array:
            received.setdefault(path, []).append(x)
            norms[path] = norm
            return normalized(norm, x, *moments(x, norm.axis)[1:])

        for begin, end in pairwise(borders):
            run(net, x[begin:end], by_batch)
        for path, inputs in received.items():
            result[path] = _merged(norms[path], inputs, method)
    return result


def _merged(norm: Any, inputs: list[Array], method: str) -> tuple[Array, Array]:
    """What a norm received, batch by batch, as one mean and one running variance."""
    total, mean, var = moments(np.concatenate(inputs), norm.axis)
    if method == "pooled":
        return mean, stored(norm, total, var)
    by_batch = [moments(x, norm.axis) for x in inputs]
    mean = sum(count * mean for count, mean, _ in by_batch) / total
    var = sum(count * var * count / (count - 1) for count, _, var in by_batch) / total
    return mean, var if norm.unbiased else var * (total - 1) / total
