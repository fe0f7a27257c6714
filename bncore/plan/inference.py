"""Inference as one call: a net in evaluation mode, lowered, with its weights brought into the form in which they are read."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import backend
from ..layers import Layer
from ..support import checks
from .pieces import in_pieces
from .plan import Plan, lower
from .values import Array, Unsupported

__all__ = ["Compiled", "compile"]


class Compiled:
    """A net ready for arrays of one shape; made by `compile`.

    Attributes
    ----------
    shape : tuple of int
        Of the input.
    plan : Plan or None
        Its steps, of all samples or of a piece of them that one thread takes at a time; None where the net's layers are
        called one by one (NumPy backend, or a net without a plan).
    """

    def __init__(self, net: Layer, shape: tuple[int, ...]) -> None:
        self._net = net
        self.shape = shape
        self.plan: Plan | None = None
        self._dtype: np.dtype[Any] = np.dtype(np.float32)
        self._lock = threading.Lock()
        try:
            plan = lower(net, shape, training=False)
            pieces = in_pieces(net, plan)
            self._run = pieces.run if pieces else _at_once(plan)
        except (Unsupported, backend.Refused):  # the layers will explain, or convert
            return
        self.plan = pieces.plan if pieces else plan
        self._dtype = self.plan.x.dtype

    def __reduce__(self) -> tuple[Any, ...]:
        return Compiled, (self._net, self.shape)

    def __call__(self, x: Array) -> Array:
        """y of the net, a new array.

        Raises
        ------
        TypeError, ValueError
            For another dtype or shape.
        """
        if self.plan is None or backend.active is not backend.native_module():
            self._judge(x)
            return self._net(x)
        with self._lock:  # one memory: threads take turns
            try:
                if x.dtype is not self._dtype or x.shape != self.shape:
                    raise TypeError
            except (TypeError, AttributeError):
                self._judge(x)
            return self._run(x)

    def _judge(self, x: Any) -> None:
        if not isinstance(x, np.ndarray):
            raise TypeError(f"x must be an array, got {type(x).__name__}")
        if self.plan is not None and x.dtype != self._dtype:
            raise TypeError(f"x must be {self._dtype}, got {x.dtype}")
        if x.shape != self.shape:
            raise ValueError(
                f"x must have the shape {self.shape} that the net was compiled for, got {x.shape}"
            )

    def __str__(self) -> str:
        if self.plan is None:
            return f"layers one by one: {self._net}"
        piece = self.plan.x.shape[0]
        head = f"{piece} of {self.shape[0]} samples at a time, on a thread each\n\n"
        return (head if piece < self.shape[0] else "") + str(self.plan)


def _at_once(plan: Plan) -> Callable[[Array], Array]:
    """What runs a plan for the whole batch."""
    bound, forward, _ = plan.bind()
    for arguments in bound.convolutions.values():
        arguments.keep_weight(plan.x.shape[0])
    inside, result, steps = bound[plan.x], bound[plan.y], forward.run

    def run(x: Array) -> Array:
        inside[...] = x
        steps()
        return result.copy()

    return run


def compile(net: Layer, batch: Array | Sequence[int]) -> Compiled:
    """A callable that runs a net in evaluation mode on arrays of one shape, in one call.

    It is a snapshot: later changes of ``net`` do not reach it, nor of `bncore.winograd`. Fold the net's norms first (`bncore.folding.fold_net`);
    those that are left are applied behind their convolutions. Where samples do not see each other, a thread takes a piece
    of the batch through all steps; how many threads there may be is asked now.

    Parameters
    ----------
    net : Layer
    batch : ndarray or shape
        An input, or its shape, samples first.

    Returns
    -------
    Compiled
        ``run(x)`` gives y, a new array.

    Raises
    ------
    TypeError, ValueError
        If ``net`` is no layer or ``batch`` no array or shape.
    """
    if not isinstance(net, Layer):
        raise TypeError(f"net must be a layer, got {type(net).__name__}")
    given = batch.shape if isinstance(batch, np.ndarray) else batch
    if not isinstance(given, Sequence) or not given:
        raise TypeError(f"batch must be an array or a shape, got {batch!r}")
    shape = tuple(checks.positive_int(size, "batch") for size in given)
    twin = net.copy()
    twin.eval()
    return Compiled(twin, shape)
