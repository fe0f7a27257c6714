"""What the norms' functions ask of their arguments: canonical arrays, or the error that names the one at fault."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backend
from ..support import checks
from ._check import like, normalize_axis, optional_like, output, real_array

Array = np.ndarray[Any, Any]

TOO_FEW = (
    "training needs more than one value per channel, got {where} with axis={axis}: use a larger batch, "
    "drop or merge the last batch, freeze the statistics (frozen=True or training=False), or use batch "
    "renormalization or layer norm"
)


def judge(
    x: Any, weight: Any, bias: Any, residual: Any, axis: Any, activation: Any, out: Any
) -> tuple[Array, Array | None, Array | None, Array | None, int, bool, Array | None]:
    """Canonical arguments, or the error that names the one at fault."""
    checks.one_of(activation, "activation", (None, "relu"))
    x = real_array(x, "x")
    if x.ndim < 2:
        raise ValueError(f"x must have rank >= 2, got shape {x.shape}")
    axis = normalize_axis(axis, x.ndim)
    c = (x.shape[axis],)
    weight = optional_like(x, weight, "weight", c)
    bias = optional_like(x, bias, "bias", c)
    residual = optional_like(x, residual, "residual", x.shape)
    out = output(out, x.shape, x.dtype, "out", (x, weight, bias, residual))
    return x, weight, bias, residual, axis, activation is not None, out


def judge_running(
    running_mean: Any,
    running_spread: Any,
    names: tuple[str, str],
    axis: int,
    others: tuple[Array | None, ...],
) -> tuple[Array | None, Array | None]:
    """Running statistics to update: apart from each other and from `others`, of which x is the first."""
    x = others[0]
    assert x is not None
    c = (x.shape[axis],)
    optional_like(x, running_mean, names[0], c)
    optional_like(x, running_spread, names[1], c)
    mean = output(running_mean, c, x.dtype, names[0], others)
    return mean, output(running_spread, c, x.dtype, names[1], (*others, mean))


def judge_constants(
    running_mean: Any, running_var: Any, x: Array, axis: int
) -> tuple[Array, Array]:
    """Running statistics to evaluate with."""
    if running_mean is None or running_var is None:
        raise ValueError("running_mean and running_var must be given in evaluation, got None")
    c = (x.shape[axis],)
    return like(x, running_mean, "running_mean", c), like(x, running_var, "running_var", c)


def judge_count(x: Array, axis: int, runs: Array | None) -> None:
    if runs is not None and runs[-1, 1] == 1:
        where = f"a single valid position in input of shape {x.shape}"
        raise ValueError(TOO_FEW.format(where=where, axis=axis))
    if runs is None and x.size == x.shape[axis] and x.size > 0:
        raise ValueError(TOO_FEW.format(where=f"input of shape {x.shape}", axis=axis))


def judge_dy(dy: Any, saved: Any, out: Any) -> tuple[Array, Array | None]:
    x = getattr(saved, "x", None)
    if not isinstance(x, np.ndarray):
        raise TypeError(f"saved must be what the forward call returned, got {type(saved).__name__}")
    dy = like(x, dy, "dy", x.shape)
    return dy, output(out, x.shape, x.dtype, "out", (dy, x, saved.y, saved.weight, saved.bias))


def implementation_of(saved: Any) -> Any:
    """The backend in force, or the NumPy twin (which only reads attributes) for the state of another backend.

    A TypeError for what is no batch norm's state; that of any backend goes by the same name.
    """
    impl = backend.active
    if type(saved) is impl.NormSaved:
        return impl
    if type(saved).__name__ != "NormSaved":
        raise TypeError(f"saved must be what the forward call returned, got {type(saved).__name__}")
    return backend.numpy
