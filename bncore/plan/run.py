"""A training plan with memory: what it is run by."""

from __future__ import annotations

from .plan import Plan
from .values import Array

__all__ = ["Run"]


class Run:
    """Forward and backward passes of a training plan.

    Parameters
    ----------
    plan : Plan
    block : ndarray of bytes or None
        Memory to use, if it is large enough.

    Attributes
    ----------
    x, y, gradient : ndarray
        Input, as the net takes it; output; and the output's gradient: views of the plan's memory, to be filled or read.
    """

    def __init__(self, plan: Plan, block: Array | None = None) -> None:
        assert plan.gradient is not None
        self.plan = plan
        self.bound, self._forward, self._backward = plan.bind(block)
        self.x, self.y = self.bound[plan.x], self.bound[plan.y]
        self.gradient = self.bound[plan.gradient]
        norms = plan.norms_of_batch()
        self._counted = [node.layer for node in norms]
        self._rated = [
            (node.layer, self.bound.norm(node))
            for node in norms
            if node.layer.momentum is None or node.layer.zero_debias
        ]

    def forward(self) -> None:
        """y from x; running statistics move."""
        self._begin()
        self._forward.run()
        self._end()

    def backward(self) -> None:
        """The gradients of all parameters, from ``gradient``."""
        self._backward.run()

    def profile_forward(self) -> list[float]:
        """`forward`; the seconds of each step."""
        self._begin()
        seconds = self._forward.profile()
        self._end()
        return seconds

    def profile_backward(self) -> list[float]:
        """`backward`; the seconds of each step."""
        return self._backward.profile()

    def _begin(self) -> None:
        for layer, arguments in self._rated:
            arguments.momentum = layer.rate(layer.num_batches_tracked)

    def _end(self) -> None:
        for layer in self._counted:
            layer.num_batches_tracked += 1
