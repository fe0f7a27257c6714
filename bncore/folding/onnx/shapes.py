"""Shapes and element types of all values, by ONNX's own inference, before anything is rewritten.

Runs on a skeleton of the model (large tensors without their data, every dimension of an input with
a name), so that it costs neither memory nor time with the weights' size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .graph import Graph, Shape, subgraphs
from .shape_vectors import reshaped

if TYPE_CHECKING:
    import onnx

    from .program import Program

__all__ = ["infer"]

SMALL = 1024  # elements: longer tensors are no shapes
ROUNDS = 40  # of inference, one more for every Reshape behind another that it cannot follow


def infer(program: Program) -> None:
    """Fill `shapes` and `types` of a program's graphs."""
    skeleton = _skeleton(program.model)
    for _ in range(ROUNDS):
        _fill(program.main, _inferred(skeleton))
        if not _add_reshapes(program, skeleton.graph):
            break


def _inferred(skeleton: onnx.ModelProto) -> onnx.GraphProto:
    from onnx import shape_inference

    try:
        return shape_inference.infer_shapes(skeleton, data_prop=True).graph
    except Exception:  # of many kinds; what inference cannot read has no shapes, and is refused
        return skeleton.graph


def _add_reshapes(program: Program, skeleton: onnx.GraphProto) -> bool:
    """Tell inference the shapes that the graph computes and it could not follow."""
    from onnx import helper

    added = False
    for node in program.main.nodes:
        if node.op != "Reshape":
            continue
        known = program.main.shapes.get(node.outputs[0])
        shape, data_type = reshaped(program, node), program.main.types.get(node.input(0))
        if shape is not None and data_type is not None and _static(shape) > _static(known):
            info = helper.make_tensor_value_info(node.outputs[0], data_type, shape)
            skeleton.value_info.append(info)
            added = True
    return added


def _static(shape: Shape | None) -> int:
    """How much is known: nothing, a rank, sizes."""
    return -1 if shape is None else sum(isinstance(size, int) for size in shape)


def _skeleton(model: onnx.ModelProto) -> onnx.ModelProto:
    import onnx

    skeleton = onnx.ModelProto(ir_version=model.ir_version)
    skeleton.opset_import.extend(model.opset_import)
    skeleton.functions.extend(model.functions)
    graph = skeleton.graph
    graph.name = model.graph.name
    for field in ("node", "input", "output"):
        getattr(graph, field).extend(getattr(model.graph, field))
    for tensor in model.graph.initializer:
        small = tensor.data_location == 0 and _size(tensor) <= SMALL
        graph.initializer.append(
            tensor
            if small
            else onnx.TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
        )
    _name_dimensions(graph)
    _trust_inference(graph)
    _see_through_aliases(graph)
    return skeleton


def _see_through_aliases(graph: onnx.GraphProto) -> None:
    """Inference takes no size from the Identity of a constant: let nodes read the constant itself."""
    constants = {tensor.name for tensor in graph.initializer}
    origin: dict[str, str] = {}
    for node in graph.node:
        if node.op_type == "Constant":
            constants |= set(node.output)
        if (
            node.op_type == "Identity"
            and node.input
            and origin.get(node.input[0], node.input[0]) in constants
        ):
            origin[node.output[0]] = origin.get(node.input[0], node.input[0])
        for index, name in enumerate(node.input):
            node.input[index] = origin.get(name, name)


def _size(tensor: onnx.TensorProto) -> int:
    size = 1
    for dim in tensor.dims:
        size *= dim
    return size


def _name_dimensions(graph: onnx.GraphProto) -> None:
    """A dimension without a name gets one, so that inference can follow it."""
    for number, value in enumerate(graph.input):
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            if not dim.HasField("dim_value") and not dim.dim_param:
                dim.dim_param = f"unnamed_{number}_{axis}"


def _trust_inference(graph: onnx.GraphProto) -> None:
    """Forget what a file says about values inside, bodies' too: it may be wrong."""
    for node in graph.node:
        for body in subgraphs(node):
            del body.value_info[:]
            _trust_inference(body)


def _fill(graph: Graph, inferred: onnx.GraphProto) -> None:
    # what the file says counts only where inference says nothing
    for values in (graph.proto.value_info, inferred.value_info, inferred.input, inferred.output):
        for value in values:
            tensor = value.type.tensor_type
            if tensor.elem_type:
                graph.types[value.name] = tensor.elem_type
            if tensor.HasField("shape"):
                graph.shapes[value.name] = tuple(_dim(dim) for dim in tensor.shape.dim)
    for name, tensor in graph.initializers.items():
        graph.types[name], graph.shapes[name] = tensor.data_type, tuple(tensor.dims)
    bodies = [body for node in inferred.node for body in subgraphs(node)]
    for child, body in zip(graph.children, bodies, strict=True):
        _fill(child, body)


def _dim(dim: Any) -> int | str | None:
    if dim.HasField("dim_value"):
        return int(dim.dim_value)
    return dim.dim_param or None
