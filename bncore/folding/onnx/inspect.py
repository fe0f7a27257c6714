"""What a model's norms are: where they sit, whether each can be folded, statistics that look wrong.

Asks the engine (a fold in memory that nobody keeps) and findings.py; writes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ..inspection import NormRow
from .load import load
from .protos import messages
from .save import staging_folder

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto

    from .store import Store

__all__ = ["inspect_model"]

NORMS = (
    "BatchNormalization",
    "InstanceNormalization",
    "GroupNormalization",
    "LayerNormalization",
    "RMSNormalization",
)


def inspect_model(
    path: str | os.PathLike[str],
    *,
    fold: Callable[..., Any] | None = None,
    findings: Callable[..., list[Any]] | None = None,
) -> list[NormRow]:
    """One row for every norm of an ONNX file, subgraphs included, in the order of the file.

    Parameters
    ----------
    fold, findings : callable, optional
        Instead of `engine.fold_model` and of `bncore.folding.findings.findings`.

    Raises
    ------
    FileFormatError, OSError
        As `load`.
    """
    if fold is None:
        from .engine import fold_model

        fold = fold_model
    if findings is None:
        from ..findings import findings as find

        findings = find
    with staging_folder(None) as scratch:
        loaded = load(path, scratch=scratch)
        with loaded.store:
            rows = list(_rows(loaded.model, loaded.store, findings))
            verdicts = _verdicts(fold(loaded.model, loaded.store))
    for row in rows:
        default = (False, f"{row.op} stays with the default levels")
        row.foldable, row.why = verdicts.get(row.norm, default)
    return rows


def _verdicts(done: Any) -> dict[str, tuple[bool, str]]:
    """By norm; a rewrite may concern several."""
    found: dict[str, tuple[bool, str]] = {}
    for entry in done.applied:
        into = ", ".join(entry.into) or "nothing"
        for name in entry.norms:
            found[name] = (True, f"into {into} ({entry.rule})")
    found.update((entry.path, (False, entry.why)) for entry in done.kept)
    return found


def _rows(model: ModelProto, store: Store, findings: Callable[..., list[Any]]) -> Iterator[NormRow]:
    constants = _constants(model)
    for graph in _graphs(model):
        makers = {name: node.op_type for node in graph.node for name in node.output}
        inputs = {value.name for value in graph.input}
        for node in graph.node:
            if node.op_type not in NORMS or node.domain not in ("", "ai.onnx"):
                continue
            source = node.input[0]
            outside = (
                "input" if source in inputs else "constant" if source in constants else "outside"
            )
            row = NormRow(
                node.name or next(filter(None, node.output), node.op_type),
                node.op_type,
                None,
                makers.get(source, outside),
                _consumers(graph, node),
            )
            scale = constants.get(node.input[1]) if len(node.input) > 1 else None
            row.channels = int(np.prod(scale.dims)) if scale is not None else None
            if node.op_type == "BatchNormalization":
                row.findings = _findings(node, constants, store, findings)
            yield row


def _findings(
    node: NodeProto,
    constants: dict[str, TensorProto],
    store: Store,
    findings: Callable[..., list[Any]],
) -> list[Any]:
    """Of a batch norm whose parameters and statistics are all constants; else nothing can be said."""
    tensors = [constants.get(name) for name in node.input[1:5]]
    if None in tensors or len(tensors) < 4:
        return []
    weight, bias, mean, var = (store.read(tensor) for tensor in tensors if tensor is not None)
    epsilon = next((item.f for item in node.attribute if item.name == "epsilon"), 1e-5)
    return findings(weight, bias, mean, var, epsilon, weight.dtype)


def _consumers(graph: GraphProto, node: NodeProto) -> list[str]:
    result = node.output[0]
    readers = [other.op_type for other in graph.node if result in other.input]
    bodies = [
        part
        for other in graph.node
        for attribute in other.attribute
        for part in messages(attribute)
        if part.DESCRIPTOR.name == "NodeProto" and result in part.input
    ]
    readers += [f"{part.op_type} (in a subgraph)" for part in bodies]
    return readers + ["output"] * any(value.name == result for value in graph.output)


def _graphs(model: ModelProto) -> list[GraphProto]:
    return [part for part in messages(model.graph) if part.DESCRIPTOR.name == "GraphProto"]


def _constants(model: ModelProto) -> dict[str, TensorProto]:
    """Initializers nobody can override, and Constant nodes, by name; through Identity as well."""
    found: dict[str, TensorProto] = {}
    for graph in _graphs(model):
        given = {value.name for value in graph.input} if model.ir_version >= 4 else set()
        found.update((t.name, t) for t in graph.initializer if t.name not in given)
        for node in graph.node:
            if node.op_type == "Constant":
                found.update((node.output[0], a.t) for a in node.attribute if a.name == "value")
            elif node.op_type == "Identity" and node.input[0] in found:
                found[node.output[0]] = found[node.input[0]]
    return found
