"""A trainer's step as a plan: forward, loss, backward in as few calls as possible, with the layers' results.

`PlannedSteps` keeps the plan of the last shape, and makes another when the net, the shape or a mode changed. Where it
cannot, it says so, and the trainer calls the layers one by one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _native
from ..functional.loss import judge_classes
from ..layers import Layer
from ..layers.parameters import FlatVectors
from ..plan import Plan, Unsupported, guards_of, lower
from . import losses

__all__ = ["PlannedStep", "PlannedSteps"]

Array = np.ndarray[Any, Any]


class PlannedSteps:
    """Plans of one net and loss.

    Parameters
    ----------
    net : Layer
    loss : Loss
    """

    def __init__(self, net: Layer, loss: losses.Loss) -> None:
        self._net, self._loss = net, loss
        self._current: PlannedStep | None = None
        self._refused: set[Any] = set()

    def step_for(self, x: Any, y: Any) -> PlannedStep | None:
        """The plan for a batch; None where there is none."""
        current = self._current
        if current is not None and current.fits(x, y):
            return current
        if not isinstance(x, np.ndarray) or not isinstance(y, np.ndarray) or x.size == 0:
            return None
        key = (x.shape, x.dtype, y.shape, y.dtype)
        if key in self._refused:
            return None
        try:
            self._current = PlannedStep(self._net, self._loss, x, y)
        except Unsupported:
            self._refused.add(key)
            return None
        return self._current


class PlannedStep:
    """Forward pass, loss and backward pass for batches of one shape.

    Attributes
    ----------
    plan : Plan
    flat : FlatVectors
        The net's parameters and gradients.
    """

    def __init__(self, net: Layer, loss: losses.Loss, x: Array, y: Array) -> None:
        self.plan: Plan = lower(net, x.shape)
        if self.plan.x.dtype != x.dtype:
            raise Unsupported(f"x is {x.dtype}")
        self._called = self.plan.called_layers()
        self.flat: FlatVectors = net.flat_vectors()
        self._net = net
        self._guards = guards_of(net, self._called)
        self._shapes = (x.shape, x.dtype, y.shape, y.dtype)
        self._loss = _loss_of(loss, self.plan, y)
        bound, self._forward, self._backward = self.plan.bind()
        self._loss.bind(bound, self.plan)
        self._x, self._pred = bound[self.plan.x], bound[self.plan.y]
        norms = self.plan.norms_of_batch()
        self._counted = [node.layer for node in norms]
        self._rated = [
            (node.layer, bound.norm(node))
            for node in norms
            if node.layer.momentum is None or node.layer.zero_debias
        ]

    def fits(self, x: Any, y: Any) -> bool:
        """Whether this is for such a batch, and the net still what it was lowered from."""
        try:
            shapes = (x.shape, x.dtype, y.shape, y.dtype)
        except AttributeError:
            return False
        return shapes == self._shapes and _native.unchanged(self._guards)

    def forward(self, x: Array, y: Array) -> float:
        """The loss; running statistics move."""
        self._loss.judge(y)
        for layer, arguments in self._rated:
            arguments.momentum = layer.rate(layer.num_batches_tracked)
        self._x[...] = x
        self._forward.run()
        for layer in self._counted:
            layer.num_batches_tracked += 1
        return self._loss.value(self._pred)

    def backward(self) -> None:
        """The gradients of all parameters."""
        self._loss.gradient()
        self._backward.run()
        if self._called:
            self.flat.collect_gradients()

    def prediction(self) -> Array:
        """What the net made of the batch, as a new array."""
        return self._pred.copy()

    def profile(self, x: Array, y: Array) -> list[tuple[str, float]]:
        """(step, seconds) of one forward and backward pass."""
        self._loss.judge(y)
        self._x[...] = x
        forward = self._forward.profile()
        for layer in self._counted:
            layer.num_batches_tracked += 1
        self._loss.value(self._pred)
        self._loss.gradient()
        names = [f"{step.path} {step.op}".strip() for step in self.plan.steps]
        return list(zip(names, forward + self._backward.profile()))


def _loss_of(loss: losses.Loss, plan: Plan, y: Array) -> Any:
    if type(loss) is losses.CrossEntropy and len(plan.y.shape) == 2:
        if y.shape == plan.y.shape[:1] and y.dtype.kind in "iu" and plan.y.size:
            return _CrossEntropy(loss, plan)
    return _AnyLoss(loss)


class _CrossEntropy:
    """Softmax cross-entropy behind the net, in C."""

    def __init__(self, loss: losses.CrossEntropy, plan: Plan) -> None:
        self._smoothing = loss.label_smoothing
        n, self._classes = plan.y.shape
        self._target = np.zeros(n, np.int64)

    def bind(self, bound: Any, plan: Plan) -> None:
        """Its arguments, and what runs its two halves."""
        n, _ = plan.y.shape
        dtype = plan.y.dtype
        shift, total = np.empty(n, dtype), np.empty(n, dtype)
        assert plan.gradient is not None
        self._arguments = _native.CrossEntropyArguments(
            dtype, bound[plan.y], self._target, shift, total, bound[plan.gradient], self._smoothing
        )
        self._forward = _native.Steps(dtype, ["cross_entropy"], [self._arguments])
        self._backward = _native.Steps(dtype, ["cross_entropy_backward"], [self._arguments])

    def judge(self, y: Array) -> None:
        """Take the classes, if they are some."""
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

    def __init__(self, loss: losses.Loss) -> None:
        self._loss = loss
        self._y: Any = None
        self._found: Any = None

    def bind(self, bound: Any, plan: Plan) -> None:
        """Where its gradient goes."""
        assert plan.gradient is not None
        self._to = bound[plan.gradient]

    def judge(self, y: Array) -> None:
        """Take the target."""
        self._y = y

    def value(self, pred: Array) -> float:
        """The loss."""
        loss, self._found = self._loss(pred.copy(), self._y)
        return loss

    def gradient(self) -> None:
        """Its gradient, to where the backward pass begins."""
        self._to[...] = self._found
        self._found = None
