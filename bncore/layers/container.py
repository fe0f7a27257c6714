"""Layers made of layers: a chain, a residual block, parallel branches.

They pass arrays on and put the path of the failing layer into errors; they own no parameters.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, overload

import numpy as np

from ..functional import relu, relu_backward
from ..support import checks
from .base import Array, Layer, locate
from .registry import build, register

__all__ = ["Concat", "Residual", "Sequential"]

_LOCATED = (TypeError, ValueError, RuntimeError)


@register
class Sequential(Layer):
    """Layers one after the other. Indexing gives a layer, a slice a shorter chain of the same layers.

    Parameters
    ----------
    *layers : Layer
        Each object once: a layer remembers its last forward. ``layer.copy()`` makes another.
    """

    def __init__(self, *layers: Layer) -> None:
        self._replace(layers)

    def forward(
        self, x: Array, residual: Array | None = None, activation: str | None = None
    ) -> Array:
        """y. ``residual`` and ``activation`` go to the last layer, which must be one that `accepts_residual`."""
        layers = self.layers
        layer: Layer = self
        try:
            if residual is None:
                for layer in layers:
                    x = layer(x)
            else:
                for layer in layers[:-1]:
                    x = layer(x)
                layer = layers[-1]
                x = layer(x, residual, activation)
        except _LOCATED as error:
            locate(error, _name_of(layer, self), layer)
            raise
        return x

    def backward(self, dy: Any) -> Any:
        """dx, or (dx, dresidual) if forward was given a residual; None in place of dx if nobody asked for it."""
        dresidual = None
        layer: Layer = self
        try:
            for layer in reversed(self.layers[self._first :]):
                dy = layer.backward(dy)
                if type(dy) is tuple:
                    dy, dresidual = dy
        except _LOCATED as error:
            locate(error, _name_of(layer, self), layer)
            raise
        dx = dy if self.input_gradient else None
        return dx if dresidual is None else (dx, dresidual)

    def accepts_residual(self) -> bool:
        return bool(self.layers) and self.layers[-1].accepts_residual()

    def require_input_gradient(self, required: bool = True) -> None:
        self.input_gradient = required
        # Without dx, backward ends at the first layer that has parameters
        self._first = 0
        if not required:
            self._first = len(self.layers)
            for index, layer in enumerate(self.layers):
                if next(layer.named_parameters(), None) is not None:
                    self._first = index
                    break
        for index, layer in enumerate(self.layers):
            layer.require_input_gradient(required or index > self._first)

    # ---- the list of layers

    def children(self) -> Iterable[tuple[str, Layer]]:
        return [(str(index), layer) for index, layer in enumerate(self.layers)]

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    @overload
    def __getitem__(self, index: int) -> Layer: ...
    @overload
    def __getitem__(self, index: slice) -> Sequential: ...
    def __getitem__(self, index: int | slice) -> Layer | Sequential:
        return Sequential(*self.layers[index]) if isinstance(index, slice) else self.layers[index]

    def __setitem__(self, index: int, layer: Layer) -> None:
        layers = list(self.layers)
        layers[index] = layer
        self._replace(layers)

    def __delitem__(self, index: int | slice) -> None:
        layers = list(self.layers)
        del layers[index]
        self._replace(layers)

    def insert(self, index: int, layer: Layer) -> None:
        layers = list(self.layers)
        layers.insert(index, layer)
        self._replace(layers)

    def append(self, layer: Layer) -> None:
        self._replace([*self.layers, layer])

    def _replace(self, layers: Iterable[Layer]) -> None:
        found = tuple(layers)
        _judge_children(self, [(str(index), layer) for index, layer in enumerate(found)])
        self.layers = found
        self.require_input_gradient(self.input_gradient)

    def config(self) -> dict[str, Any]:
        return {"type": "Sequential", "layers": [layer.config() for layer in self.layers]}

    @classmethod
    def from_config(cls, arguments: dict[str, Any]) -> Sequential:
        return cls(*_build_all(arguments, "layers"))


@register
class Residual(Layer):
    """``y = act(main(x) + shortcut(x))`` (He 2015, arXiv 1512.03385).

    Where ``main`` ends in a `BatchNorm` or a convolution without an activation of its own, sum and ReLU are part of
    that layer's pass; elsewhere they are computed behind it.

    Parameters
    ----------
    main : Layer
    shortcut : Layer or None
        None is the identity; something with parameters where the shape changes.
    activation : "relu" or None
    """

    def __init__(
        self, main: Layer, shortcut: Layer | None = None, activation: str | None = "relu"
    ) -> None:
        self.main = main
        self.shortcut = shortcut
        self.activation = checks.one_of(activation, "activation", (None, "relu"))
        _judge_children(self, self.children())
        self.require_input_gradient()

    def forward(self, x: Array) -> Array:
        name, child = "shortcut", self.shortcut
        try:
            r = x if child is None else child(x)
            name, child = "main", self.main
            fused = child.accepts_residual()
            y = child(x, r, self.activation) if fused else child(x)
        except _LOCATED as error:
            assert child is not None
            locate(error, name, child)
            raise
        mask = None
        if not fused:
            if y.shape != r.shape:
                raise ValueError(
                    f"main and shortcut must give one shape, got {y.shape} and {r.shape}"
                )
            y = y + r
            if self.activation is not None:
                y, mask = relu(y)
        if self.keeps:
            self._saved = (fused, mask)
        return y

    def backward(self, dy: Array) -> Array:
        fused, mask = self.take_saved()
        name, child = "main", self.main
        try:
            if fused:
                dx, dr = child.backward(dy)
            else:
                dr = dy if mask is None else relu_backward(dy, mask)
                dx = child.backward(dr)
            if self.shortcut is not None:
                name, child = "shortcut", self.shortcut
                dr = child.backward(dr)
        except _LOCATED as error:
            locate(error, name, child)
            raise
        # A norm's or convolution's dx is new memory that nobody else holds; elsewhere dx may be dy itself
        return np.add(dx, dr, out=dx if fused else None)

    def require_input_gradient(self, required: bool = True) -> None:
        self.input_gradient = required
        for _, child in self.children():
            child.require_input_gradient()

    def children(self) -> Iterable[tuple[str, Layer]]:
        if self.shortcut is None:
            return [("main", self.main)]
        return [("main", self.main), ("shortcut", self.shortcut)]

    def config(self) -> dict[str, Any]:
        return {
            "type": "Residual",
            "main": self.main.config(),
            "shortcut": None if self.shortcut is None else self.shortcut.config(),
            "activation": self.activation,
        }

    @classmethod
    def from_config(cls, arguments: dict[str, Any]) -> Residual:
        arguments = dict(arguments)
        for name in ("main", "shortcut"):
            if arguments.get(name) is not None:
                arguments[name] = build(arguments[name])
        return cls(**arguments)

    def describe(self) -> str:
        return "" if self.activation == "relu" else f"activation={self.activation}"


@register
class Concat(Layer):
    """Every branch gets x; their outputs are concatenated along the channel axis (Szegedy 2014, arXiv 1409.4842).

    Parameters
    ----------
    *branches : Layer
        At least one. Their outputs may differ in the number of channels only.
    axis : 1 or -1
        The channel axis.
    """

    def __init__(self, *branches: Layer, axis: int = 1) -> None:
        if not branches:
            raise ValueError("branches must be one layer at least, got none")
        self.branches = tuple(branches)
        self.axis = checks.one_of(axis, "axis", (1, -1))
        _judge_children(self, self.children())
        self.require_input_gradient()

    def forward(self, x: Array) -> Array:
        outputs = []
        branch: Layer = self
        try:
            for branch in self.branches:
                outputs.append(branch(x))
        except _LOCATED as error:
            locate(error, _name_of(branch, self), branch)
            raise
        axis = self.axis
        shapes = [y.shape for y in outputs]
        if len({(s[:axis], s[axis:][1:]) for s in shapes}) > 1:
            raise ValueError(
                f"branches must differ in the number of channels (axis {axis}) only, got shapes "
                + ", ".join(map(str, shapes))
            )
        if self.keeps:
            self._saved = [s[axis] for s in shapes]
        return np.concatenate(outputs, axis=axis)

    def backward(self, dy: Array) -> Array:
        channels = self.take_saved()
        if not isinstance(dy, np.ndarray) or dy.ndim < 2 or dy.shape[self.axis] != sum(channels):
            raise ValueError(
                f"dy must have {sum(channels)} channels on axis {self.axis}, got {np.shape(dy)}"
            )
        gradients = []
        start = 0
        branch: Layer = self
        try:
            for branch, c in zip(self.branches, channels):
                part = dy[:, start : start + c] if self.axis == 1 else dy[..., start : start + c]
                start += c
                gradients.append(branch.backward(np.ascontiguousarray(part)))
        except _LOCATED as error:
            locate(error, _name_of(branch, self), branch)
            raise
        if len(gradients) == 1:
            return gradients[0]
        total: Array = gradients[0] + gradients[1]
        for dx in gradients[2:]:
            total += dx
        return total

    def require_input_gradient(self, required: bool = True) -> None:
        self.input_gradient = required
        for branch in self.branches:
            branch.require_input_gradient()

    def children(self) -> Iterable[tuple[str, Layer]]:
        return [(str(index), branch) for index, branch in enumerate(self.branches)]

    def config(self) -> dict[str, Any]:
        return {
            "type": "Concat",
            "branches": [branch.config() for branch in self.branches],
            "axis": self.axis,
        }

    @classmethod
    def from_config(cls, arguments: dict[str, Any]) -> Concat:
        branches = _build_all(arguments, "branches")
        return cls(
            *branches, **{name: value for name, value in arguments.items() if name != "branches"}
        )

    def describe(self) -> str:
        return "" if self.axis == 1 else f"axis={self.axis}"


def _name_of(layer: Layer, container: Layer) -> str:
    return next((name for name, child in container.children() if child is layer), "")


def _judge_children(container: Layer, children: Iterable[tuple[str, Layer]]) -> None:
    """Layers, and every object once in the whole tree: each holds what its last forward saved."""
    seen: dict[int, str] = {id(container): "itself"}
    for name, child in children:
        if not isinstance(child, Layer):
            raise TypeError(f"{name} must be a layer, got {type(child).__name__}")
        for path, layer in child.named_layers(name):
            if id(layer) in seen:
                raise ValueError(
                    f"{path}: {layer.brief()} is the same object as {seen[id(layer)]}; use a copy() of it"
                )
            seen[id(layer)] = path


def _build_all(arguments: dict[str, Any], name: str) -> list[Layer]:
    configs = arguments.get(name)
    if not isinstance(configs, (list, tuple)):
        raise ValueError(
            f"config must have a list of layers under {name!r}, got {type(configs).__name__}"
        )
    return [build(config) for config in configs]
