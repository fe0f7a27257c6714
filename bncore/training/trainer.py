"""One training step: forward, loss, backward, clipping, optimizer.

Epochs, batches and validation are in fitting.py.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from .. import backend
from ..layers import Layer
from ..layers.parameters import FlatVectors
from ..support import checks
from . import losses, optimizers, schedules
from .clipping import clip_gradients

if TYPE_CHECKING:
    from .planned import PlannedStep, PlannedSteps

__all__ = ["Trainer"]


def _plans(recompute: bool) -> PlannedSteps | None:
    """Room for plans, if there is a compiled core to run them."""
    if backend.native_module() is None:
        return None
    from .planned import PlannedSteps

    return PlannedSteps(recompute)


class Trainer:
    """A net with what it takes to train it, for loops of your own.

    Parameters
    ----------
    net : Layer
        Its gradients with respect to the input are switched off
        (``net.require_input_gradient(True)`` brings them back).
    loss : str, Loss or callable
        ``"cross_entropy"``, ``"mse"``, ``"bce_with_logits"``, an object of
        :mod:`bncore.training.losses`, or a function ``(pred, target) -> (mean loss, gradient)``.
    optimizer : str or Optimizer
        Attached to ``net``.
    schedule : str or callable, optional
        Factor on the optimizer's rate, see :mod:`bncore.training.schedules`. Needs ``total_steps``.
    total_steps : int, optional
        Length of the run the schedule is laid out for; later steps keep the last one's factor. The
        net's layers are told too (:meth:`Layer.begin_run`).
    clip_norm : float, optional
        Largest norm of all gradients together.
    plan : bool
        Whether to lower the net to a plan (:mod:`bncore.plan`) for the shape of the batch: the same
        step, up to rounding, in few calls and with fused neighbours. False calls the layers one by
        one, as is done anyway where there is no plan, on the NumPy backend for one.
    recompute : bool
        In a plan, compute outputs of norms again in the backward pass rather than keep them: less
        memory, some more time, the same results.

    Attributes
    ----------
    steps : int
        Steps done.
    lr : float
        Rate of the last step, before the first one that of the first.

    Examples
    --------
    >>> trainer = Trainer(net, loss="cross_entropy", optimizer=SGD(lr=0.1, momentum=0.9))
    >>> for x, y in batches:
    ...     loss = trainer.step(x, y)
    """

    def __init__(
        self,
        net: Layer,
        *,
        loss: str | losses.Loss | losses.LossFunction = "cross_entropy",
        optimizer: str | optimizers.Optimizer = "sgd",
        schedule: str | schedules.Schedule | None = None,
        total_steps: int | None = None,
        clip_norm: float | None = None,
        plan: bool = True,
        recompute: bool = False,
    ) -> None:
        self.net = net
        self.loss = losses.resolve(loss)
        self.optimizer = optimizers.resolve(optimizer)
        self.clip_norm = None if clip_norm is None else checks.positive(clip_norm, "clip_norm")
        if schedule not in (None, "constant") and total_steps is None:
            raise ValueError(
                "total_steps: a schedule needs to know how many steps the run has, got None"
            )
        self.schedule = schedules.resolve(schedule)
        self.total_steps = (
            1 if total_steps is None else checks.positive_int(total_steps, "total_steps")
        )
        self.steps = 0
        self.lr = self._rate()
        recompute = checks.boolean(recompute, "recompute")
        self._plans = _plans(recompute) if checks.boolean(plan, "plan") else None
        net.require_input_gradient(False)
        self.optimizer.attach(net)
        if total_steps is not None:
            net.begin_run(self.total_steps)

    def step(self, x: np.ndarray, y: np.ndarray) -> float:
        """Train on one batch and return its mean loss, as it was before the step.

        Raises
        ------
        FloatingPointError
            If the loss, or with ``clip_norm`` the gradient, is NaN or infinite. Weights and
            optimizer are as before this step; running statistics have seen its batch.
        """
        planned = self._planned(x, y)
        if planned is None:
            return self._by_layers(x, y)[0]
        return self._by_plan(planned, x, y)

    def step_with_prediction(self, x: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
        """:meth:`step`, with the net's output on the batch as well."""
        planned = self._planned(x, y)
        if planned is None:
            return self._by_layers(x, y)
        return self._by_plan(planned, x, y), planned.prediction()

    def profile(self, x: np.ndarray, y: np.ndarray) -> list[tuple[str, float]]:
        """Where the time of a step goes: (step of the plan, seconds), in the order in which they run.

        One forward and one backward pass; gradients and running statistics change, weights do not.

        Raises
        ------
        ValueError
            If there is no plan for this net and batch.
        """
        planned = self._planned(x, y)
        if planned is None:
            raise ValueError("net: there is no plan for it and such a batch")
        return planned.profile(x, y)

    def _planned(self, x: np.ndarray, y: np.ndarray) -> PlannedStep | None:
        if not self.net.training:
            self.net.train()
        if self._plans is None or backend.active is not backend.native_module():
            return None
        return self._plans.step_for(self.net, self.loss, x, y)

    def _by_plan(self, planned: PlannedStep, x: np.ndarray, y: np.ndarray) -> float:
        loss = planned.forward(x, y)
        self.lr = self._rate()
        if not math.isfinite(loss):
            raise self._diverged("the loss", loss, x)
        planned.backward()
        self._finish(x, planned.flat)
        return loss

    def _by_layers(self, x: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
        pred = self.net(x)
        loss, gradient = self.loss(pred, y)
        self.lr = self._rate()
        if not math.isfinite(loss):
            raise self._diverged("the loss", loss, x)
        self.net.backward(gradient)
        self._finish(x, None)
        return loss, pred

    def _finish(self, x: np.ndarray, flat: FlatVectors | None) -> None:
        """Clipping and the optimizer's update; ``flat`` if they are known to be current."""
        if self.clip_norm is not None:
            norm = clip_gradients(self.net, self.clip_norm)
            if not math.isfinite(norm):
                raise self._diverged("the norm of the gradient", norm, x)
        self.optimizer.step(self.lr, flat)
        self.steps += 1

    def _rate(self) -> float:
        return self.optimizer.lr * self.schedule(
            min(self.steps, self.total_steps - 1), self.total_steps
        )

    def _diverged(self, what: str, value: float, x: np.ndarray) -> FloatingPointError:
        if not np.isfinite(x).all():
            cause = "this batch of x holds NaN or infinite values: clean the data"
        else:
            cause = (
                "training diverged: try a lower lr, schedule='warm_up', clip_norm=1, or "
                "inputs of smaller scale (standardize)"
            )
        return FloatingPointError(
            f"{what} is {value} at step {self.steps + 1} (lr {self.lr:.4g}); {cause}"
        )
