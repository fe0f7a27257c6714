"""How many bytes a tensor's numbers take, and whether they are all there. Reads shapes, not numbers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import TensorProto

__all__ = ["MOST_ELEMENTS", "count", "item_bits", "judge_tensor", "storage_bytes"]

MOST_ELEMENTS = 1 << 40
"""Shapes beyond this are damage, not models."""

# Bits of one element as raw or external data. By number: names come with onnx versions.
_BITS = {
    1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64, 14: 64, 15: 128, 16: 16,
    17: 8, 18: 8, 19: 8, 20: 8, 21: 4, 22: 4, 23: 4, 24: 8, 25: 2, 26: 2,
}  # fmt: skip
_STRING = 8
_FIELDS = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")


def item_bits(data_type: int) -> int:
    """Raises ValueError for strings and for what is no type."""
    if data_type not in _BITS:
        raise ValueError(f"data type {data_type} has no fixed size")
    return _BITS[data_type]


def count(tensor: TensorProto) -> int:
    """Number of elements.

    Raises
    ------
    ValueError
        A negative size, or more than any model has.
    """
    if any(size < 0 for size in tensor.dims) or len(tensor.dims) > 64:
        raise ValueError(f"tensor {tensor.name!r} has the shape {_short(tensor.dims)}")
    elements = math.prod(tensor.dims)
    if elements > MOST_ELEMENTS:
        raise ValueError(f"tensor {tensor.name!r} has the absurd shape {_short(tensor.dims)}")
    return elements


def storage_bytes(tensor: TensorProto) -> int:
    """Size as raw or external data."""
    try:
        return (count(tensor) * item_bits(tensor.data_type) + 7) // 8
    except ValueError as error:
        raise ValueError(f"tensor {tensor.name!r}: {error}") from None


def judge_tensor(tensor: TensorProto) -> None:
    """Raise ValueError unless a tensor that holds its own numbers holds as many as its shape says.

    What is in the typed fields is counted by the checker; this looks at raw data, also of a size that is too large.
    """
    elements = count(tensor)
    if tensor.HasField("raw_data"):
        if tensor.data_type == _STRING:
            raise ValueError(f"tensor {tensor.name!r} holds strings as raw data")
        if tensor.data_type > max(_BITS):
            return  # newer than this table: the checker's
        expected, found = storage_bytes(tensor), len(tensor.raw_data)
        if found != expected:
            raise ValueError(
                f"tensor {tensor.name!r} has {found} bytes of data, its shape {_short(tensor.dims)} needs {expected}"
            )
    elif elements and not any(len(getattr(tensor, field)) for field in _FIELDS):
        raise ValueError(f"tensor {tensor.name!r} of shape {_short(tensor.dims)} has no data")


def _short(dims: object) -> str:
    text = str(list(dims))  # type: ignore[call-overload]
    return text if len(text) < 60 else text[:57] + "..."
