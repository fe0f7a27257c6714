"""A net walked layer by layer, as in evaluation, with a say in what becomes of its norms.

Knows which containers pass what on to whom. What to measure on the way is the visitor's business.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import numpy as np

from .. import functional as F
from ..layers import BatchNorm, Concat, Layer, Residual, Sequential
from ..layers.base import locate

__all__ = ["ArrayWalk", "Call", "Walk", "join", "normalize_by"]

Array = np.ndarray[Any, Any]
Value = TypeVar("Value")
Call = Callable[[str, Layer, Array], "Array | None"]


class Walk(Generic[Value]):
    """One value through a net; subclass it to say what a norm and any other layer make of a value.

    None is a value that is not known yet: nothing is computed from it, and what depends on it is
    None again. `Sequential`, `Residual` and `Concat` are walked through, and so is a layer with a
    method ``forward_through(x, call)`` that asks ``call(name, child, rows)`` for the output of each
    norm inside it and returns None once it was told None. A norm inside any other container cannot
    be reached, which is an error.
    """

    def norm(self, path: str, norm: BatchNorm, x: Value) -> Value | None:
        """What the norm at ``path`` makes of x."""
        raise NotImplementedError

    def layer(self, path: str, layer: Layer, x: Value) -> Value | None:
        """What a layer without norms inside makes of x."""
        raise NotImplementedError

    def through(self, path: str, layer: Any, x: Value, call: Call) -> Value | None:
        """What a layer with ``forward_through`` makes of x; ``call`` leads to `inner`."""
        raise NotImplementedError

    def inner(self, path: str, norm: BatchNorm, rows: Array) -> Array | None:
        """What a norm inside such a layer makes of the rows it is given: always arrays."""
        raise NotImplementedError

    def add(self, main: Value, shortcut: Value, activation: str | None) -> Value:
        """The sum at the end of a residual block, then its activation."""
        raise NotImplementedError

    def concat(self, parts: list[Value], axis: int) -> Value:
        """The branches' outputs beside each other."""
        raise NotImplementedError

    def run(self, layer: Layer, x: Value | None, path: str = "") -> Value | None:
        """What ``layer``, which stands at ``path``, makes of x."""
        if x is None:
            return None
        if _is_plain(layer, Sequential):
            for name, child in layer.children():
                x = self.run(child, x, join(path, name))
            return x
        if isinstance(layer, Residual) and _is_plain(layer, Residual):
            parts = {n: self.run(child, x, join(path, n)) for n, child in layer.children()}
            main, shortcut = parts["main"], parts.get("shortcut", x)
            if main is None or shortcut is None:
                return None
            return self.add(main, shortcut, layer.activation)
        if isinstance(layer, Concat) and _is_plain(layer, Concat):
            outputs = [self.run(child, x, join(path, n)) for n, child in layer.children()]
            known = [y for y in outputs if y is not None]
            return self.concat(known, layer.axis) if len(known) == len(outputs) else None
        try:
            if isinstance(layer, BatchNorm):
                return self.norm(path, layer, x)
            if not any(isinstance(inner, BatchNorm) for _, inner in layer.named_layers()):
                return self.layer(path, layer, x)
            if hasattr(layer, "forward_through"):
                return self.through(path, layer, x, self._caller(path))
            raise TypeError(
                "norms inside a container other than Sequential, Residual and Concat cannot be measured"
            )
        except Exception as error:
            locate(error, path, layer)
            raise

    def _caller(self, path: str) -> Call:
        """For ``forward_through``: the norms inside, by their path in the whole net."""

        def call(name: str, child: Layer, rows: Array) -> Array | None:
            if isinstance(child, BatchNorm):
                return self.inner(join(path, name), child, rows)
            return child(rows)

        return call


class ArrayWalk(Walk[Array]):
    """Arrays through a net: every layer computes as it always does, norms as the subclass says."""

    def layer(self, path: str, layer: Layer, x: Array) -> Array | None:
        return layer(x)

    def through(self, path: str, layer: Any, x: Array, call: Call) -> Array | None:
        y: Array | None = layer.forward_through(x, call)
        return y

    def inner(self, path: str, norm: BatchNorm, rows: Array) -> Array | None:
        return self.norm(path, norm, rows)

    def add(self, main: Array, shortcut: Array, activation: str | None) -> Array:
        return main + shortcut if activation is None else F.relu(main + shortcut)[0]

    def concat(self, parts: list[Array], axis: int) -> Array:
        return np.concatenate(parts, axis)


def normalize_by(norm: BatchNorm, x: Array, stats: F.Statistics) -> Array:
    """What ``norm`` makes of x with these statistics in place of its own."""
    y, _ = F.normalize(
        x,
        stats,
        norm.weight,
        norm.bias,
        eps=norm.eps,
        axis=norm.axis,
        activation=norm.activation,
    )
    return y


def _is_plain(layer: Layer, kind: type[Layer]) -> bool:
    """Whether a layer is this container, or a subclass that passes values on in the same way."""
    return isinstance(layer, kind) and type(layer).forward is kind.forward


def join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
