"""The list of the zoo: what an entry is, and the decorator that adds one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from .builder import Graph, finish


@dataclass(frozen=True)
class Minimum:
    """What the algebra leaves at the levels backward, forward and relu, and why.

    Attributes
    ----------
    norms : int
        BatchNormalization nodes left, bodies and (inlined) functions included.
    added : int
        Add, Sub, Mul and Div nodes more than before; negative where constant ones disappear as
        well.
    """

    norms: int
    added: int
    why: str


@dataclass(frozen=True)
class Entry:
    """One architecture.

    Attributes
    ----------
    inputs : dict
        Hints: a size for every dynamic dimension, ``(low, high)`` for every integer input,
        ``(mean, deviation)`` for floating ones that are not (0, 1).
    amplifies : float
        How much larger than a rounding its error may be: large values that cancel.
    optional : dict
        The minimum with one more level, "norms" or "rebase", where that is less.
    """

    name: str
    fill: Callable[[Graph], None]
    minimum: Minimum
    inputs: dict[str, Any] = field(default_factory=dict)
    amplifies: float = 1.0
    optional: dict[str, Minimum] = field(default_factory=dict)
    graph: dict[str, Any] = field(default_factory=dict)
    file: dict[str, Any] = field(default_factory=dict)

    @property
    def storage(self) -> np.dtype[Any]:
        return np.dtype(self.graph.get("storage", np.float32))

    def build(self, *, double: bool = False) -> onnx.ModelProto:
        """The model, or its float64 twin with the same numbers; the same bytes every time."""
        graph = Graph(seed=crc32(self.name.encode()), double=double, **self.graph)
        self.fill(graph)
        options = {"ir": 8, "value_info": False, "overridable": False} | self.file
        return finish(graph, self.name, **options)

    def feeds(self, seed: int = 0) -> dict[str, NDArray[Any]]:
        """Random inputs in the model's own types, for every input without an initializer."""
        return random_feeds(self.build(), seed, self.inputs)


def random_feeds(
    model: onnx.ModelProto, seed: int, hints: dict[str, Any]
) -> dict[str, NDArray[Any]]:
    rng = np.random.default_rng(seed)
    given = {tensor.name for tensor in model.graph.initializer}
    feeds = {}
    for value in model.graph.input:
        if value.name in given:
            continue
        tensor = value.type.tensor_type
        shape = [
            hints[dim.dim_param] if dim.dim_param else dim.dim_value for dim in tensor.shape.dim
        ]
        dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        if dtype.kind == "f":
            mean, std = hints.get(value.name, (0.0, 1.0))
            feeds[value.name] = rng.normal(mean, std, shape).astype(dtype)
        else:
            feeds[value.name] = rng.integers(*hints[value.name], size=shape).astype(dtype)
    return feeds


MODELS: dict[str, Entry] = {}
DEEP: dict[str, Entry] = {}
FILE_OPTIONS = ("ir", "value_info", "overridable")
GRAPH_OPTIONS = ("storage", "opset", "constants", "typed")


def model(
    *,
    norms: int,
    why: str,
    added: int = 0,
    inputs: dict[str, Any] | None = None,
    amplifies: float = 1.0,
    optional: dict[str, Minimum] | None = None,
    into: dict[str, Entry] = MODELS,
    **options: Any,
) -> Callable[[Callable[[Graph], None]], Callable[[Graph], None]]:
    """Add the function, which fills a `Graph`, to the zoo under its own name."""

    def register(fill: Callable[[Graph], None]) -> Callable[[Graph], None]:
        name = fill.__name__
        assert name not in into and options.keys() <= {*FILE_OPTIONS, *GRAPH_OPTIONS}
        into[name] = Entry(
            name,
            fill,
            Minimum(norms, added, why),
            inputs or {},
            amplifies,
            optional or {},
            {key: options[key] for key in GRAPH_OPTIONS if key in options},
            {key: options[key] for key in FILE_OPTIONS if key in options},
        )
        return fill

    return register
