"""Losses on users' arrays: each ``loss, saved = f(prediction, target)`` with ``f_backward(saved)``, the gradient of the
prediction. The loss is the mean over the batch, a Python float accumulated in float64.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .. import backend
from ..support import checks
from . import _check

__all__ = [
    "bce_with_logits",
    "bce_with_logits_backward",
    "cross_entropy",
    "cross_entropy_backward",
    "mse",
    "mse_backward",
]


class CrossEntropySaved(NamedTuple):
    """References to the arguments, and of each row the maximum and Σ exp(z - maximum)."""

    logits: np.ndarray
    target: np.ndarray
    shift: np.ndarray
    total: np.ndarray
    label_smoothing: float


class PairSaved(NamedTuple):
    """References to the arguments."""

    prediction: np.ndarray
    target: np.ndarray


def cross_entropy(
    logits: np.ndarray, target: np.ndarray, *, label_smoothing: float = 0.0
) -> tuple[float, CrossEntropySaved]:
    """-mean over rows of Σ_j q_j·log softmax(z)_j, where q = (1-ε)·onehot(target) + ε/k.

    Parameters
    ----------
    logits : array (n, k), float32 or float64
    target : integer array (n,)
        Classes, 0 to k - 1.
    label_smoothing : float in [0, 1]
        ε (Szegedy 2015, arXiv 1512.00567).

    Returns
    -------
    loss : float
    saved
        For `cross_entropy_backward`; refers to `logits` and `target`.

    Raises
    ------
    TypeError
        If `target` does not hold integers.
    ValueError
        If the shapes do not fit, the batch is empty, or a class is out of range.
    """
    logits = _check.real_array(logits, "logits")
    if logits.ndim != 2:
        raise ValueError(f"logits must have shape (n, k), got {logits.shape}")
    _require_values(logits, "logits")
    target = judge_classes(target, *logits.shape)
    smoothing = checks.fraction(label_smoothing, "label_smoothing")
    loss, shift, total = backend.active.cross_entropy(logits, target, smoothing)
    return loss, CrossEntropySaved(logits, target, shift, total, smoothing)


def cross_entropy_backward(saved: CrossEntropySaved) -> np.ndarray:
    """(softmax(logits) - q) / n, of shape (n, k)."""
    return backend.active.cross_entropy_backward(*saved)


def mse(pred: np.ndarray, target: np.ndarray) -> tuple[float, PairSaved]:
    """The mean over all elements of (pred - target)².

    Parameters
    ----------
    pred, target : arrays of one shape and dtype, float32 or float64

    Returns
    -------
    loss : float
    saved
        For `mse_backward`; refers to both arguments.
    """
    saved = _pair(pred, target, "pred")
    return backend.active.mse(*saved), saved


def mse_backward(saved: PairSaved) -> np.ndarray:
    """2·(pred - target) / size."""
    return backend.active.mse_backward(*saved)


def bce_with_logits(logits: np.ndarray, target: np.ndarray) -> tuple[float, PairSaved]:
    """The mean over all elements of -t·log s - (1-t)·log(1-s), s = sigmoid(logit), without overflow for any logit.

    Parameters
    ----------
    logits, target : arrays of one shape and dtype, float32 or float64
        Targets are probabilities, 0 to 1.

    Returns
    -------
    loss : float
    saved
        For `bce_with_logits_backward`; refers to both arguments.
    """
    saved = _pair(logits, target, "logits")
    low, high = saved.target.min(), saved.target.max()
    if low < 0 or high > 1:
        raise ValueError(
            f"target must hold probabilities from 0 to 1, got {low if low < 0 else high}"
        )
    return backend.active.bce_with_logits(*saved), saved


def bce_with_logits_backward(saved: PairSaved) -> np.ndarray:
    """(sigmoid(logits) - target) / size."""
    return backend.active.bce_with_logits_backward(*saved)


def _pair(prediction: Any, target: Any, name: str) -> PairSaved:
    prediction = _check.real_array(prediction, name)
    target = _check.real_array(target, "target")
    if target.dtype != prediction.dtype:
        raise TypeError(
            f"target must have dtype {prediction.dtype} like {name}, got {target.dtype}"
        )
    if target.shape != prediction.shape:
        raise ValueError(
            f"target must have shape {prediction.shape} like {name}, got {target.shape}"
        )
    _require_values(prediction, name)
    return PairSaved(prediction, target)


def _require_values(a: np.ndarray, name: str) -> None:
    if a.size == 0:
        raise ValueError(
            f"{name} must hold at least one value for a mean, got an array of shape {a.shape}"
        )


def judge_classes(target: Any, n: int, k: int) -> np.ndarray:
    """`target` as contiguous int64, every entry a row's class."""
    if not isinstance(target, np.ndarray) or target.dtype.kind not in "iu":
        came = target.dtype if isinstance(target, np.ndarray) else type(target).__name__
        raise TypeError(
            f"target must be an array of integer classes, got {came}; "
            "convert it first, e.g. np.asarray(target, dtype=np.int64)"
        )
    if target.shape != (n,):
        raise ValueError(
            f"target must have shape ({n},), one class for each row of logits, got {target.shape}"
        )
    low, high = int(target.min()), int(target.max())
    if low < 0 or high >= k:
        raise ValueError(
            f"target must hold classes from 0 to {k - 1} for logits of shape ({n}, {k}), "
            f"got {low if low < 0 else high}"
        )
    return np.ascontiguousarray(target, dtype=np.int64)
