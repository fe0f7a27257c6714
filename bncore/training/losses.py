"""Losses as a trainer uses them: an object that gives (value, gradient).

The formulas are in ``functional``.

``loss(pred, target)`` returns the mean loss as a float and its gradient with respect to ``pred``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import functional as F
from ..support import checks

__all__ = ["MSE", "BCEWithLogits", "CrossEntropy", "Loss", "names", "resolve"]

LossFunction = Callable[[np.ndarray, np.ndarray], tuple[float, np.ndarray]]


class Loss:
    """Base of the losses here, and all that a trainer asks of one."""

    classification = False

    def __call__(self, pred: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray]:
        """The mean loss and its gradient, shaped as ``pred``."""
        raise NotImplementedError

    def value(self, pred: np.ndarray, target: np.ndarray) -> float:
        """The mean loss alone, for evaluation."""
        return self(pred, target)[0]

    def accuracy(self, pred: np.ndarray, target: np.ndarray) -> float | None:
        """Share of right answers; None where there is no such thing."""
        return None

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class CrossEntropy(Loss):
    """Softmax cross-entropy of logits (n, k) with classes (n,).

    See :func:`bncore.functional.cross_entropy`.

    Parameters
    ----------
    label_smoothing : float
        Share of the target's probability spread over all classes (Szegedy et al. 2016, 1512.00567).
    """

    classification = True

    def __init__(self, label_smoothing: float = 0.0) -> None:
        self.label_smoothing = checks.fraction(label_smoothing, "label_smoothing")

    def __call__(self, pred: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray]:
        value, saved = F.cross_entropy(pred, target, label_smoothing=self.label_smoothing)
        return value, F.cross_entropy_backward(saved)

    def value(self, pred: np.ndarray, target: np.ndarray) -> float:
        return F.cross_entropy(pred, target, label_smoothing=self.label_smoothing)[0]

    def accuracy(self, pred: np.ndarray, target: np.ndarray) -> float:
        return float((pred.argmax(axis=1) == target).mean())

    def __repr__(self) -> str:
        return f"CrossEntropy(label_smoothing={self.label_smoothing:g})"


class MSE(Loss):
    """Mean squared error over all elements, see :func:`bncore.functional.mse`.

    A target (n,) fits a prediction (n, 1); any other difference in shape is an error, never
    broadcast.
    """

    def __call__(self, pred: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray]:
        value, saved = F.mse(pred, _column(pred, target))
        return value, F.mse_backward(saved)

    def value(self, pred: np.ndarray, target: np.ndarray) -> float:
        return F.mse(pred, _column(pred, target))[0]


class BCEWithLogits(Loss):
    """Binary cross-entropy of logits with probabilities or 0/1 targets.

    See :func:`bncore.functional.bce_with_logits`. Targets of integers or booleans are converted; a
    target (n,) fits a prediction (n, 1).
    """

    def __call__(self, pred: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray]:
        value, saved = F.bce_with_logits(pred, _bits(pred, target))
        return value, F.bce_with_logits_backward(saved)

    def value(self, pred: np.ndarray, target: np.ndarray) -> float:
        return F.bce_with_logits(pred, _bits(pred, target))[0]

    def accuracy(self, pred: np.ndarray, target: np.ndarray) -> float:
        return float(((pred > 0) == (_column(pred, target) > 0.5)).mean())


class _Custom(Loss):
    """A user's function ``(pred, target) -> (value, gradient)``."""

    def __init__(self, function: LossFunction) -> None:
        self.function = function

    def __call__(self, pred: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = self.function(pred, target)
        return float(value), gradient

    def __repr__(self) -> str:
        return f"<loss {self.function!r}>"


_NAMED: dict[str, type[Loss]] = {
    "cross_entropy": CrossEntropy,
    "mse": MSE,
    "bce_with_logits": BCEWithLogits,
}


def names() -> tuple[str, ...]:
    """The names :func:`resolve` knows."""
    return tuple(_NAMED)


def resolve(loss: str | Loss | LossFunction) -> Loss:
    """A loss from its name or a callable ``(pred, target) -> (value, gradient)``."""
    if isinstance(loss, str):
        if loss not in _NAMED:
            raise ValueError(f"loss must be one of {', '.join(_NAMED)}, got {loss!r}")
        return _NAMED[loss]()
    if isinstance(loss, Loss):
        return loss
    if isinstance(loss, type) or not callable(loss):
        raise TypeError(
            f"loss must be a name, a loss such as CrossEntropy() or a callable, got {loss!r}"
        )
    return _Custom(loss)


def _column(pred: np.ndarray, target: Any) -> Any:
    if isinstance(target, np.ndarray) and target.ndim == 1 and pred.shape == (len(target), 1):
        return target.reshape(-1, 1)
    return target


def _bits(pred: np.ndarray, target: Any) -> Any:
    if isinstance(target, np.ndarray) and target.dtype.kind in "iub":
        target = target.astype(pred.dtype)
    return _column(pred, target)
