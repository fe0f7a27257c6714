"""A trainer's step as a plan: forward, loss, backward in as few calls as possible, with the layers' results.

`PlannedSteps` keeps the plans of the last shapes, and makes another when the net, the shape or a mode changed. Where it
cannot, it says so, and the trainer calls the layers one by one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _native
from ..backend import Refused
from ..functional.loss import judge_classes
from ..layers import Layer
from ..layers.parameters import FlatVectors
from ..plan import Plan, Run, Unsupported, guards_of, lower
from . import losses

__all__ = ["PlannedStep", "PlannedSteps"]

Array = np.ndarray[Any, Any]
MOST_PLANS = 4  # batches of one epoch differ by one sample at most; those of validation have shapes of their own


class PlannedSteps:
    """The plans that a trainer used last.

    Parameters
    ----------
    recompute : bool
        See `bncore.plan.lower`.
    """

    def __init__(self, recompute: bool) -> None:
        self._recompute = recompute
        self._known: list[PlannedStep] = []  # the last one used first
        self._refused: set[Any] = set()

    def __reduce__(self) -> tuple[Any, ...]:
        return PlannedSteps, (self._recompute,)  # a copy makes plans of its own

    def step_for(self, net: Layer, loss: Any, x: Any, y: Any) -> PlannedStep | None:
        """The plan for a batch; None where there is none."""
        known = self._known
        if known and known[0].fits(net, loss, x, y):
            return known[0]
        if not isinstance(x, np.ndarray) or not isinstance(y, np.ndarray) or x.size == 0:
            return None
        key = _key(net, loss, x, y)
        if key in self._refused:
            return None
        self._known = known = [step for step in known if step.is_current()]
        step = next((step for step in known if step.key == key), None)
        if step is not None:
            known.remove(step)
        else:
            try:
                plan = lower(net, x.shape, recompute=self._recompute)
                step = PlannedStep(plan, loss, x, y, known[0].block if known else None)
            except (Unsupported, Refused):  # the layers will explain, or convert
                self._refused.add(key)
                return None
        known.insert(0, step)
        del known[MOST_PLANS:]
        return step


def _key(net: Layer, loss: Any, x: Array, y: Array) -> tuple[Any, ...]:
    smoothing = getattr(loss, "label_smoothing", None)
    return id(net), id(loss), smoothing, x.shape, x.dtype, y.shape, y.dtype


class PlannedStep:
    """Forward pass, loss and backward pass for batches of one shape.

    Attributes
    ----------
    plan : Plan
    flat : FlatVectors
        The net's parameters and gradients.
    block : ndarray
        The plan's memory. Steps that take turns share it.
    """

    def __init__(
        self, plan: Plan, loss: Any, x: Array, y: Array, block: Array | None = None
    ) -> None:
        net = plan.net
        self.plan = plan
        if self.plan.x.dtype != x.dtype:
            raise Unsupported(f"x is {x.dtype}")
        self._called = self.plan.called_layers()
        self.flat: FlatVectors = net.flat_vectors()
        self._guards = guards_of(net, self._called)
        self.key = _key(net, loss, x, y)
        self._kept = net, loss  # their numbers in the key stay theirs
        self._loss = _loss_of(loss, self.plan, y)
        self._run = Run(self.plan, block)
        self.block = self._run.bound.block
        self._loss.bind(self._run)

    def fits(self, net: Layer, loss: Any, x: Any, y: Any) -> bool:
        """Whether this is for such a batch, and the net still what it was lowered from."""
        try:
            return _key(net, loss, x, y) == self.key and self.is_current()
        except AttributeError:
            return False

    def is_current(self) -> bool:
        """Whether the net is still what it was lowered from."""
        current: bool = _native.unchanged(self._guards)
        return current

    def forward(self, x: Array, y: Array) -> float:
        """The loss; running statistics move."""
        self._loss.judge(y)
        self._run.x[...] = x
        self._run.forward()
        return self._loss.value(self._run.y)

    def backward(self) -> None:
        """The gradients of all parameters."""
        self._loss.gradient()
        self._run.backward()
        if self._called:  # whose parameters may have been replaced, and gradients assigned
            self.flat = self.plan.net.flat_vectors()

    def prediction(self) -> Array:
        """What the net made of the batch, as a new array."""
        return self._run.y.copy()

    def profile(self, x: Array, y: Array) -> list[tuple[str, float]]:
        """(step, seconds) of one forward and backward pass."""
        self._loss.judge(y)
        self._run.x[...] = x
        seconds = self._run.profile_forward()
        self._loss.value(self._run.y)
        self._loss.gradient()
        seconds += self._run.profile_backward()
        names = [f"{step.path} {step.op}".strip() for step in self.plan.steps]
        return list(zip(names, seconds))


def _loss_of(loss: Any, plan: Plan, y: Array) -> Any:
    if type(loss) is not losses.CrossEntropy or len(plan.y.shape) != 2:
        return _AnyLoss(loss)
    classes = y.shape == plan.y.shape[:1] and y.dtype.kind in "iu" and plan.y.size > 0
    return _CrossEntropy(loss, plan) if classes else _AnyLoss(loss)


class _CrossEntropy:
    """Softmax cross-entropy behind the net, in C."""

    def __init__(self, loss: losses.CrossEntropy, plan: Plan) -> None:
        self._smoothing = loss.label_smoothing
        n, self._classes = plan.y.shape
        self._target = np.zeros(n, np.int64)

    def bind(self, run: Run) -> None:
        """Its arguments, and what runs its two halves."""
        dtype = run.y.dtype
        shift, total = (np.empty(len(run.y), dtype) for _ in range(2))
        self._arguments = _native.CrossEntropyArguments(
            dtype, run.y, self._target, shift, total, run.gradient, self._smoothing
        )
        self._forward = _native.Steps(dtype, ["cross_entropy"], [self._arguments])
        self._backward = _native.Steps(dtype, ["cross_entropy_backward"], [self._arguments])

    def judge(self, y: Array) -> None:
        """Take the classes, if they are some."""
        if not self._arguments.take(y):
            self._target[...] = judge_classes(y, len(self._target), self._classes)

    def value(self, pred: Array) -> float:
        """The loss."""
        self._forward.run(True)
        loss: float = self._arguments.loss
        return loss

    def gradient(self) -> None:
        """Its gradient, to where the backward pass begins."""
        self._backward.run(True)


class _AnyLoss:
    """Any other loss, called with a copy of the prediction."""

    def __init__(self, loss: Any) -> None:
        self._loss = loss
        self._y: Any = None
        self._found: Any = None

    def bind(self, run: Run) -> None:
        """Where its gradient goes."""
        self._to = run.gradient

    def judge(self, y: Array) -> None:
        """Take the target."""
        self._y = y

    def value(self, pred: Array) -> float:
        """The loss."""
        loss, self._found = self._loss(pred.copy(), self._y)
        if np.shape(self._found) != pred.shape:
            raise ValueError(
                f"loss: its gradient must have the shape {pred.shape} of the prediction, "
                f"got {np.shape(self._found)}"
            )
        return loss

    def gradient(self) -> None:
        """Its gradient, to where the backward pass begins."""
        self._to[...] = self._found
        self._found = None
