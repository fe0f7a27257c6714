"""How large the values inside a model become for given inputs, before anything is run. An estimate: shapes alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from .protos import messages
from .skeleton import skeleton

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["all_values"]


def all_values(model: ModelProto, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Elements of all values of a model together, as far as shapes can be inferred; 0 where none can."""
    import onnx

    bare = skeleton(model)
    del bare.graph.value_info[:]
    for value in bare.graph.output:  # stated for other inputs, perhaps
        value.type.tensor_type.ClearField("shape")
    for value in bare.graph.input:
        if value.name in shapes:
            dims = value.type.tensor_type.shape
            dims.ClearField("dim")
            for size in shapes[value.name]:
                dims.dim.add(dim_value=size)
    try:
        inferred = onnx.shape_inference.infer_shapes(bare, data_prop=True)
    except Exception:  # of many kinds; then nothing is known
        return 0
    return sum(
        math.prod(dim.dim_value for dim in part.shape.dim)
        for part in messages(inferred)
        if part.DESCRIPTOR.name == "Tensor"
    )
