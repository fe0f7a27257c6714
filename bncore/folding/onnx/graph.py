"""One graph of a model for rewriting: who makes a value, who reads it, edits that keep both right.

Knows names and nodes; nothing of values (constants.py), shapes (shapes.py) or algebra. Nodes are
edited in place in their protos; insertions and removals reach the graph in `finish`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx

__all__ = ["Graph", "Node", "Reading", "subgraphs"]

Reading = tuple["Node", int]  # a node and the number of its input
Shape = tuple["int | str | None", ...]  # None: a dimension nothing is known of


class Node:
    """A node of a graph; compared by identity.

    Attributes
    ----------
    before, after : list of Node
        Inserted around it.
    was_norm : bool
        Whether it is a batch norm in the file, or what is left of one.
    """

    def __init__(self, proto: onnx.NodeProto, graph: Graph, *, inserted: bool = False) -> None:
        self.proto, self.graph = proto, graph
        self.before: list[Node] = []
        self.after: list[Node] = []
        self.inserted, self.removed = inserted, False
        self.was_norm = self.op == "BatchNormalization"

    @property
    def op(self) -> str:
        """Operator, with its domain unless that is ONNX's own."""
        domain = self.proto.domain
        return (
            self.proto.op_type if domain in ("", "ai.onnx") else f"{domain}::{self.proto.op_type}"
        )

    @property
    def inputs(self) -> list[str]:
        return list(self.proto.input)

    @property
    def outputs(self) -> list[str]:
        return list(self.proto.output)

    @property
    def name(self) -> str:
        """For reports: the node's name, or its first output."""
        return self.proto.name or next(filter(None, self.proto.output), self.op)

    def input(self, index: int) -> str:
        """Name of an input, '' when it is left out."""
        return self.proto.input[index] if index < len(self.proto.input) else ""

    def attribute(self, name: str, default: Any = None) -> Any:
        from onnx import helper

        for attribute in self.proto.attribute:
            if attribute.name == name:
                return helper.get_attribute_value(attribute)
        return default

    def text(self, name: str, default: str) -> str:
        """An attribute that is a string."""
        value = self.attribute(name, default)
        return value.decode() if isinstance(value, bytes) else value

    def set_attribute(self, name: str, value: Any) -> None:
        """Set an attribute; None removes it."""
        from onnx import helper

        for position, attribute in enumerate(self.proto.attribute):
            if attribute.name == name:
                del self.proto.attribute[position]
                break
        if value is not None:
            self.proto.attribute.append(helper.make_attribute(name, value))

    def set_input(self, index: int, name: str) -> None:
        """Read another value; what nobody reads any more goes."""
        while len(self.proto.input) <= index:
            self.proto.input.append("")
        old = self.proto.input[index]
        if old == name:
            return
        if name:
            self.graph.add_reading(name, self, index)
        self.proto.input[index] = name
        if old:
            self.graph.drop_reading(old, self, index)

    def set_inputs(self, names: list[str]) -> None:
        for index in range(max(len(names), len(self.proto.input))):
            self.set_input(index, names[index] if index < len(names) else "")
        del self.proto.input[len(names) :]


