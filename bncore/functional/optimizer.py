"""One step of an optimizer over a flat vector of parameters, in place; and what gradient clipping needs.

PyTorch's formulas. The state (velocity, m, v) is the caller's and starts as zeros. Only the first `decayed` elements
take weight decay; None means all of them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import backend
from ..support import checks
from . import _check

__all__ = ["adamw_step", "scale_", "sgd_step", "squared_norm"]


def sgd_step(
    param: np.ndarray,
    grad: np.ndarray,
    velocity: np.ndarray | None = None,
    *,
    lr: float,
    momentum: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    decayed: int | None = None,
) -> None:
    """g = grad + weight_decay·param;  v = momentum·v + g;  param -= lr·v, with Nesterov lr·(g + momentum·v).

    Parameters
    ----------
    param, grad, velocity : 1-D arrays of one length and dtype, float32 or float64
        `param` and `velocity` are updated in place. `velocity` may be None if momentum is 0.
    lr, momentum, weight_decay : float >= 0
    nesterov : bool
        Needs momentum (Sutskever 2013, in PyTorch's form).
    decayed : int, optional
        How many leading elements take weight decay.
    """
    active = backend.active
    if active.JUDGES_ARRAYS and _plain(lr) and _plain(momentum) and _plain(weight_decay):
        try:
            count = param.size if decayed is None else decayed
            given = (velocity is not None) if momentum else not nesterov
            if given and 0 <= count <= param.size:
                kept = velocity if momentum else None
                active.sgd_step(param, grad, kept, lr, momentum, nesterov, weight_decay, count)
                return
        except (backend.Refused, TypeError, AttributeError):
            pass  # explained, or converted, below
    param = _vector(param)
    grad = _check.like(param, grad, "grad", param.shape)
    lr = checks.non_negative(lr, "lr")
    momentum = checks.non_negative(momentum, "momentum")
    nesterov = checks.boolean(nesterov, "nesterov")
    weight_decay = checks.non_negative(weight_decay, "weight_decay")
    if momentum == 0.0:
        if nesterov:
            raise ValueError("nesterov needs a momentum above 0, got momentum=0")
        velocity = None
    elif velocity is None:
        raise ValueError(f"velocity must be given for momentum={momentum}, got None")
    else:
        velocity = _state(param, velocity, "velocity")
        _distinct(param=param, grad=grad, velocity=velocity)
    _distinct(param=param, grad=grad)
    count = _decayed(decayed, param.size)
    backend.active.sgd_step(param, grad, velocity, lr, momentum, nesterov, weight_decay, count)


def _plain(value: Any) -> bool:
    """Whether this is a float that no check would refuse."""
    return type(value) is float and 0.0 <= value < math.inf


def adamw_step(
    param: np.ndarray,
    grad: np.ndarray,
    m: np.ndarray,
    v: np.ndarray,
    *,
    lr: float,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.01,
    step: int,
    decayed: int | None = None,
) -> None:
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019, arXiv 1711.05101).

        param *= 1 - lr·weight_decay
        m = beta1·m + (1 - beta1)·grad,   v = beta2·v + (1 - beta2)·grad²
        param -= lr/(1 - beta1^step) · m / (sqrt(v / (1 - beta2^step)) + eps)

    Parameters
    ----------
    param, grad, m, v : 1-D arrays of one length and dtype, float32 or float64
        All but `grad` are updated in place.
    lr, eps, weight_decay : float >= 0
    beta1, beta2 : float in [0, 1)
    step : int >= 1
        Counts the steps including this one.
    decayed : int, optional
        How many leading elements take weight decay.
    """
    param = _vector(param)
    grad = _check.like(param, grad, "grad", param.shape)
    m, v = _state(param, m, "m"), _state(param, v, "v")
    _distinct(param=param, grad=grad, m=m, v=v)
    backend.active.adamw_step(
        param,
        grad,
        m,
        v,
        checks.non_negative(lr, "lr"),
        checks.fraction(beta1, "beta1", below_one=True),
        checks.fraction(beta2, "beta2", below_one=True),
        checks.non_negative(eps, "eps"),
        checks.non_negative(weight_decay, "weight_decay"),
        checks.positive_int(step, "step"),
        _decayed(decayed, param.size),
    )


def squared_norm(x: np.ndarray) -> float:
    """Σ x² over an array of any shape, accumulated in float64; the same bits for any number of threads."""
    return backend.active.squared_norm(_check.real_array(x, "x"))


def scale_(x: np.ndarray, a: float) -> None:
    """x *= a, in place, for a contiguous array of any shape."""
    backend.active.scale_(_in_place(x, "x"), checks.finite(a, "a"))


def _in_place(x: Any, name: str) -> np.ndarray:
    """`x`, a float32 or float64 array that can be updated where it is."""
    shape = _check.real_array(x, name).shape
    checked = _check.output(x, shape, x.dtype, name)
    assert checked is not None
    return checked


def _vector(param: Any) -> np.ndarray:
    param = _in_place(param, "param")
    if param.ndim != 1:
        raise ValueError(f"param must be one flat vector, got shape {param.shape}")
    return param


def _state(param: np.ndarray, a: Any, name: str) -> np.ndarray:
    """`a`, an array like `param` that can be updated where it is."""
    return _check.like(param, _in_place(a, name), name, param.shape)


def _distinct(**vectors: np.ndarray) -> None:
    """Raises if two of the vectors overlap: each is read while another is written."""
    named = list(vectors.items())
    for i, (name, a) in enumerate(named):
        for other, b in named[:i]:
            if np.may_share_memory(a, b):
                raise ValueError(f"{name} must not overlap {other}, got memory shared with it")


def _decayed(decayed: int | None, size: int) -> int:
    if decayed is None:
        return size
    count = checks.non_negative_int(decayed, "decayed")
    if count > size:
        raise ValueError(f"decayed must be at most the length of param, {size}, got {count}")
    return count
