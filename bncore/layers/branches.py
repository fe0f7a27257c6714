"""Layers side by side: a residual block, parallel branches. They pass arrays on and own no parameters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..functional import relu, relu_backward
from ..support import checks
from .base import Array, Layer, locate
from .registry import build, register
from .tree import LOCATED, build_all, judge_children, name_of

__all__ = ["Concat", "Residual"]


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
        judge_children(self, self.children())
        self.require_input_gradient()

    def forward(self, x: Array) -> Array:
        name, child = "shortcut", self.shortcut
        try:
            r = x if child is None else child(x)
            name, child = "main", self.main
            fused = child.accepts_residual()
            y = child(x, r, self.activation) if fused else child(x)
        except LOCATED as error:
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
        except LOCATED as error:
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
        judge_children(self, self.children())
        self.require_input_gradient()

    def forward(self, x: Array) -> Array:
        outputs = []
        branch: Layer = self
        try:
            for branch in self.branches:
                outputs.append(branch(x))
        except LOCATED as error:
            locate(error, name_of(branch, self), branch)
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
        except LOCATED as error:
            locate(error, name_of(branch, self), branch)
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
        branches = build_all(arguments, "branches")
        return cls(
            *branches, **{name: value for name, value in arguments.items() if name != "branches"}
        )

    def describe(self) -> str:
        return "" if self.axis == 1 else f"axis={self.axis}"