def subgraphs(proto: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The bodies a node runs, in the order of its attributes."""
    for attribute in proto.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


class Graph:
    """A GraphProto with its values' producers and readers.

    Attributes
    ----------
    parent : Graph or None
        Whose values may be read too.
    weights_are_inputs : bool
        Before IR 4 every initializer is an input as well; from then on that is a caller's choice,
        and stays.
    producer : dict
        Value -> node of this graph.
    readers : dict
        Value of this graph -> [(node, input number)] in this graph.
    pins : Counter
        Value -> number of uses that no rewrite may touch: the graph's outputs, reads in bodies.
    dead : set
        Initializers nobody reads any more.
    """

    def __init__(
        self,
        proto: onnx.GraphProto,
        parent: Graph | None = None,
        *,
        weights_are_inputs: bool = False,
    ) -> None:
        self.proto, self.parent = proto, parent
        self._weights_are_inputs = weights_are_inputs
        self.initializers = {tensor.name: tensor for tensor in proto.initializer}
        self.sparse = {tensor.values.name for tensor in proto.sparse_initializer}
        self.inputs = {value.name for value in proto.input}
        self.outputs = {value.name for value in proto.output}
        self.shapes: dict[str, Shape] = {}
        self.types: dict[str, int] = {}
        self.nodes = [Node(node, self) for node in proto.node]
        self.producer = {name: n for n in self.nodes for name in n.proto.output if name}
        self.readers: dict[str, list[Reading]] = {}
        self.pins: Counter[str] = Counter(self.outputs)
        self.dead: set[str] = set()
        self.children: list[Graph] = []
        for node in self.nodes:
            for index, name in enumerate(node.proto.input):
                if name:
                    self.add_reading(name, node, index)
            self.children += [
                Graph(body, self, weights_are_inputs=weights_are_inputs)
                for body in subgraphs(node.proto)
            ]
        # a body may hand a value of this graph, or of one around it, straight to its outputs
        for name in self.outputs:
            owner = self.owner(name)
            if owner is not None and owner is not self:
                owner.pins[name] += 1

    def owner(self, name: str) -> Graph | None:
        """The graph, this one or one around it, where a value is made."""
        graph: Graph | None = self
        while graph is not None:
            if name in graph.producer or name in graph.initializers or name in graph.inputs:
                return graph
            graph = graph.parent
        return None

    def all(self) -> Iterator[Graph]:
        """This graph and the bodies in it."""
        yield self
        for child in self.children:
            yield from child.all()

    def uses(self, name: str) -> int:
        return len(self.readers.get(name, ())) + self.pins[name]

    def data_readers(self, name: str) -> list[Reading]:
        """Readers in this graph that look at the numbers, not at shape or type alone."""
        return [
            (node, index)
            for node, index in self.readers.get(name, ())
            if node.op not in ("Shape", "Size") and (node.op, index) != ("CastLike", 1)
        ]

    def add_reading(self, name: str, node: Node, index: int) -> None:
        owner = self.owner(name)
        if owner is None or owner is self:
            self.readers.setdefault(name, []).append((node, index))
        else:
            owner.pins[name] += 1

    def drop_reading(self, name: str, node: Node, index: int, keep: str = "") -> None:
        owner = self.owner(name)
        if owner is None or owner is self:
            self.readers[name].remove((node, index))
        else:
            owner.pins[name] -= 1
        if name != keep and owner is not None and owner.uses(name) == 0:
            owner._forget(name)

    def insert(
        self, proto: onnx.NodeProto, *, before: Node | None = None, after: Node | None = None
    ) -> Node:
        """A new node right before or right after one of this graph."""
        node = Node(proto, self, inserted=True)
        if before is not None:
            before.before.append(node)
        elif after is not None:
            after.after.insert(0, node)
        for name in node.outputs:
            self.producer[name] = node
        for index, name in enumerate(node.inputs):
            if name:
                self.add_reading(name, node, index)
        return node

    def remove(self, node: Node, keep: str = "") -> None:
        """Take a node out. What nobody reads then goes too, but for `keep`."""
        node.removed = True
        for name in node.outputs:
            if self.producer.get(name) is node:
                del self.producer[name]
        for index, name in enumerate(node.inputs):
            if name:
                node.proto.input[index] = ""
                self.drop_reading(name, node, index, keep)

    def rename_output(self, node: Node, old: str, new: str) -> None:
        """Make a node write its output under another name; readers stay with the old one."""
        position = node.outputs.index(old)
        node.proto.output[position] = new
        del self.producer[old]
        self.producer[new] = node
        for table in (self.shapes, self.types):
            if old in table:
                table[new] = table[old]  # type: ignore[assignment]

    def redirect(self, old: str, new: str) -> None:
        """All readers of one value read another."""
        for node, index in list(self.readers.get(old, ())):
            node.set_input(index, new)

    def ordered(self) -> Iterator[Node]:
        """The nodes as they will be written, inserted ones in their places."""
        for node in self.nodes:
            yield from _around(node)

    def finish(self) -> None:
        """Bring insertions, removals and forgotten values into the proto."""
        nodes = self.proto.node
        for position in range(len(self.nodes) - 1, -1, -1):
            if self.nodes[position].removed:
                del nodes[position]
        for position, node in enumerate(self.ordered()):
            if node.inserted:
                nodes.insert(position, node.proto)
        for field in (self.proto.initializer, self.proto.input):
            _drop(field, lambda entry: entry.name in self.dead)
        known = {name for node in self.ordered() for name in node.outputs}
        known |= self.inputs | self.initializers.keys()
        _drop(self.proto.value_info, lambda entry: entry.name not in known)
        for child in self.children:
            child.finish()

    def _forget(self, name: str) -> None:
        if name in self.initializers and (self._weights_are_inputs or name not in self.inputs):
            self.dead.add(name)
        node = self.producer.get(name)
        if node is not None and not any(self.uses(output) for output in node.outputs if output):
            self.remove(node)


def _around(node: Node) -> Iterator[Node]:
    for other in node.before:
        yield from _around(other)
    if not node.removed:
        yield node
    for other in node.after:
        yield from _around(other)


def _drop(field: Any, unwanted: Any) -> None:
    for position in range(len(field) - 1, -1, -1):
        if unwanted(field[position]):
            del field[position]
