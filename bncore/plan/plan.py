"""A net lowered for one shape and mode: steps with memory, run in as few calls as there are layers that need Python."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from .. import backend
from ..layers import Layer
from .backward import backward_steps
from .binding import Binding
from .core import core
from .forward import forward_steps
from .fusion import fuse
from .memory import Layout, lay_out
from .nodes import Call, Node, Normalize
from .recompute import recomputed
from .rules import Tracer
from .values import Array, Step, Unsupported, Value

__all__ = ["Plan", "Runner", "guards_of", "lower"]

LITTLE_WORK = 1 << 22  # multiplications of a plan that keeps the GIL: a few tens of microseconds


class Runner:
    """Some steps in a row: those in C in one call each, with layers that are called between them."""

    def __init__(self, dtype: Any, steps: Sequence[Step], bound: Binding, keep_gil: bool) -> None:
        self._parts: list[tuple[Any, int]] = []  # what to run, and how many steps it has
        self._keep_gil = keep_gil
        kinds: list[str] = []
        arguments: list[Any] = []

        def close() -> None:
            if kinds:
                self._parts.append((core.Steps(dtype, list(kinds), list(arguments)), len(kinds)))
                kinds.clear()
                arguments.clear()

        for step in steps:
            made = step.make(bound)
            if step.op == "call":
                close()
                self._parts.append((made, 0))
            else:
                kinds.append(_KINDS.get(step.op, step.op))
                arguments.append(made)
        close()
        only = self._parts[0] if len(self._parts) == 1 else None
        self._only = only[0].run if only is not None and only[1] else None

    def native(self) -> Any:
        """All steps as the core has them, of a plan that calls no layer."""
        ((steps, _),) = self._parts
        return steps

    def run(self) -> None:
        """All steps in order."""
        if self._only is not None:
            self._only(self._keep_gil)
            return
        for part, count in self._parts:
            if count:
                part.run(self._keep_gil)
            else:
                part()

    def profile(self) -> list[float]:
        """Run them; the seconds of each."""
        seconds: list[float] = []
        for part, count in self._parts:
            if count:
                seconds += part.profile()
            else:
                begin = time.perf_counter()
                part()
                seconds.append(time.perf_counter() - begin)
        return seconds


# what people read -> what runs
_KINDS = {"linear": "conv", "linear_backward": "conv_backward"}


class Plan:
    """What a net does with arrays of one shape, as a list of steps; ``print`` shows it.

    Attributes
    ----------
    steps : list of Step
        The forward pass, then, of a training plan, the backward pass.
    x, y : Value
        Input as the net takes it, and output.
    gradient : Value or None
        Of y; a training plan's backward pass begins with it.
    memory : int
        Bytes of the one block that all values share.
    """

    def __init__(
        self, net: Layer, nodes: list[Node], x: Value, y: Value, training: bool, recompute: bool
    ) -> None:
        self.net, self.nodes, self.x, self.y, self.training = net, nodes, x, y, training
        forward = [step for node in nodes for step in forward_steps(node)]
        self.gradient: Value | None = None
        backward: list[Step] = []
        if training:
            self.gradient = Value(f"d {y.name}", y.shape, y.dtype)
            backward = backward_steps(nodes, y, self.gradient)
        if recompute:
            backward = recomputed(nodes, backward)
        self.steps = [*forward, *backward]
        self._forward_count = len(forward)

    @cached_property
    def layout(self) -> Layout:
        """Where values lie."""
        filled = [self.x] if self.gradient is None else [self.x, self.gradient]
        return lay_out(self.steps, filled, [self.y])

    @property
    def memory(self) -> int:
        """Bytes of the block that the values share."""
        return self.layout.nbytes

    @property
    def unshared(self) -> int:
        """Bytes that the values would take, each for itself."""
        return sum(value.nbytes for value in self.layout.offsets)

    @property
    def work(self) -> int:
        """Multiplications of all convolutions and products."""
        return sum(step.work for step in self.steps)

    def halves(self) -> tuple[list[Step], list[Step]]:
        """Forward and backward steps."""
        return self.steps[: self._forward_count], self.steps[self._forward_count :]

    def bind(self, block: Array | None = None) -> tuple[Binding, Runner, Runner]:
        """Memory, ``block`` if it is large enough, and what runs the two halves."""
        bound = Binding(self.layout, block)
        keep_gil = self.work <= LITTLE_WORK
        forward, backward = (Runner(self.x.dtype, half, bound, keep_gil) for half in self.halves())
        return bound, forward, backward

    def norms_of_batch(self) -> list[Normalize]:
        """Norms whose running statistics every forward pass moves."""
        return [
            node
            for node in self.nodes
            if isinstance(node, Normalize) and node.batch and node.layer.running_mean is not None
        ]

    def called_layers(self) -> list[Layer]:
        """Layers that the plan calls as they are."""
        return [node.layer for node in self.nodes if isinstance(node, Call)]

    def __str__(self) -> str:
        from .text import describe

        return describe(self)


def lower(
    net: Layer, shape: Iterable[int], *, training: bool = True, recompute: bool = False
) -> Plan:
    """The plan of a net for arrays of one shape.

    Parameters
    ----------
    net : Layer
    shape : of the input, samples first
    training : bool
        Forward and backward pass in training mode; else the forward pass as the net's mode has it.
    recompute : bool
        Compute outputs of norms again in the backward pass rather than keep them.

    Raises
    ------
    Unsupported
        Where a layer would refuse the shape, or there is no compiled core.
    """
    if backend.native_module() is None:
        raise Unsupported("plans need the compiled core")
    if training:
        net.flat_vectors()  # gradients get their places
    dtypes = {parameter.value.dtype for _, parameter in net.named_parameters()}
    if len(dtypes) > 1:
        raise Unsupported("parameters of several dtypes")
    dtype = dtypes.pop() if dtypes else np.dtype(np.float32)
    x = Value("x", tuple(int(size) for size in shape), dtype)
    tracer = Tracer()
    y = tracer.lower(net, x, "")
    y = tracer.plain(y, "")
    fuse(tracer.nodes, y, training)
    return Plan(net, tracer.nodes, x, y, training, recompute and training)


def guards_of(net: Layer, called: Iterable[Layer]) -> list[tuple[dict[str, Any], str, Any]]:
    """What must stay as it is for a plan to hold: all attributes of all layers but those that it calls."""
    skip = {id(layer) for top in called for _, layer in top.named_layers()}
    changing = {"_saved", "num_batches_tracked", "rng"}
    guards = []
    for _, layer in net.named_layers():
        if id(layer) not in skip:
            held = layer.__dict__
            # the mode is an attribute of the class until it is first set
            guards.append((held, "training", held.get("training")))
            guards += [(held, name, value) for name, value in held.items() if name not in changing]
    return guards
