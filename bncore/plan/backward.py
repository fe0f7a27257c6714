"""The steps of the backward pass, from the last node to the first.

A norm's gradient behind a convolution is not stored: the convolution's backward step computes it as it reads. The sums
that the norm in front needs are taken while the convolution's dx is in cache.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import singledispatchmethod
from typing import Any

from ..functional.activation import KEEPS_OUTPUT
from .core import core
from .forward import column_step, fill, located, products, starts, sum_step, turn_step
from .fusion import bare, readers_of
from .nodes import (
    Activate,
    Call,
    Concatenate,
    Convolve,
    GlobalPool,
    Node,
    Normalize,
    Pool,
    Reshape,
    Sum,
    Turn,
)
from .values import Step, Value

__all__ = ["backward_steps"]


def backward_steps(nodes: list[Node], output: Value, gradient: Value) -> list[Step]:
    """Steps that bring ``gradient``, of the net's output, to all parameters."""
    tape = _Tape(nodes, output, gradient)
    for node in reversed(nodes):
        if node.y.learns:
            tape.step_back(node)
    for step in tape.steps:
        step.backward = True
    return tape.steps


@dataclass
class _ConvBackward:
    """A convolution's backward step; the norm in front of it comes to light later."""

    step: Step
    front: Normalize | None = None


