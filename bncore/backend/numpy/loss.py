"""Losses in plain NumPy, each the mean over the batch, and their gradients: what the compiled kernels must agree with.

Sums run in float64 whatever the dtype; nothing overflows for logits of any size.
"""

from __future__ import annotations

import numpy as np

__all__ = [
    "bce_with_logits",
    "bce_with_logits_backward",
    "cross_entropy",
    "cross_entropy_backward",
    "mse",
    "mse_backward",
]


def cross_entropy(
    logits: np.ndarray, target: np.ndarray, label_smoothing: float
) -> tuple[float, np.ndarray, np.ndarray]:
    """The mean over the rows z of `logits` (n, k) of -Σ q_j log softmax(z)_j, with q = (1-ε)·onehot(target) + ε/k.

    Also returns each row's maximum and Σ exp(z - max), from which the backward pass gets its probabilities.
    """
    n, k = logits.shape
    shift = logits.max(axis=1)
    total = np.exp(logits - shift[:, None]).sum(axis=1)
    chosen = logits[np.arange(n), target]
    log_total = np.log(total.astype(np.float64))
    loss = log_total - (1 - label_smoothing) * (chosen - shift).astype(np.float64)
    if label_smoothing > 0:  # without it a logit of -inf costs nothing, and must not: 0·inf is NaN
        loss -= label_smoothing / k * (logits - shift[:, None]).sum(axis=1, dtype=np.float64)
    return float(loss.sum() / n), shift, total


def cross_entropy_backward(
    logits: np.ndarray,
    target: np.ndarray,
    shift: np.ndarray,
    total: np.ndarray,
    label_smoothing: float,
) -> np.ndarray:
    """(softmax(logits) - q) / n."""
    n, k = logits.shape
    gradient = np.exp(logits - shift[:, None]) / total[:, None]
    gradient -= logits.dtype.type(label_smoothing / k)
    gradient[np.arange(n), target] -= logits.dtype.type(1 - label_smoothing)
    gradient /= n
    return gradient


def mse(pred: np.ndarray, target: np.ndarray) -> float:
    """The mean of (pred - target)²."""
    return float(np.square(pred - target, dtype=np.float64).mean())


def mse_backward(pred: np.ndarray, target: np.ndarray) -> np.ndarray:
    """2·(pred - target) / size."""
    return (pred - target) * pred.dtype.type(2.0 / pred.size)


def bce_with_logits(logits: np.ndarray, target: np.ndarray) -> float:
    """The mean of max(z, 0) - z·t + log(1 + exp(-|z|)), which is -t·log s - (1-t)·log(1-s) for s = sigmoid(z)."""
    loss = np.maximum(logits, 0) - logits * target + np.log1p(np.exp(-np.abs(logits)))
    return float(loss.mean(dtype=np.float64))


def bce_with_logits_backward(logits: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(sigmoid(z) - t) / size."""
    e = np.exp(-np.abs(logits))
    return (np.where(logits >= 0, 1, e) / (1 + e) - target) / logits.dtype.type(logits.size)
