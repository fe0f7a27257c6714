"""From layers to nodes: one rule per kind of layer. What has no rule becomes a `Call`.

Images lie with channels last inside a plan, whatever the net's axis is: where that is 1, a value is turned once, and back
only for what must see it as the net does.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..backend.geometry import ConvGeometry
from ..functional._conv_sizes import plan as conv_sizes
from ..functional.pooling import pool_geometry as pool_sizes
from ..layers import (
    GELU,
    AvgPool,
    BatchNorm,
    Concat,
    Conv1d,
    Conv2d,
    Dropout,
    Flatten,
    GlobalAvgPool,
    GlobalMaxPool,
    Layer,
    LeakyReLU,
    Linear,
    MaxPool,
    ReLU,
    Residual,
    Sequential,
    Sigmoid,
    SiLU,
    Tanh,
)
from .nodes import (
    Activate,
    Call,
    Concatenate,
    Convolve,
    GlobalPool,
    Node,
    Normalize,
    Pool,
    Reshape,
    Sum,
    Turn,
)
from .values import Unsupported, Value

__all__ = ["Tracer"]


class Tracer:
    """Walks a net and notes what it does."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self._turned: dict[tuple[Value, bool], Value] = {}

    def lower(
        self,
        layer: Layer,
        x: Value,
        path: str,
        residual: Value | None = None,
        activation: str | None = None,
    ) -> Value:
        """What ``layer`` makes of ``x``; ``residual`` and ``activation`` are those of a residual block."""
        rule = _RULES.get(type(layer))
        if rule is None:
            return self.call(layer, x, path, residual, activation)
        if residual is not None:
            return rule(self, layer, x, path, residual, activation)
        return rule(self, layer, x, path)

    def value(
        self, path: str, shape: tuple[int, ...], like: Value, turned: bool = False, **more: Any
    ) -> Value:
        """A new value of the dtype of ``like``."""
        return Value(path, shape, like.dtype, turned, **more)

    def add(self, node: Node) -> Value:
        """Note an operation; its result."""
        learns = any(value.learns for value in node.inputs())
        layer = getattr(node, "layer", None)
        if layer is not None:
            learns = learns or next(layer.named_parameters(), None) is not None
        node.y.learns = learns
        self.nodes.append(node)
        return node.y

    # ---- layouts

    def last(self, x: Value, axis: int, path: str) -> Value:
        """x with channels last in memory, those of a layer with this axis."""
        if axis == 1 and len(x.shape) > 2:
            return x if x.turned else self._turn(x, True, path)
        if axis in (1, -1, len(x.shape) - 1):
            return self.plain(x, path)
        raise Unsupported(f"{path}: channels on axis {axis}")

    def plain(self, x: Value, path: str) -> Value:
        """x as it lies for the net."""
        return self._turn(x, False, path) if x.turned else x

    def _turn(self, x: Value, to_last: bool, path: str) -> Value:
        key = (x, to_last)
        if key not in self._turned:
            if to_last:
                shape: tuple[int, ...] = (x.shape[0], *x.shape[2:], x.shape[1])
            else:
                shape = x.channels_first_shape
            y = self.value(f"{x.name} turned", shape, x, turned=to_last)
            self._turned[key] = self.add(Turn(path, x, y, to_last))
        return self._turned[key]

    # ---- what is not known

    def call(
        self,
        layer: Layer,
        x: Value,
        path: str,
        residual: Value | None = None,
        activation: str | None = None,
    ) -> Value:
        """A layer as a black box; the shape of its output is that of a copy's in evaluation mode."""
        if residual is not None and not type(layer).__module__.startswith("bncore."):
            raise Unsupported(f"{path}: a layer of its own kind adds a residual in its own way")
        x = self.plain(x, path)
        try:
            twin = layer.copy()
            twin.eval()
            shape = twin(np.zeros(x.shape, x.dtype)).shape
        except Exception as error:
            raise Unsupported(f"{path}: {error}") from error
        y = self.add(Call(path, x, self.value(path, shape, x), layer))
        return y if residual is None else self.sum(path, y, residual, activation is not None)

    def sum(self, path: str, y: Value, residual: Value, relu: bool) -> Value:
        """``act(y + residual)`` in a step of its own."""
        if y.turned != residual.turned:
            y, residual = self.plain(y, path), self.plain(residual, path)
        if y.shape != residual.shape:
            raise Unsupported(f"{path}: shapes {y.shape} and {residual.shape}")
        return self.add(Sum(path, y, self.value(path, y.shape, y, y.turned), residual, relu))


