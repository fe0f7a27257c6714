"""A walk from a label to everything that has to change so that the label's node can go.

Backward: a value's producer shall give ``label(v)``. Forward: a value's readers shall treat v as
``label(v)``. Each operator's rule (rewrites/) takes the label, hands it on, or refuses with a
reason; a walk collects edits and changes nothing, so that a refusal anywhere leaves the model as
it was.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..algebra import Array64, FoldRefused, check_forward
from .constants import Constant
from .graph import Graph, Node, Reading
from .labels import Label
from .program import Program
from .rule import Rule
from .store import dtype_of
from .weights import Weight, weight_of

__all__ = ["Edit", "Rule", "Walk"]

STEPS = 1000  # operators of one walk
DEPTH = 60  # operators behind each other: a few calls each, far from Python's limit
CHOOSERS = ("Slice", "Gather", "Split")


@dataclass(eq=False)
class Edit:
    """What one node will become; nothing happens before `apply`.

    Attributes
    ----------
    cost : float
        Element-wise passes it adds, in units of the walk's start.
    relative : callable
        A value's size in these units.
    """

    program: Program
    node: Node
    cost: float = 0.0
    relative: Callable[[str], float] = field(default=lambda value: 1.0)
    changes: list[Callable[[], None]] = field(default_factory=list)

    def multiply(self, weight: Weight, factor: Array64) -> None:
        """Let a weight be multiplied by a factor that is broadcast to it."""
        if (factor != 1).any():
            self.changes.append(weight.multiplied(factor))
            self.cost += self.relative(self.node.input(weight.index)) if weight.added else 0.0

    def put(self, index: int, values: Array64, data_type: int, what: str = "bias") -> None:
        """Let an input be a new constant."""
        constants = self.program.constants
        constants.judge(lambda: values, data_type, what)
        self.changes.append(
            lambda: constants.assign(
                self.node, index, lambda: values, values.shape, data_type, what
            )
        )

    def apply(self) -> None:
        for change in self.changes:
            change()


class Walk:
    """One attempt.

    Parameters
    ----------
    program : Program
    rules : dict
        Operator -> Rule.
    levels : frozenset of str
    start : Node
        The label's node; the size of its output is the unit of costs.
    maps : bool
        Whether a shift may become a map that is added after a padded operation.
    partial : bool
        Whether one branch of a concatenation may keep a norm of its own.
    """

    def __init__(
        self,
        program: Program,
        rules: dict[str, Rule],
        levels: frozenset[str],
        start: Node,
        *,
        maps: bool = False,
        partial: bool = False,
    ) -> None:
        self.program, self.rules, self.levels = program, rules, levels
        self.start, self.graph = start, start.graph
        self.maps, self.partial = maps, partial
        self.crossed: dict[str, None] = {}
        self.note = ""
        self._steps = self._depth = 0

    def backward(self, value: str, label: Label, via: Node | None = None) -> list[Edit]:
        """Edits that make `value` ``label(value)``. It has one reader; or, with `via`, others that
        choose places of it where the map is the identity.
        """
        if label.is_identity:
            return []
        graph = self.graph
        if graph.pins[value]:
            raise FoldRefused(f"{value} is an output of the graph, or read in a body, as well")
        readings = graph.data_readers(value)
        if len(readings) > 1 and not (via and self._only_here(readings, via, label)):
            raise FoldRefused(f"{value} has other readers")
        if value not in graph.producer:
            raise FoldRefused(f"{value} comes from outside of the graph")
        return self.backward_through(value, label)

    def _only_here(self, readings: list[Reading], via: Node, label: Label) -> bool:
        """Whether a map means nothing to all readers but one."""
        others = [(node, index) for node, index in readings if node is not via]
        return len(others) == len(readings) - 1 and all(
            node.op in CHOOSERS and not self.forward_into(node, index, label)
            for node, index in others
        )

    def backward_through(self, value: str, label: Label) -> list[Edit]:
        """The same whoever else reads `value`: the caller sees to that."""
        node = self.graph.producer[value]
        rule = self._rule(node)
        if rule.backward is None:
            raise FoldRefused(f"{node.op} {node.name} is before it, which takes no scale and shift")
        with self._deeper(node):
            return rule.backward(self, node, node.outputs.index(value), label)

    def forward(self, value: str, label: Label) -> list[Edit]:
        """Edits that make all readers of `value` treat it as ``label(value)``."""
        if label.is_identity:
            return []
        graph = self.graph
        if graph.pins[value]:
            raise FoldRefused(f"{value} is an output of the graph, or read in a body")
        edits: list[Edit] = []
        for node, index in self.readers(value):
            edits += self.forward_into(node, index, label)
        return edits

    def readers(self, value: str) -> list[Reading]:
        """Who looks at the numbers of a value; refused if a node does twice."""
        readings = self.graph.data_readers(value)
        if len({node for node, _ in readings}) < len(readings):
            raise FoldRefused(f"a node reads {value} twice")
        return readings

    def forward_into(self, node: Node, index: int, label: Label) -> list[Edit]:
        """Edits that make one reader treat its input as ``label`` of what it is."""
        rule = self._rule(node)
        if rule.forward is None:
            raise FoldRefused(f"{node.op} {node.name} is after it, which takes no scale and shift")
        with self._deeper(node):
            return rule.forward(self, node, index, label)

    def edit(self, node: Node, cost: float = 0.0) -> Edit:
        """An empty edit; `cost` is in passes over the node's output."""
        return Edit(
            self.program,
            node,
            cost * self.relative(node.outputs[0]) if cost else 0.0,
            self.relative,
        )

    def weight(self, node: Node, index: int, *, computed: bool = False) -> Weight:
        return weight_of(self.program, node, index, computed=computed)

    def constant(self, node: Node, index: int) -> Constant:
        return self.program.constants.find(node.graph, node.input(index))

    def vector(self, node: Node, index: int, size: int) -> Array64:
        """An optional bias in float64; zeros if it is left out."""
        if not node.input(index):
            return np.zeros(size)
        return self.weight(node, index).float64()

    def is_constant(self, node: Node, index: int) -> bool:
        return self.program.constants.is_constant(node.graph, node.input(index))

    def shape(self, value: str) -> tuple[Any, ...]:
        shape = self.program.shape(self.graph, value)
        if shape is None:
            raise FoldRefused(f"the shape of {value} is not known")
        return shape

    def sizes(self, value: str, axes: Iterable[int]) -> list[int]:
        """Static sizes of some axes."""
        shape = self.shape(value)
        sizes = [shape[axis] for axis in axes]
        if not all(isinstance(size, int) for size in sizes):
            raise FoldRefused(f"the size of {value} is not static")
        return sizes

    def data_type(self, value: str) -> int:
        data_type = self.program.data_type(self.graph, value)
        if data_type is None:
            raise FoldRefused(f"the element type of {value} is not known")
        return data_type

    def judge_center(self, value: str, label: Label) -> None:
        """Refuse to part scale and shift where the mean is far away: it has to be subtracted first, and
        an Add that is left would go on later.
        """
        check_forward(label.affine, dtype_of(self.data_type(value)))

    def relative(self, value: str) -> float:
        """Size of a value in units of the start's output; 1 where it is not known."""
        sizes = []
        for name in (value, self.start.outputs[0]):
            shape = self.program.shape(self.graph, name)
            if shape is None:
                return 1.0
            sizes.append((sum(not isinstance(d, int) for d in shape),
                          math.prod(d for d in shape if isinstance(d, int))))  # fmt: skip
        (unknown, size), (unknown_start, size_start) = sizes
        return size / max(size_start, 1) if unknown == unknown_start else 1.0

    def add_after(self, node: Node, value: Array64, edits: list[Edit]) -> None:
        """Let a constant be added to a node's output by a node of its own, if it is not zero."""
        if not value.any():
            return
        data_type = self.data_type(node.outputs[0])
        self.program.constants.judge(lambda: value, data_type, "shift")
        edit = next((edit for edit in edits if edit.node is node), None)
        if edit is None:
            edit = self.edit(node)
            edits.append(edit)
        edit.cost += self.relative(node.outputs[0])
        edit.changes.append(lambda: _add_after(self.program, node, value, data_type))

    def _rule(self, node: Node) -> Rule:
        rule = self.rules.get(node.op)
        if rule is None:
            raise FoldRefused(f"{node.op} {node.name} is next to it, which is not linear")
        if rule.level != "any" and rule.level not in self.levels:
            raise FoldRefused(f"{node.op} {node.name} is next to it (level {rule.level} is off)")
        return rule

    def _deeper(self, node: Node) -> _Deeper:
        self._steps += 1
        if self._steps > STEPS or self._depth >= DEPTH:
            raise FoldRefused("too many operators are between it and what could take it")
        self.crossed.setdefault(node.op)
        return _Deeper(self)


class _Deeper:
    def __init__(self, walk: Walk) -> None:
        self._walk = walk

    def __enter__(self) -> None:
        self._walk._depth += 1

    def __exit__(self, *error: object) -> None:
        self._walk._depth -= 1


def _add_after(program: Program, node: Node, value: Array64, data_type: int) -> None:
    graph: Graph = node.graph
    old = node.outputs[0]
    inner = program.unique(old)
    graph.rename_output(node, old, inner)
    constant = program.constants.new(f"{old}.shift", lambda: value, value.shape, data_type)
    program.insert("Add", [inner, constant], inner, after=node, output=old)
