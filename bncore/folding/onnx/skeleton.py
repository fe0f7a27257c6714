"""A model without the numbers of its large tensors, for checks and shape inference: their names become inputs of the graph.

Small, whatever the model's size, and without external data: onnx's checker would ask for the files, and refuse links to them.
Shapes and types stay what they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .external import is_external
from .protos import tensors
from .sizes import storage_bytes
from .store import SPILL_FROM

if TYPE_CHECKING:
    from onnx import ModelProto, TensorProto

__all__ = ["skeleton"]


def skeleton(model: ModelProto) -> ModelProto:
    """A copy that refers to no other file and holds no large initializer of the main graph."""
    from onnx import helper

    bare = type(model)()
    _copy_fields(model, bare, without="graph")
    _copy_fields(model.graph, bare.graph, without="initializer")
    known = {value.name for value in model.graph.input}
    for tensor in model.graph.initializer:
        if not _is_large(tensor):
            bare.graph.initializer.append(tensor)
        elif tensor.name not in known:
            bare.graph.input.append(
                helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
            )
    for tensor in tensors(bare):  # in attributes and subgraphs, where no input can stand for them
        if is_external(tensor):
            tensor.raw_data = bytes(storage_bytes(tensor))
            tensor.ClearField("data_location")
            tensor.ClearField("external_data")
    return bare


def _is_large(tensor: TensorProto) -> bool:
    has_size = is_external(tensor) or tensor.HasField("raw_data")
    return has_size and storage_bytes(tensor) >= SPILL_FROM


def _copy_fields(source: Any, target: Any, *, without: str) -> None:
    for field, value in source.ListFields():
        if field.name == without:
            continue
        if hasattr(value, "ListFields"):
            getattr(target, field.name).CopyFrom(value)
        elif isinstance(value, (str, bytes, int, float)):
            setattr(target, field.name, value)
        else:
            getattr(target, field.name).extend(value)
