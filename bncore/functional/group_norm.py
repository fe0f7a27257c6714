"""Group normalization on users' arrays: one fused pair. Instance norm, which shares its backward, is next door.

The fast path looks at Python scalars only; what the native entry refuses comes to `judge_samples`, which converts or explains.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backend
from ..support import checks
from ._check import like, normalize_axis, output
from ._norm_check import Array, judge


def group_norm(
    x: Array,
    num_groups: int,
    weight: Array | None = None,
    bias: Array | None = None,
    *,
    axis: int = 1,
    eps: float = 1e-5,
    activation: str | None = None,
    out: Array | None = None,
) -> tuple[Array, Any]:
    """Group normalization, optionally followed by ReLU in the same pass.

    ``y = act(gamma (x - mean) / sqrt(var + eps) + beta)``, mean and biased variance being those of one sample's group of
    ``c / num_groups`` neighbouring channels, over these channels and all of space; gamma and beta are per channel.

    Parameters
    ----------
    x : ndarray, rank >= 2, float32 or float64
        Axis 0 counts samples, `axis` channels, whatever else there is is space. Never written to; an array that is not
        C-contiguous is copied once.
    num_groups : int
        Must divide the number of channels c. 1 is layer norm over channels and space, c is instance norm.
    weight, bias : ndarray, shape (c,), or None
        gamma and beta; None counts as 1 and 0.
    axis : int
        The channel axis, not 0: 1 is channels-first, -1 channels-last.
    eps : float
        Finite and >= 0. With 0 a group of zero variance gives beta.
    activation : None or "relu"
    out : ndarray, shape and dtype of x, or None
        Where y is written. Must not overlap an input.

    Returns
    -------
    y : ndarray, shape of x
    saved : object
        For `group_norm_backward`; holds references to x, weight and bias, and the statistics used as ``saved.mean`` and
        ``saved.inv_std`` (float64, shape (n, num_groups)).

    Raises
    ------
    TypeError
        For anything but arrays of one floating type, float32 or float64.
    ValueError
        For a wrong shape or value.

    Notes
    -----
    Wu & He 2018, arXiv 1803.08494. Samples do not influence each other. A constant group, one of a single value
    among them, gives beta exactly.
    """
    impl = backend.active
    if impl.JUDGES_ARRAYS and (activation is None or activation == "relu"):
        try:
            return impl.group_norm(
                x, weight, bias, num_groups, eps, activation is not None, axis, out
            )
        except (backend.Refused, TypeError, OverflowError):
            pass  # explained, or converted, below
    eps = checks.non_negative(eps, "eps")
    x, weight, bias, axis, relu, out = judge_samples(x, weight, bias, axis, activation, out)
    num_groups = checks.positive_int(num_groups, "num_groups")
    if x.shape[axis] % num_groups:
        raise ValueError(
            f"num_groups must divide the number of channels, got {num_groups} for {x.shape[axis]} channels"
        )
    return impl.group_norm(x, weight, bias, num_groups, eps, relu, axis, out)


def group_norm_backward(
    dy: Array,
    saved: Any,
    *,
    dweight: Array | None = None,
    dbias: Array | None = None,
    out: Array | None = None,
) -> tuple[Array, Array | None, Array | None]:
    """Gradients of `group_norm`.

    ``dx = inv_std (w - mean(w) - x_hat mean(w x_hat))`` with ``w = gamma dy`` and means over each sample's group;
    ``dgamma = sum(dy x_hat)``, ``dbeta = sum(dy)`` over samples and space, where dy has passed the ReLU, if any.

    Parameters
    ----------
    dy : ndarray, shape and dtype of x
    saved : object
        From the forward call.
    dweight, dbias : ndarray, shape (c,), or None
        Where the gradients of weight and bias are written; new arrays by default.
    out : ndarray, shape of x, or None
        Where dx is written. Must not overlap dy or the forward's arrays.

    Returns
    -------
    dx, dweight, dbias : ndarray
        None for an absent parameter.

    Raises
    ------
    TypeError, ValueError
        For dy that differs from x in dtype or shape, and arrays to write to that do not fit or overlap an input.

    Notes
    -----
    Wu & He 2018, arXiv 1803.08494; the gradient is layer norm's (Ba et al. 2016, arXiv 1607.06450), group by group.
    """
    impl = backend.active
    if type(saved) is not impl.GroupSaved:
        if not _is_group_state(saved):
            raise TypeError(
                f"saved must be what the forward call returned, got {type(saved).__name__}"
            )
        impl = backend.numpy  # which only reads attributes: the state of another backend
    if impl.JUDGES_ARRAYS:
        try:
            return impl.group_norm_backward(dy, saved, dweight, dbias, out)
        except (backend.Refused, TypeError):
            pass  # explained, or converted, below
    x, weight, bias = saved.x, saved.weight, saved.bias
    dy = like(x, dy, "dy", x.shape)
    out = output(out, x.shape, x.dtype, "out", (dy, x, weight, bias))
    c, others = (x.shape[saved.axis],), (dy, x, weight, bias, out)
    if weight is not None:
        dweight = output(dweight, c, x.dtype, "dweight", others)
    if bias is not None:
        dbias = output(dbias, c, x.dtype, "dbias", (*others, dweight))
    return impl.group_norm_backward(dy, saved, dweight, dbias, out)


def _is_group_state(saved: Any) -> bool:
    native = backend.native_module()
    return isinstance(saved, backend.numpy.GroupSaved) or (
        native is not None and isinstance(saved, native.GroupSaved)
    )


def judge_samples(
    x: Any, weight: Any, bias: Any, axis: Any, activation: Any, out: Any
) -> tuple[Array, Array | None, Array | None, int, bool, Array | None]:
    """Canonical arguments of a norm of single samples, or the error that names the one at fault."""
    if isinstance(x, np.ndarray) and x.ndim > 1 and normalize_axis(axis, x.ndim) == 0:
        raise ValueError(f"axis must not be 0, which counts samples, got {axis}")
    x, weight, bias, _, axis, relu, out = judge(x, weight, bias, None, axis, activation, out)
    return x, weight, bias, axis, relu, out
