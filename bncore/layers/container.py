"""Layers one after the other: passes arrays on and puts the path of the failing layer into errors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, overload

from .base import Array, Layer, locate
from .registry import register
from .tree import LOCATED, build_all, judge_children, name_of

__all__ = ["Sequential"]


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
        except LOCATED as error:
            locate(error, name_of(layer, self), layer)
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
        except LOCATED as error:
            locate(error, name_of(layer, self), layer)
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
        judge_children(self, [(str(index), layer) for index, layer in enumerate(found)])
        self.layers = found
        self.require_input_gradient(self.input_gradient)

    def config(self) -> dict[str, Any]:
        return {"type": "Sequential", "layers": [layer.config() for layer in self.layers]}

    @classmethod
    def from_config(cls, arguments: dict[str, Any]) -> Sequential:
        return cls(*build_all(arguments, "layers"))
