"""A model without its external data, for checks and shape inference: large initializers become inputs of the graph.

Shapes and types stay what they are; onnx's checker would otherwise ask for the files, and refuse links to them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .external import is_external
from .protos import tensors
from .sizes import storage_bytes

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["skeleton"]


def skeleton(model: ModelProto) -> ModelProto:
    """A copy that refers to no other file; the model's own where it has no external data."""
    if not any(is_external(tensor) for tensor in tensors(model)):
        return model
    from onnx import helper

    bare = type(model)()
    bare.CopyFrom(model)
    graph = bare.graph
    known = {value.name for value in graph.input}
    kept = [tensor for tensor in graph.initializer if not is_external(tensor)]
    for tensor in graph.initializer:
        if is_external(tensor) and tensor.name not in known:
            graph.input.append(
                helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
            )
    kept = [type(tensor).FromString(tensor.SerializeToString()) for tensor in kept]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    for tensor in tensors(bare):  # in attributes and subgraphs, where no input can stand for them
        if is_external(tensor):
            tensor.raw_data = bytes(storage_bytes(tensor))
            tensor.ClearField("data_location")
            tensor.ClearField("external_data")
    return bare
