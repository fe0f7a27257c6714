"""A model being rewritten: its graphs, its constants, unused names, the way back into the proto."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .constants import Constants
from .graph import Graph, Node, Shape
from .shapes import infer
from .store import Store

if TYPE_CHECKING:
    import onnx

__all__ = ["Program"]

NEW = "bncore_folded"


class Program:
    """All graphs of a model.

    Attributes
    ----------
    main : Graph
    constants : Constants
    opset : int
        Of ONNX's own operators.
    """

    def __init__(self, model: onnx.ModelProto, store: Store) -> None:
        self.model, self.store = model, store
        self.ir_version = model.ir_version
        self.opset = max(
            (entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")),
            default=0,
        )
        self.main = Graph(model.graph, weights_are_inputs=self.ir_version < 4)
        self.constants = Constants(self)
        infer(self)
        self._names = set(_names(self.main))
        self._last: dict[str, int] = {}

    def unique(self, hint: str) -> str:
        """A name nothing in the model has."""
        base = hint if hint.endswith(NEW) or f".{NEW}_" in hint else f"{hint}.{NEW}"
        number = self._last.get(base, 0)
        name = base
        while name in self._names:
            number += 1
            name = f"{base}_{number}"
        self._last[base] = number
        self._names.add(name)
        return name

    def shape(self, graph: Graph, name: str) -> Shape | None:
        owner = graph.owner(name)
        return None if owner is None else owner.shapes.get(name)

    def data_type(self, graph: Graph, name: str) -> int | None:
        owner = graph.owner(name)
        return None if owner is None else owner.types.get(name)

    def finish(self) -> None:
        """Bring everything into the proto. The program is used up."""
        self.constants.finish()
        self.main.finish()

    def insert(
        self,
        op: str,
        inputs: list[str],
        like: str,
        *,
        before: Node | None = None,
        after: Node | None = None,
        output: str | None = None,
        **attributes: Any,
    ) -> Node:
        """A new node beside another one; its output has shape and type of the value `like`."""
        from onnx import helper

        anchor = before or after
        assert anchor is not None
        graph = anchor.graph
        output = output or self.unique(like)
        proto = helper.make_node(op, inputs, [output], name=self.unique(output), **attributes)
        node = graph.insert(proto, before=before, after=after)
        shape, data_type = self.shape(graph, like), self.data_type(graph, like)
        if shape is not None:
            graph.shapes[output] = shape
        if data_type is not None:
            graph.types[output] = data_type
        return node


def _names(graph: Graph) -> set[str]:
    names = graph.inputs | graph.outputs | graph.initializers.keys() | graph.sparse
    for node in graph.nodes:
        names |= {node.proto.name, *node.proto.input, *node.proto.output}
    for child in graph.children:
        names |= _names(child)
    return names
