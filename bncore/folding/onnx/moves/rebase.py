"""Another base for a stream: a value x with several readers becomes ``x' = s*·x + t*`` for one of
them, whose norm goes.

Writers absorb s* (t* once), every other reader becomes ``(s/s*, t - s·t*/s*)``. A stream is what
sums and concatenations make of one another: all of pre-activation ResNet's sums, a dense block.
Needs s* != 0; the reader with the largest min|s*| is taken, and the condition number max|s/s*| is
reported. `BESIDE` is the same for a single value, two norms behind one convolution.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ...algebra import FoldRefused
from .. import affine_nodes
from ..graph import Node
from ..labels import Label
from ..rewrites import concat
from ..rewrites.elementwise import away, becomes
from ..walk import Edit, Walk
from .plan import Move, signal_of

__all__ = ["BESIDE", "REBASE"]

LARGEST_CONDITION = 1e3
SUMS = ("Add", "Sum")


@dataclass(eq=False)
class _Stream:
    """The values that get another base, and what that means for everything around them."""

    walk: Walk
    start: Node
    single: bool
    labels: dict[str, Label] = field(default_factory=dict)
    waiting: list[str] = field(default_factory=list)
    edits: list[Edit] = field(default_factory=list)
    given: list[tuple[str, Label, bool]] = field(default_factory=list)
    condition: float = 1.0

    def assign(self, value: str, label: Label) -> None:
        if label.is_identity:
            return
        known = self.labels.get(value)
        if known is not None:
            _judge_same(value, known, label)
            return
        if self.walk.graph.pins[value]:
            raise FoldRefused(f"{value} is an output of the graph, or read in a body")
        if self.single and self.labels:
            raise FoldRefused("it is a stream, not one value")
        self.labels[value] = label
        self.waiting.append(value)

    def spread(self) -> None:
        while self.waiting:
            value = self.waiting.pop(0)
            self._write(value)
            for node, index in self.walk.readers(value):
                if node is not self.start:
                    self._read(node, index, value)
        self._judge_operands()

    def _judge_operands(self) -> None:
        """What sums and concatenations counted on must be what their operands got in the end: a stream
        may meet itself.
        """
        for name, label, assigned in self.given:
            if name in self.labels:
                if not assigned:
                    raise FoldRefused(f"{name} would need two bases")
                _judge_same(name, self.labels[name], label)

    def _write(self, value: str) -> None:
        walk, label = self.walk, self.labels[value]
        node = walk.graph.producer.get(value)
        if node is None:
            raise FoldRefused(f"{value} comes from outside of the graph")
        if self._is_sum(node):
            self._write_sum(node, label)
        elif node.op == "Concat":
            for name, part in zip(node.inputs, concat.parts(walk, node, label), strict=True):
                self._into(name, part)
        else:
            self.edits += walk.backward_through(value, label)

    def _write_sum(self, node: Node, label: Label) -> None:
        """The summand that is a stream itself takes the shift."""
        shared = [i for i, name in enumerate(node.inputs) if self._is_shared(name)]
        if not shared:
            self.edits += self.walk.backward_through(node.outputs[0], label)
            self.given += [(name, label, False) for name in node.inputs]
            return
        first = next((i for i in shared if node.input(i) in self.labels), shared[0])
        for i, name in enumerate(node.inputs):
            part = label if i == first else label.scales()
            self._into(name, part.fitted(self.walk.shape(name)))

    def _into(self, name: str, label: Label) -> None:
        shared = self._is_shared(name)
        self.given.append((name, label, shared))
        if shared:
            self.assign(name, label)
        else:
            self.edits += self.walk.backward(name, label)

    def _read(self, node: Node, index: int, value: str) -> None:
        label = self.labels[value]
        if self._is_sum(node):
            rank = len(self.walk.shape(node.outputs[0]))
            if rank != label.rank:
                raise FoldRefused(f"{value} is broadcast in {node.name}")
            if not self._is_balanced(node, index, label):
                self.assign(node.outputs[0], label)
        elif node.op == "Concat":
            # a base that it has already is compared in the end
            if node.outputs[0] not in self.labels:
                self.assign(node.outputs[0], concat.widened(self.walk, node, index, label))
        elif affine_nodes.is_label(self.walk.program, node) and node.op != "Conv":
            own = affine_nodes.read(self.walk.program, node)
            self._judge_choice(own)
            composed = label.inverse().then(own)
            self.condition = max(self.condition, float(np.abs(composed.affine.scale).max()))
            self.edits.append(becomes(self.walk, node, composed))
        else:
            self.edits += self.walk.forward_into(node, index, label.inverse())

    def _is_balanced(self, node: Node, index: int, label: Label) -> bool:
        """Whether another summand could take a shift away again, at no cost: the sum keeps its base then."""
        total = node.outputs[0]
        if not label.only_shifts or total in self.labels:
            return False
        back = label.inverse()
        for i, name in enumerate(node.inputs):
            if i == index or self._is_shared(name):
                continue
            try:
                edits = self.walk.backward(name, back.fitted(self.walk.shape(name)))
            except FoldRefused:
                continue
            if sum(edit.cost for edit in edits) <= 0:
                self.edits += edits
                self.given += [(name, back, False), (total, Label.identity(label.rank), False)]
                return True
        return False

    def _judge_choice(self, other: Label) -> None:
        """Refuse if another reader's scales are farther from 0: its turn comes."""
        mine = affine_nodes.read(self.walk.program, self.start)
        if np.abs(other.affine.scale).min() > np.abs(mine.affine.scale).min():
            raise FoldRefused("another reader of the stream has larger scales")

    def _is_sum(self, node: Node) -> bool:
        return node.op in SUMS and affine_nodes.signal(self.walk.program, node) is None

    def _is_shared(self, name: str) -> bool:
        return name in self.labels or len(self.walk.graph.data_readers(name)) > 1


def _judge_same(value: str, one: Label, other: Label) -> None:
    pairs = zip(one.arrays(), other.arrays(), strict=True)
    if one.shape != other.shape or any((a != b).any() for a, b in pairs):
        raise FoldRefused(f"{value} would need two bases")


def rebase(walk: Walk, node: Node, label: Label, *, single: bool = False) -> list[Edit]:
    walk.judge_center(node.outputs[0], label)
    if (label.affine.scale == 0).any():
        raise FoldRefused("a channel has scale 0")
    index = signal_of(walk, node)
    stream = _Stream(walk, node, single)
    stream.assign(node.input(index), label)
    stream.spread()
    if stream.condition > LARGEST_CONDITION:
        raise FoldRefused(f"the condition number would be {stream.condition:.3g}")
    walk.note = f"condition number {stream.condition:.3g}"
    return [*stream.edits, away(walk, node)]


def beside(walk: Walk, node: Node, label: Label) -> list[Edit]:
    return rebase(walk, node, label, single=True)


REBASE = Move("rebase", "rebase", rebase)
BESIDE = Move("two norms of one value", "norms", beside)
