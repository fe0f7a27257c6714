"""Values of small constant expressions: what exporters write where an initializer was expected.

A table of operators on arrays; whatever is not in it is no constant (but for Shape and CastLike,
which look at shapes and types of values: constants.py). Not a runtime: no sums, nothing that
could round differently from one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..algebra import FoldRefused
from .graph import Node
from .store import FLOATS, dtype_of

__all__ = ["OPERATORS", "axes_input", "numpy_dtype"]

Values = list[Any]  # arrays; None for inputs that are left out


def numpy_dtype(data_type: int) -> np.dtype[Any]:
    """The NumPy dtype of a tensor type; refused for strings and the like."""
    if data_type in FLOATS:
        return dtype_of(data_type)
    from onnx import helper

    try:
        return np.dtype(helper.tensor_dtype_to_np_dtype(data_type))
    except KeyError:
        raise FoldRefused(f"a tensor of type {data_type} is no number") from None


def axes_input(node: Node, values: Values) -> list[int] | None:
    """Axes of an operator that had them as an attribute and has them as input 1 now."""
    if len(values) > 1 and values[1] is not None:
        return [int(axis) for axis in values[1].reshape(-1)]
    axes = node.attribute("axes")
    return None if axes is None else list(axes)


def _cast(node: Node, values: Values) -> Any:
    return values[0].astype(numpy_dtype(node.attribute("to")))


def _transpose(node: Node, values: Values) -> Any:
    return np.transpose(values[0], node.attribute("perm"))


def _reshape(node: Node, values: Values) -> Any:
    x, target = values
    shape = [int(size) for size in target]
    if not node.attribute("allowzero", 0):
        shape = [x.shape[i] if size == 0 else size for i, size in enumerate(shape)]
    return x.reshape(shape)


def _squeeze(node: Node, values: Values) -> Any:
    axes = axes_input(node, values)
    return np.squeeze(values[0], None if axes is None else tuple(axes))


def _unsqueeze(node: Node, values: Values) -> Any:
    return np.expand_dims(values[0], tuple(axes_input(node, values) or ()))


def _expand(node: Node, values: Values) -> Any:
    x, shape = values
    return np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(int(s) for s in shape)))


def _constant_of_shape(node: Node, values: Values) -> Any:
    from onnx import numpy_helper

    value = node.attribute("value")
    fill = np.zeros(1, np.float32) if value is None else numpy_helper.to_array(value)
    return np.full([int(size) for size in values[0]], fill.reshape(-1)[0])


def _gather(node: Node, values: Values) -> Any:
    return np.take(values[0], values[1], node.attribute("axis", 0))


def _slice(node: Node, values: Values) -> Any:
    x, starts, ends, axes, steps = [*values, None, None][:5]
    index = [slice(None)] * x.ndim
    for i, (start, end) in enumerate(zip(starts, ends, strict=True)):
        axis = i if axes is None else int(axes[i])
        index[axis] = slice(int(start), int(end), 1 if steps is None else int(steps[i]))
    return x[tuple(index)]


def _plain(function: Callable[..., Any]) -> Callable[[Node, Values], Any]:
    return lambda node, values: function(*values)


OPERATORS: dict[str, Callable[[Node, Values], Any]] = {
    "Identity": _plain(lambda x: x),
    "Cast": _cast,
    "Transpose": _transpose,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Expand": _expand,
    "ConstantOfShape": _constant_of_shape,
    "Gather": _gather,
    "Slice": _slice,
    "Concat": lambda node, values: np.concatenate(values, node.attribute("axis")),
    "Neg": _plain(np.negative),
    "Sqrt": _plain(np.sqrt),
    "Reciprocal": _plain(np.reciprocal),
    "Add": _plain(np.add),
    "Sub": _plain(np.subtract),
    "Mul": _plain(np.multiply),
    "Div": _plain(lambda a, b: np.trunc(a / b).astype(a.dtype) if a.dtype.kind in "iu" else a / b),
}