Rule = Callable[..., Value]


def _sequential(
    t: Tracer,
    net: Sequential,
    x: Value,
    path: str,
    residual: Value | None = None,
    activation: str | None = None,
) -> Value:
    children = list(net.children())
    for name, layer in children[:-1]:
        x = t.lower(layer, x, _join(path, name))
    for name, layer in children[-1:]:
        x = t.lower(layer, x, _join(path, name), residual, activation)
    return x


def _residual(t: Tracer, block: Residual, x: Value, path: str) -> Value:
    r = x
    if block.shortcut is not None:
        r = t.lower(block.shortcut, x, _join(path, "shortcut"))
    main = _join(path, "main")
    relu = block.activation is not None
    if block.main.accepts_residual():
        return t.lower(block.main, x, main, r, block.activation)
    return t.sum(path, t.lower(block.main, x, main), r, relu)


def _concat(t: Tracer, layer: Concat, x: Value, path: str) -> Value:
    parts = [t.lower(branch, x, _join(path, name)) for name, branch in layer.children()]
    parts = [t.last(part, layer.axis, path) for part in parts]
    if len({part.shape[:-1] for part in parts}) > 1:
        raise Unsupported(f"{path}: branches of different sizes")
    channels = sum(part.shape[-1] for part in parts)
    y = t.value(path, (*parts[0].shape[:-1], channels), x, parts[0].turned)
    return t.add(Concatenate(path, parts[0], y, parts))


def _linear(t: Tracer, layer: Linear, x: Value, path: str) -> Value:
    x = t.plain(x, path)
    if len(x.shape) < 1 or x.shape[-1] != layer.in_features:
        raise Unsupported(f"{path}: {x.shape}")
    rows, one = x.size // layer.in_features, (1, 1)
    geometry = ConvGeometry(
        rows, layer.in_features, one, layer.out_features, one, one, one, (0, 0), one, 1, True
    )
    y = t.value(path, (*x.shape[:-1], layer.out_features), x)
    return t.add(Convolve(path, x, y, layer, geometry, None, layer.activation is not None))


def _conv(
    t: Tracer,
    layer: Conv1d | Conv2d,
    x: Value,
    path: str,
    residual: Value | None = None,
    activation: str | None = None,
) -> Value:
    x = t.last(x, layer.axis, path)
    try:
        geometry, shape = conv_sizes(
            x.shape, layer.weight.shape, layer.spatial, layer.stride, layer.padding,
            layer.dilation, layer.groups, -1, False, 0,
        )  # fmt: skip
    except (TypeError, ValueError) as error:
        raise Unsupported(f"{path}: {error}") from error
    residual = _beside(t, residual, shape, layer.axis, path)
    y = t.value(path, shape, x, x.turned)
    relu = (layer.activation or activation) is not None
    return t.add(Convolve(path, x, y, layer, geometry, residual, relu))


def _norm(
    t: Tracer,
    layer: BatchNorm,
    x: Value,
    path: str,
    residual: Value | None = None,
    activation: str | None = None,
) -> Value:
    batch = layer.training and not layer.frozen
    plain = layer.statistics == "batch" and layer.ghost_batch_size is None
    if batch and not plain:  # these see the batch in pieces, or twice
        return t.call(layer, x, path, residual, activation)
    if layer.running_mean is None:
        batch = True
    x = t.last(x, layer.axis, path)
    c = layer.num_features
    if x.shape[-1] != c or x.size == 0 or (batch and x.size == c):
        raise Unsupported(f"{path}: {x.shape}")
    residual = _beside(t, residual, x.shape, layer.axis, path)
    relu = (layer.activation or activation) is not None
    y = t.value(path, x.shape, x, x.turned)
    return t.add(Normalize(path, x, y, layer, residual, relu, batch))


