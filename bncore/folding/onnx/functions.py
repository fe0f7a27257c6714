"""Local functions: written out where they hold norms, so that a norm sees its neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..report import Kept
from .graph import subgraphs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import onnx

__all__ = ["kept_inside", "written_out"]


def written_out(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model itself, or a copy without local functions, if they hold norms."""
    from onnx import inliner

    return inliner.inline_local_functions(model) if kept_inside(model) else model


def kept_inside(model: onnx.ModelProto) -> list[Kept]:
    """Norms that stay because they are in functions; ONNX writes none out that is of another opset."""
    why = "it is inside of the local function {}, which is of another opset than the model"
    return [
        Kept(node.name or node.output[0], why.format(function.name), "none")
        for function in model.functions
        for node in _norms(function.node)
    ]


def _norms(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    for node in nodes:
        if node.op_type == "BatchNormalization":
            yield node
        for body in subgraphs(node):
            yield from _norms(body.node)