class _Tape:
    """Gradients of values that are known so far, and the steps that make them."""

    def __init__(self, nodes: list[Node], output: Value, gradient: Value) -> None:
        self.steps: list[Step] = []
        self._gradients = {output: gradient}
        self._makers = {node.y: node for node in nodes}
        self._readers = readers_of(nodes, output)
        self._behind: dict[Value, Normalize] = {}  # norms whose gradient a convolution computes
        self._by_conv: dict[Value, _ConvBackward] = {}

    def step_back(self, node: Node) -> None:
        """The steps of one node, if anything depends on it."""
        if node.y in self._gradients or node.y in self._behind:
            self._back(node)

    # ---- gradients

    def _new(self, value: Value) -> Value:
        return Value(f"d {value.name}", value.shape, value.dtype, value.turned)

    def _give(self, value: Value, gradient: Value, path: str) -> None:
        """``gradient`` is (a part of) that of ``value``."""
        known = self._gradients.get(value)
        if known is not None:
            total = self._new(value)
            self.steps.append(sum_step(path, known, gradient, total))
            gradient = total
        self._gradients[value] = gradient

    @singledispatchmethod
    def _back(self, node: Node) -> None:
        raise NotImplementedError(type(node).__name__)

    def _simple(
        self, op: str, node: Node, dy: Value, more: list[Value], make: Callable[..., Any]
    ) -> None:
        """A step that reads dy and ``more`` and writes dx; ``make`` takes (bound, dx)."""
        if not node.x.learns:
            return
        dx = self._new(node.x)
        self.steps.append(
            Step(op, node.path, [dy, *more], [dx], lambda bound: make(bound, bound[dx]))
        )
        self._give(node.x, dx, node.path)

    # ---- norms

    @_back.register
    def _(self, node: Normalize) -> None:
        front = self._makers.get(node.x)
        node.dy = self._gradients[node.y]
        mask = [node.y] if node.residual is not None and node.relu else []
        if node.residual is not None and (mask or node.residual.learns):
            node.dresidual = self._new(node.residual)  # also where only the masked pass needs it
        fused = bare(front) and self._readers[node.x] == [node]
        if fused or not node.x.learns:
            self._sum(node, mask)
        if fused and isinstance(front, Convolve) and front.layer.bias is None:
            self._behind[node.x] = node  # whose backward step writes dresidual, too
            return
        if node.x.learns:
            node.dx = self._new(node.x)
            writes = [node.dx] if node.dresidual is None else [node.dx, node.dresidual]
            op = "input_gradient" if fused else "batch_norm_backward"
            reads = [node.dy, node.x, *mask]
            self.steps.append(
                Step(op, node.path, reads, writes, lambda bound: bound.norm_gradient(node))
            )
            self._give(node.x, node.dx, node.path)
        self._give_residual(node)

    def _give_residual(self, node: Normalize) -> None:
        if node.residual is not None and node.residual.learns and node.dresidual is not None:
            self._give(node.residual, node.dresidual, node.path)

    def _sum(self, node: Normalize, mask: list[Value]) -> None:
        """The sums of a norm: by the convolution that makes its dy, or in a step of their own."""
        assert node.dy is not None
        conv = self._by_conv.get(node.dy)
        if conv is not None and conv.front is None:
            conv.front = node
            conv.step.reads = [*conv.step.reads, node.x, *mask]
            conv.step.notes.append(f"sums for {node.path}")
            return
        self.steps.append(
            Step(
                "norm_sums",
                node.path,
                [node.dy, node.x, *mask],
                [],
                lambda bound: bound.norm_gradient(node),
            )
        )

    # ---- convolutions

    @_back.register
    def _(self, node: Convolve) -> None:
        norm = self._behind.get(node.y)
        dy = norm.dy if norm is not None else self._gradients[node.y]
        assert dy is not None
        if node.relu:
            masked = self._new(node.y)
            self.steps.append(_relu_step(node.path, dy, node.y, masked))
            dy = masked
        if node.residual is not None and node.residual.learns:
            self._give(node.residual, dy, node.path)
        if node.layer.bias is not None:
            self.steps.append(_bias_step(node, dy))
        self._conv_step(node, dy, norm)

    def _conv_step(self, node: Convolve, dy: Value, norm: Normalize | None) -> None:
        reads, writes, notes = [dy, node.through.x if node.through else node.x], [], []
        if norm is not None:
            reads += [norm.x] if norm.residual is None or not norm.relu else [norm.x, norm.y]
            writes += [] if norm.dresidual is None else [norm.dresidual]
            notes.append(f"through {norm.path}")
        dx = more = None
        if node.x.learns:
            dx = self._new(node.x)
            writes.append(dx)
            more = self._gradients.pop(node.x, None)
        if more is not None:
            reads.append(more)
            notes.append("+ gradient so far")
        if node.through is not None:
            notes.append(f"reads through {node.through.path}")
        back = _ConvBackward(Step("", node.path, reads, writes, lambda bound: None, notes))

        def make(bound: Any) -> Any:
            return core.ConvGradientArguments(
                bound.convolution(node),
                bound[dy],
                bound.optional_norm(norm),
                bound.optional(dx),
                bound.optional(more),
                bound.optional_norm(back.front),
                node.layer.weight_grad,
            )

        step = back.step
        step.op = "linear_backward" if node.rows else "conv_backward"
        step.make, step.work = make, products(node) * (1 if dx is None else 2)
        self.steps.append(step)
        if dx is not None:
            self._by_conv[dx] = back
            self._gradients[node.x] = dx
        if norm is not None:
            self._give_residual(norm)

    # ---- the others

    @_back.register
    def _(self, node: Activate) -> None:
        dy = self._gradients[node.y]
        kept = node.y if node.kind in KEEPS_OUTPUT else node.x

        def make(bound: Any, dx: Any) -> Any:
            return core.ActivationArguments(
                dx.dtype, bound[dy], bound[kept], dx, node.kind, node.slope
            )

        self._simple("activation_backward", node, dy, [kept], make)

    @_back.register
    def _(self, node: Pool) -> None:
        dy = self._gradients[node.y]

        def make(bound: Any, dx: Any) -> Any:
            index = None if node.index is None else bound[node.index]
            return core.PoolArguments(
                dx.dtype, bound[dy], dx, index, node.image, node.kernel, node.stride,
                node.padding, node.count_include_pad, False,
            )  # fmt: skip

        self._simple(f"{node.kind}_pool_backward", node, dy, _index(node), make)

    @_back.register
    def _(self, node: GlobalPool) -> None:
        dy = self._gradients[node.y]

        def make(bound: Any, dx: Any) -> Any:
            n, c = node.y.shape
            index = None if node.index is None else bound[node.index]
            return core.GlobalPoolArguments(
                dx.dtype, bound[dy], dx, index, n, node.pixels, c, False
            )

        self._simple(f"global_{node.kind}_pool_backward", node, dy, _index(node), make)

    @_back.register
    def _(self, node: Sum) -> None:
        dy = self._gradients[node.y]
        if node.relu:
            masked = self._new(node.y)
            self.steps.append(_relu_step(node.path, dy, node.y, masked))
            dy = masked
        for value in (node.x, node.other):
            if value.learns:
                self._give(value, dy, node.path)

    @_back.register
    def _(self, node: Concatenate) -> None:
        dy = self._gradients[node.y]
        pitch = node.y.shape[-1]
        for part, start in zip(node.parts, starts(node)):
            if part.learns:
                d = self._new(part)
                self.steps.append(column_step(node.path, dy, pitch, start, d, 0, part.shape[-1]))
                self._give(part, d, node.path)

    @_back.register
    def _(self, node: Turn) -> None:
        if node.x.learns:
            dx = self._new(node.x)
            self.steps.append(turn_step(node.path, self._gradients[node.y], dx, not node.to_last))
            self._give(node.x, dx, node.path)

    @_back.register
    def _(self, node: Reshape) -> None:
        dx = self._new(node.x)
        dx.base = self._gradients[node.y]
        self._give(node.x, dx, node.path)

    @_back.register
    def _(self, node: Call) -> None:
        dy = self._gradients[node.y]
        dx = self._new(node.x) if node.x.learns else None

        def make(bound: Any) -> Callable[[], None]:
            arrived, to, layer = bound[dy], bound.optional(dx), node.layer

            def run() -> None:
                gradient = located(node, layer.backward, arrived.copy())
                if to is not None:
                    fill(node, to, gradient)

            return run

        writes = [] if dx is None else [dx]
        note = [node.layer.brief()]
        self.steps.append(Step("call", node.path, [dy], writes, make, note))
        if dx is not None:
            self._give(node.x, dx, node.path)


def _index(node: Pool | GlobalPool) -> list[Value]:
    return [] if node.index is None else [node.index]


def _relu_step(path: str, dy: Value, y: Value, dx: Value) -> Step:
    """dx = dy where y > 0."""

    def make(bound: Any) -> Any:
        return core.ActivationArguments(dx.dtype, bound[dy], bound[y], bound[dx], "relu", 0.0)

    return Step("activation_backward", path, [dy, y], [dx], make, ["relu"])


def _bias_step(node: Convolve, dy: Value) -> Step:
    g = node.geometry

    def make(bound: Any) -> Any:
        pixels = g.out_size[0] * g.out_size[1]
        return core.BiasArguments(
            dy.dtype, bound[dy], node.layer.bias_grad, g.batch, pixels, g.out_channels
        )

    return Step("bias_gradient", node.path, [dy], [], make)
