"""What may happen between epochs. A callback is any callable of an :class:`EpochEnd`.

A true answer ends the fit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..layers import Layer
from ..support import checks
from .history import History

if TYPE_CHECKING:
    from .trainer import Trainer

__all__ = ["Callback", "EarlyStopping", "EpochEnd"]


@dataclass(frozen=True)
class EpochEnd:
    """What a callback is given: the state of things after an epoch.

    Attributes
    ----------
    record : dict
        The epoch's line in the history (also ``history.epochs[-1]``); a callback may add to it.
    """

    net: Layer
    trainer: Trainer
    record: dict[str, float]
    history: History


Callback = Callable[[EpochEnd], object]


class EarlyStopping:
    """Stops when a value has not improved for ``patience`` epochs; remembers the net at its best.

    Parameters
    ----------
    patience : int
        Epochs without improvement after which to stop.
    min_delta : float
        What counts as improvement must be better than the best by more than this.
    monitor : str
        A column of the history. Accuracies are to rise, everything else is to fall.

    Attributes
    ----------
    best_epoch : int or None
        The epoch :meth:`restore` goes back to.
    """

    def __init__(self, patience: int, *, min_delta: float = 0.0, monitor: str = "val_loss") -> None:
        self.patience = checks.positive_int(patience, "early_stopping")
        self.min_delta = checks.non_negative(min_delta, "min_delta")
        self.monitor = monitor
        self.start()

    def start(self) -> None:
        """Forget everything; a fit does this first."""
        self.best_epoch: int | None = None
        self._best = math.inf
        self._state: dict[str, np.ndarray] = {}
        self._waited = 0

    def __call__(self, end: EpochEnd) -> bool:
        if self.monitor not in end.record:
            raise ValueError(
                f"early_stopping: monitor must be one of {', '.join(end.record)}, got "
                f"{self.monitor!r}"
            )
        value = end.record[self.monitor]
        if self.monitor.endswith("accuracy"):
            value = -value
        if value < self._best - self.min_delta:  # false for NaN
            self._best, self._waited = value, 0
            self.best_epoch, self._state = int(end.record["epoch"]), end.net.state_dict()
        else:
            self._waited += 1
        return self._waited >= self.patience

    def restore(self, net: Layer) -> None:
        """Give the net the weights and buffers of its best epoch, to the bit.

        None yet, nothing changes.
        """
        if self.best_epoch is not None:
            net.load_state_dict(self._state)
