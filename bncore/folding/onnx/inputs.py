"""Inputs to try a model on: random ones from a seed, in several shapes where dimensions are free, or a file's.

Images with values away from zero at the borders, where padding shows; indices inside their tables. What a model does with
them is verify.py's.
"""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ...support.errors import FileFormatError
from .hints import Hints

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = [
    "STYLES",
    "Feed",
    "Input",
    "Shapes",
    "from_file",
    "model_inputs",
    "random_feed",
    "shapes_to_try",
]

STYLES = ("normal", "shifted", "unit")
"""Standard normal; the same around 2 (a wrong border shows most); uniform from 0 to 1 (as images are)."""

MOST_ELEMENTS = 1 << 27
# Sizes of free dimensions: batch, extent, and how much neighbouring extents differ. The first that the model takes are
# used: small and common, then odd ones.
_TRIES = (
    (1, 32, 0), (3, 40, 9), (2, 33, 0), (1, 64, 0), (1, 16, 0), (1, 8, 0), (1, 128, 0), (1, 224, 0), (1, 299, 0), (2, 5, 0),
    (1, 1, 0), (1, 512, 0),
)  # fmt: skip

Feed = dict[str, np.ndarray]


@dataclass(frozen=True)
class Input:
    """What must be fed: a name, a NumPy dtype, and sizes, or names of free ones; None where not even the rank is known."""

    name: str
    dtype: np.dtype[Any]
    dims: tuple[int | str, ...] | None


class Shapes(NamedTuple):
    """One shape for each input."""

    by_name: dict[str, tuple[int, ...]]

    def __str__(self) -> str:
        return ", ".join(
            f"{name} {'x'.join(map(str, shape)) or 'scalar'}"
            for name, shape in self.by_name.items()
        )


def model_inputs(model: ModelProto, hints: Hints) -> list[Input]:
    """The inputs that have no initializer.

    Raises
    ------
    ValueError
        An input that is no tensor of numbers.
    """
    from onnx import helper

    initialized = {tensor.name for tensor in model.graph.initializer}
    initialized |= {tensor.values.name for tensor in model.graph.sparse_initializer}
    found = []
    for value in model.graph.input:
        if value.name in initialized:
            continue
        tensor = value.type.tensor_type
        if not value.type.HasField("tensor_type") or tensor.elem_type in (0, 8):
            raise ValueError(f"input {value.name!r} is not a tensor of numbers")
        dims: tuple[int | str, ...] | None = None
        if tensor.HasField("shape"):
            dims = tuple(
                dim.dim_value
                if dim.HasField("dim_value") and dim.dim_value >= 0
                else dim.dim_param or ("batch" if axis == 0 else f"{value.name}:{axis}")
                for axis, dim in enumerate(tensor.shape.dim)
            )
        dims = hints.completed(value.name, dims)
        found.append(
            Input(value.name, np.dtype(helper.tensor_dtype_to_np_dtype(tensor.elem_type)), dims)
        )
    return found


def shapes_to_try(inputs: list[Input], chosen: Mapping[str, int]) -> list[Shapes]:
    """Shapes for free dimensions, likely ones first; one only where nothing is free.

    Parameters
    ----------
    chosen : dict
        Sizes by a dimension's name (``"input:axis"`` for one without a name).

    Raises
    ------
    ValueError
        A name that is no free dimension, a rank that is not known, more elements than can be tried.
    """
    free = list(
        dict.fromkeys(dim for item in inputs for dim in item.dims or () if isinstance(dim, str))
    )
    aliases = {
        f"{item.name}:{axis}": dim
        for item in inputs
        for axis, dim in enumerate(item.dims or ())
        if isinstance(dim, str)
    }
    sizes = {aliases.get(name, name): size for name, size in chosen.items()}
    for name in sizes:
        if name not in free:
            known = ", ".join(free) or "none"
            raise ValueError(f"--dim {name}: no free dimension has this name (free are: {known})")
    unranked = [item.name for item in inputs if item.dims is None]
    if unranked:
        raise ValueError(f"the rank of input {unranked[0]!r} is not known: give --inputs")
    first = {item.dims[0] for item in inputs if item.dims}
    tries = _TRIES if set(free) - set(sizes) else _TRIES[:1]
    seen: list[Shapes] = []
    for batch, extent, step in tries:
        values = dict(sizes)
        others = 0
        for name in free:
            if name in values:
                continue
            values[name] = batch if name in first else extent + step * others
            others += name not in first
        shapes = _filled(inputs, values)
        if shapes not in seen and _elements(shapes) <= MOST_ELEMENTS:
            seen.append(shapes)
    if not seen:
        raise ValueError(f"inputs of {_elements(shapes)} elements are too many to try")
    return seen


