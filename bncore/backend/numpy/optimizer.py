"""Optimizer steps over flat vectors in plain NumPy, in place: what the compiled kernels must agree with.

Only the first `decayed` elements take weight decay. All the vectors of a step have one dtype and length and do not
overlap.
"""

from __future__ import annotations

import math

import numpy as np

__all__ = ["adamw_step", "scale_", "sgd_step", "squared_norm"]

_CHUNK = 1 << 16  # elements widened to float64 at a time


def sgd_step(
    param: np.ndarray,
    grad: np.ndarray,
    velocity: np.ndarray | None,
    lr: float,
    momentum: float,
    nesterov: bool,
    weight_decay: float,
    decayed: int,
) -> None:
    """g = grad + decay·param, v = momentum·v + g, param -= lr·v (Nesterov: lr·(g + momentum·v))."""
    step = grad.copy()
    step[:decayed] += param.dtype.type(weight_decay) * param[:decayed]
    if velocity is not None:
        velocity *= momentum
        velocity += step
        step = step + momentum * velocity if nesterov else velocity
    param -= lr * step


def adamw_step(
    param: np.ndarray,
    grad: np.ndarray,
    m: np.ndarray,
    v: np.ndarray,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    step: int,
    decayed: int,
) -> None:
    """Loshchilov & Hutter 2019 (arXiv 1711.05101): `step` counts from 1.

    param *= 1 - lr·decay,  m = β₁·m + (1-β₁)·g,  v = β₂·v + (1-β₂)·g²,
    param -= lr/(1-β₁^step) · m / (sqrt(v / (1-β₂^step)) + eps)
    """
    param[:decayed] *= 1 - lr * weight_decay
    m += (1 - beta1) * (grad - m)
    v *= beta2
    v += (1 - beta2) * grad * grad
    size = lr / (1 - beta1**step)
    root = math.sqrt(1 - beta2**step)
    param -= size * (m / (np.sqrt(v) / root + eps))


def squared_norm(x: np.ndarray) -> float:
    """Σ x², accumulated in float64."""
    flat = x.reshape(-1)
    return math.fsum(
        float(np.square(flat[i : i + _CHUNK], dtype=np.float64).sum())
        for i in range(0, flat.size, _CHUNK)
    )


def scale_(x: np.ndarray, factor: float) -> None:
    """x *= factor."""
    x *= factor
