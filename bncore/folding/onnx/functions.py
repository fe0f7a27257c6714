"""Local functions: written out where they hold norms, so that a norm sees its neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .graph import subgraphs

if TYPE_CHECKING:
    from collections.abc import Iterable

    import onnx

__all__ = ["hold_norms", "written_out"]


def hold_norms(model: onnx.ModelProto) -> bool:
    """Whether a function of the model holds a norm, in a body or not."""
    return any(_has_norm(function.node) for function in model.functions)


def written_out(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy without local functions, which computes the same."""
    from onnx import inliner

    return inliner.inline_local_functions(model)


def _has_norm(nodes: Iterable[onnx.NodeProto]) -> bool:
    return any(
        node.op_type == "BatchNormalization"
        or any(_has_norm(body.node) for body in subgraphs(node))
        for node in nodes
    )