def _filled(inputs: list[Input], values: Mapping[str, int]) -> Shapes:
    return Shapes(
        {
            item.name: tuple(
                values[dim] if isinstance(dim, str) else dim for dim in item.dims or ()
            )
            for item in inputs
        }
    )


def _elements(shapes: Shapes) -> int:
    return sum(math.prod(shape) for shape in shapes.by_name.values())


def random_feed(
    inputs: list[Input], shapes: Shapes, style: str, seed: Sequence[int], hints: Hints
) -> Feed:
    """Random values of these shapes, the same for the same seed."""
    rng = np.random.default_rng(seed)
    return {
        item.name: _values(item, shapes.by_name[item.name], style, rng, hints) for item in inputs
    }


def _values(
    item: Input, shape: tuple[int, ...], style: str, rng: np.random.Generator, hints: Hints
) -> np.ndarray:
    kind = item.dtype.kind
    if kind == "b":
        return rng.integers(0, 2, shape).astype(bool)
    if kind in "iu":
        low, high = hints.range_of(item.name, item.dtype)
        return rng.integers(low, high, shape).astype(item.dtype)
    values = rng.uniform(0.0, 1.0, shape) if style == "unit" else rng.standard_normal(shape)
    if style == "shifted":
        values += 2.0
    return values.astype(item.dtype)


def from_file(path: str | os.PathLike[str], inputs: list[Input]) -> Feed:
    """The arrays of an .npz file by the inputs' names; a single input takes a single array of any name.

    Raises
    ------
    FileFormatError, ValueError
        Not an .npz file; an input is missing, or an array has another kind of dtype or another shape than the model says.
    """
    shown = os.fspath(path)
    try:
        with np.load(path, allow_pickle=False) as archive:
            if not hasattr(archive, "files"):
                raise ValueError("a single array")
            arrays = {name: archive[name] for name in archive.files}
    except (ValueError, zipfile.BadZipFile, EOFError, KeyError, AttributeError, TypeError) as error:
        raise FileFormatError(
            f"{shown}: expected an .npz file with an array for each input ({' '.join(str(error).split())[:120]})"
        ) from None
    if len(inputs) == len(arrays) == 1:
        arrays = {inputs[0].name: next(iter(arrays.values()))}
    feed = {}
    for item in inputs:
        if item.name not in arrays:
            raise ValueError(
                f"{shown}: has no array for input {item.name!r}, only {sorted(arrays)}"
            )
        feed[item.name] = _fitting(arrays[item.name], item, shown)
    return feed


def _fitting(array: np.ndarray, item: Input, shown: str) -> np.ndarray:
    same_kind = array.dtype.kind == item.dtype.kind or {array.dtype.kind, item.dtype.kind} <= {
        *"iu"
    }
    if not same_kind and not (array.dtype.kind in "fiu" and item.dtype.kind in "fV"):
        raise ValueError(f"{shown}: input {item.name!r} takes {item.dtype}, got {array.dtype}")
    fits = item.dims is None or (
        len(item.dims) == array.ndim
        and all(isinstance(dim, str) or dim == size for dim, size in zip(item.dims, array.shape))
    )
    if not fits:
        raise ValueError(
            f"{shown}: input {item.name!r} takes the shape {item.dims}, got {array.shape}"
        )
    return np.ascontiguousarray(array, item.dtype).reshape(array.shape)
