"""The same model in another floating type: the float64 twin that tells rounding from error, the float32 twin of what ONNX
Runtime has no kernels for.

Weights, attributes and types are converted; where an operator does not know the type, casts stand around it. Not for
folding: the twin is run and thrown away.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from .protos import messages, tensors
from .skeleton import skeleton
from .store import DOUBLE, FLOAT, FLOATS, Store, to_bytes

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto

__all__ = ["NoTwin", "float_types", "twin"]

_TYPE_ATTRIBUTES = frozenset({"to", "dtype", "output_dtype"})
_DEFAULT_FLOAT = frozenset({"RandomNormal", "RandomUniform"})
_STRINGS = {FLOAT: "tensor(float)", DOUBLE: "tensor(double)"}


class NoTwin(Exception):
    """The model has no form in that type; the message says why."""


def float_types(model: ModelProto) -> set[int]:
    """Floating types that occur in a model's tensors and values."""
    found = set()
    for part in messages(model):
        kind = part.DESCRIPTOR.name
        if kind == "TensorProto" and part.data_type in FLOATS:
            found.add(part.data_type)
        elif kind == "Tensor" and part.elem_type in FLOATS:  # TypeProto.Tensor
            found.add(part.elem_type)
    return found


def twin(model: ModelProto, store: Store, target: int) -> ModelProto:
    """A copy with all floating values in ``target`` (FLOAT or DOUBLE), external data included.

    Raises
    ------
    NoTwin
        An operator that is not in onnx's own list, or types that cannot be inferred.
    """
    import onnx.inliner

    copy = type(model)()
    copy.CopyFrom(model)
    types = _value_types(model)
    for tensor in tensors(copy):
        _convert_tensor(tensor, store, target)
    if copy.functions:
        try:
            copy = onnx.inliner.inline_local_functions(copy)
        except Exception as error:
            raise NoTwin(f"its functions cannot be inlined ({error})") from None
    del copy.graph.value_info[:]
    for part in messages(copy):
        if part.DESCRIPTOR.name == "Tensor" and part.elem_type in FLOATS:
            part.elem_type = target
    opsets = {
        "" if item.domain == "ai.onnx" else item.domain: item.version for item in copy.opset_import
    }
    _convert_graph(copy.graph, types, opsets, target)
    return copy


def _value_types(model: ModelProto) -> dict[str, int]:
    """Element types by name, of all graphs together, as far as they can be inferred."""
    import onnx.inliner

    bare = skeleton(model)
    if model.functions:
        bare = onnx.inliner.inline_local_functions(bare)
    try:
        inferred = onnx.shape_inference.infer_shapes(bare)
    except Exception as error:
        raise NoTwin(f"its types cannot be inferred ({error})") from None
    types: dict[str, int] = {}
    for part in messages(inferred):
        if part.DESCRIPTOR.name == "ValueInfoProto":
            types[part.name] = part.type.tensor_type.elem_type
        elif part.DESCRIPTOR.name == "TensorProto" and part.name:
            types[part.name] = part.data_type
    return types


def _convert_tensor(tensor: TensorProto, store: Store, target: int) -> None:
    if tensor.data_type not in FLOATS:
        if tensor.data_location == tensor.EXTERNAL:
            tensor.raw_data = store.raw(tensor)
            tensor.ClearField("data_location")
            tensor.ClearField("external_data")
        return
    values = store.read(tensor).astype(np.float64 if target == DOUBLE else np.float32)
    name, dims = tensor.name, list(tensor.dims)
    tensor.Clear()
    tensor.name, tensor.data_type, tensor.raw_data = name, target, to_bytes(values, target)
    tensor.dims.extend(dims)


def _convert_graph(
    graph: GraphProto, types: dict[str, int], opsets: dict[str, int], target: int
) -> None:
    nodes: list[NodeProto] = []
    for node in graph.node:
        for attribute in node.attribute:
            for body in (attribute.g, *attribute.graphs):
                if body.node or body.output:
                    _convert_graph(body, types, opsets, target)
        _convert_attributes(node, target)
        nodes += _with_casts(node, types, opsets, target)
    copies = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)


def _convert_attributes(node: NodeProto, target: int) -> None:
    from onnx import helper

    present = {attribute.name for attribute in node.attribute}
    for attribute in node.attribute:
        if attribute.name in _TYPE_ATTRIBUTES and attribute.i in FLOATS:
            attribute.i = target
    if node.op_type in _DEFAULT_FLOAT and "dtype" not in present:
        node.attribute.append(helper.make_attribute("dtype", target))
    if node.op_type == "ConstantOfShape" and "value" not in present:
        node.attribute.append(
            helper.make_attribute("value", helper.make_tensor("", target, [1], [0.0]))
        )
    if node.op_type == "Constant" and present & {"value_float", "value_floats"}:
        (old,) = node.attribute
        values: Any = [old.f] if old.name == "value_float" else list(old.floats)
        shape = [] if old.name == "value_float" else [len(values)]
        del node.attribute[:]
        node.attribute.append(
            helper.make_attribute("value", helper.make_tensor("", target, shape, values))
        )


def _with_casts(
    node: NodeProto, types: dict[str, int], opsets: dict[str, int], target: int
) -> list[NodeProto]:
    """The node, and casts to and from float32 around what its operator knows in float32 alone."""
    import onnx

    domain = "" if node.domain == "ai.onnx" else node.domain
    try:
        schema = onnx.defs.get_schema(node.op_type, opsets.get(domain, 1), domain)
    except Exception:
        raise NoTwin(
            f"the operator {domain or 'ai.onnx'}.{node.op_type} is not onnx's own"
        ) from None
    constraints = {
        item.type_param_str: set(item.allowed_type_strs) for item in schema.type_constraints
    }
    before, after = [], []
    for position, formal in _formals(schema.inputs, len(node.input)):
        name = node.input[position]
        if name and types.get(name) in FLOATS and _lacks(formal, constraints, target):
            cast = f"{name}/float32/{node.output[0]}/{position}"
            before.append(onnx.helper.make_node("Cast", [name], [cast], to=FLOAT))
            node.input[position] = cast
    for position, formal in _formals(schema.outputs, len(node.output)):
        name = node.output[position]
        if name and types.get(name) in FLOATS and _lacks(formal, constraints, target):
            cast = f"{name}/float32/out"
            after.append(onnx.helper.make_node("Cast", [cast], [name], to=target))
            node.output[position] = cast
    return [*before, node, *after]


def _formals(formals: Any, given: int) -> Iterable[tuple[int, Any]]:
    """(position, formal parameter), the last one repeated where it takes any number."""
    formals = list(formals)
    return [(at, formals[min(at, len(formals) - 1)]) for at in range(given) if formals]


def _lacks(formal: Any, constraints: dict[str, set[str]], target: int) -> bool:
    allowed = constraints.get(formal.type_str, {formal.type_str})
    return _STRINGS[target] not in allowed and _STRINGS[FLOAT] in allowed
