"""Values of random graphs: images, and constants that are used again or may be overridden."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from onnx import helper

from .builder import Graph


class Image(NamedTuple):
    """A value (N, c, size, ...), with `dims` axes of that size."""

    name: str
    c: int
    size: int
    dims: int

    @property
    def space(self) -> list[int]:
        return [self.size] * self.dims

    @property
    def axes(self) -> list[int]:
        return [*range(2, 2 + self.dims)]

    @property
    def channels_last(self) -> list[int]:
        """The permutation that puts them there."""
        return [0, *self.axes, 1]

    @property
    def channels_first(self) -> list[int]:
        return [0, 1 + self.dims, *range(1, 1 + self.dims)]


def shared(g: Graph, key: Any, make: Callable[[], Any]) -> Any:
    """Half of the time the constants that were made for the same purpose before."""
    if key not in g.shelf or g.rng.integers(2):
        g.shelf[key] = make()
    return g.shelf[key]


def list_a_default(g: Graph) -> None:
    """Make a weight an input with a default: from IR 4 on the caller may override it."""
    floats = [each for each in g.initializers if each.data_type == g.float_type and each.dims]
    if floats and g.opset > 9:
        chosen = floats[g.rng.integers(len(floats))]
        g.inputs.append(helper.make_tensor_value_info(chosen.name, chosen.data_type, chosen.dims))