def _beside(
    t: Tracer, residual: Value | None, shape: tuple[int, ...], axis: int, path: str
) -> Value | None:
    """A residual as it lies beside a value of this shape."""
    if residual is None:
        return None
    residual = t.last(residual, axis, path)
    if residual.shape != shape:
        raise Unsupported(f"{path}: residual of shape {residual.shape} beside {shape}")
    return residual


def _activation(kind: str) -> Rule:
    def rule(t: Tracer, layer: Any, x: Value, path: str) -> Value:
        name = "gelu_tanh" if getattr(layer, "approximate", "none") == "tanh" else kind
        slope = getattr(layer, "negative_slope", 0.0)
        return t.add(Activate(path, x, t.value(path, x.shape, x, x.turned), name, slope))

    return rule


def _pool(kind: str) -> Rule:
    def rule(t: Tracer, layer: Any, x: Value, path: str) -> Value:
        x = t.last(x, layer.axis, path)
        shaped = np.broadcast_to(np.zeros(1, x.dtype), x.shape)  # sizes without memory
        try:
            g = pool_sizes(shaped, layer.kernel_size, layer.stride, layer.padding, -1)
        except (TypeError, ValueError) as error:
            raise Unsupported(f"{path}: {error}") from error
        y = t.value(path, g.y, x, x.turned)
        include = getattr(layer, "count_include_pad", True)
        node = Pool(path, x, y, kind, g.image, g.kernel, g.stride, g.padding, include)
        if kind == "max":
            wide = math.prod(g.kernel) > 256
            dtype = np.dtype(np.int32 if wide else np.uint8)
            node.index = Value(f"{path} index", y.shape, dtype)
        return t.add(node)

    return rule


def _global_pool(kind: str) -> Rule:
    def rule(t: Tracer, layer: Any, x: Value, path: str) -> Value:
        if len(x.shape) < 3 or x.size == 0:
            raise Unsupported(f"{path}: {x.shape}")
        x = t.last(x, layer.axis, path)
        n, c = x.shape[0], x.shape[-1]
        node = GlobalPool(path, x, t.value(path, (n, c), x), kind, x.size // (n * c))
        if kind == "max":
            node.index = Value(f"{path} index", (n, c), np.dtype(np.int64))
        return t.add(node)

    return rule


def _flatten(t: Tracer, layer: Flatten, x: Value, path: str) -> Value:
    if x.turned and math.prod(x.shape[1:-1]) > 1:
        x = t.plain(x, path)
    shape = (x.shape[0], math.prod(x.shape[1:]))
    return t.add(Reshape(path, x, t.value(path, shape, x, base=x)))


def _dropout(t: Tracer, layer: Dropout, x: Value, path: str) -> Value:
    return x if not layer.training or layer.p == 0.0 else t.call(layer, x, path)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


_RULES: dict[type, Rule] = {
    AvgPool: _pool("avg"),
    BatchNorm: _norm,
    Concat: _concat,
    Conv1d: _conv,
    Conv2d: _conv,
    Dropout: _dropout,
    Flatten: _flatten,
    GELU: _activation("gelu"),
    GlobalAvgPool: _global_pool("avg"),
    GlobalMaxPool: _global_pool("max"),
    LeakyReLU: _activation("leaky_relu"),
    Linear: _linear,
    MaxPool: _pool("max"),
    ReLU: _activation("relu"),
    Residual: _residual,
    Sequential: _sequential,
    SiLU: _activation("silu"),
    Sigmoid: _activation("sigmoid"),
    Tanh: _activation("tanh"),
}
