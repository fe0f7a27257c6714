"""Every tensor of a model, wherever it lies: initializers, attributes, subgraphs, local functions, training graphs.

Walks the protobuf message by its own description, so that no place is forgotten. Interprets nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnx import TensorProto

__all__ = ["is_all_text", "messages", "tensors"]


def messages(message: Any) -> Iterator[Any]:
    """The message itself and all messages inside it, in the order of their fields."""
    yield message
    for field, value in message.ListFields():
        if field.type != field.TYPE_MESSAGE:
            continue
        if hasattr(value, "ListFields"):
            yield from messages(value)
        else:
            for item in value:
                yield from messages(item)


def tensors(model: Any) -> Iterator[TensorProto]:
    """Every TensorProto of a model, graph, node or attribute, in a fixed order."""
    return (part for part in messages(model) if part.DESCRIPTOR.full_name == "onnx.TensorProto")


def is_all_text(message: Any) -> bool:
    """Whether every name and string field is UTF-8: protobuf hands out others as bytes, or raises when they are read."""
    try:
        return all(
            isinstance(text, str)
            for part in messages(message)
            for field, value in part.ListFields()
            if field.type == field.TYPE_STRING
            for text in ([value] if isinstance(value, (str, bytes)) else value)
        )
    except UnicodeDecodeError:
        return False
