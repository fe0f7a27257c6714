"""Batch normalization on users' arrays: one fused pair, and the halves it is made of.

The fast path looks at Python scalars only; the native entry judges arrays in C, and what it refuses comes to
``_judge``, which converts or explains. Layouts: the channel axis may be any axis, 1 and -1 being the usual ones.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backend
from ..support import checks
from ._check import like, normalize_axis, optional_like, output, real_array
from .moments import GradientSums, Statistics

Array = np.ndarray[Any, Any]

TOO_FEW = (
    "training needs more than one value per channel, got input of shape {shape} with axis={axis}: use a larger batch, "
    "drop or merge the last batch, freeze the statistics (frozen=True or training=False), or use batch "
    "renormalization or layer norm"
)


def batch_norm(
    x: Array,
    weight: Array | None = None,
    bias: Array | None = None,
    running_mean: Array | None = None,
    running_var: Array | None = None,
    *,
    training: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
    axis: int = 1,
    activation: str | None = None,
    residual: Array | None = None,
    unbiased: bool = True,
    out: Array | None = None,
) -> tuple[Array, Any]:
    """Batch normalization, optionally followed by + residual and ReLU in the same pass.

    ``y = act(gamma (x - mean) / sqrt(var + eps) + beta [+ residual])``; in training mean and (biased) variance are
    those of x, per channel, and the running statistics move towards them:
    ``running = (1 - momentum) running + momentum batch``. In evaluation they are the running statistics.

    Parameters
    ----------
    x : ndarray, rank >= 2, float32 or float64
        Never written to. An array that is not C-contiguous is copied once.
    weight, bias : ndarray, shape (c,), or None
        gamma and beta; None counts as 1 and 0.
    running_mean, running_var : ndarray, shape (c,), or None
        Updated in place in training (either may be absent there); both are needed in evaluation.
    training : bool
        False: normalize by the running statistics, which are constants for the gradient (also "frozen").
    momentum : float
        Weight of the **new** value, in [0, 1].
    eps : float
        Finite and >= 0. With 0 a channel of zero variance gives beta.
    axis : int
        The channel axis: 1 is channels-first, -1 channels-last.
    activation : None or "relu"
    residual : ndarray, shape of x, or None
        Added before the activation.
    unbiased : bool
        Whether the running variance takes ``var m / (m - 1)`` (True) or the biased variance.
    out : ndarray, shape and dtype of x, or None
        Where y is written. Must not overlap an input.

    Returns
    -------
    y : ndarray, shape of x
    saved : object
        For `batch_norm_backward`; holds references to x, weight and bias (and to y for add + ReLU) and the
        statistics used, as ``saved.mean`` and ``saved.inv_std`` (float64).

    Raises
    ------
    TypeError
        For anything but arrays of one floating type, float32 or float64.
    ValueError
        For a wrong shape or value; in training with one value per channel.

    Notes
    -----
    Ioffe & Szegedy 2015, arXiv 1502.03167, Algorithm 1. A constant channel gives beta exactly. An input without
    values gives an empty output and changes nothing.
    """
    impl = backend.active
    if impl.JUDGES_ARRAYS and (activation is None or activation == "relu"):
        relu = activation is not None
        try:
            if training:
                return impl.batch_norm_train(
                    x,
                    weight,
                    bias,
                    residual,
                    running_mean,
                    running_var,
                    momentum,
                    eps,
                    unbiased,
                    relu,
                    axis,
                    out,
                )
            return impl.batch_norm_eval(
                x, weight, bias, residual, running_mean, running_var, eps, relu, axis, out
            )
        except (backend.Refused, TypeError, OverflowError):
            pass  # explained, or converted, below
    eps = checks.non_negative(eps, "eps")
    x, weight, bias, residual, axis, relu, out = _judge(
        x, weight, bias, residual, axis, activation, out
    )
    if training:
        others = (x, weight, bias, residual, out)
        running_mean, running_var = _judge_running(running_mean, running_var, axis, others)
        momentum = checks.fraction(momentum, "momentum")
        _judge_count(x, axis)
        return impl.batch_norm_train(
            x,
            weight,
            bias,
            residual,
            running_mean,
            running_var,
            momentum,
            eps,
            unbiased,
            relu,
            axis,
            out,
        )
    running_mean, running_var = _judge_constants(running_mean, running_var, x, axis)
    return impl.batch_norm_eval(
        x, weight, bias, residual, running_mean, running_var, eps, relu, axis, out
    )


def batch_norm_backward(
    dy: Array,
    saved: Any,
    *,
    dweight: Array | None = None,
    dbias: Array | None = None,
    out: Array | None = None,
) -> tuple[Array | None, ...]:
    """Gradients of `batch_norm` or `normalize`.

    Training: ``dx = gamma inv_std / m (m dy - dbeta - x_hat dgamma)``; evaluation: ``dx = gamma inv_std dy``;
    ``dgamma = sum(dy x_hat)``, ``dbeta = sum(dy)``, where dy has passed the ReLU, if any.

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
        None for an absent parameter. With a residual a fourth value, dresidual.

    Raises
    ------
    TypeError, ValueError
        For dy that differs from x in dtype or shape, and arrays to write to that do not fit or overlap an input.

    Notes
    -----
    Ioffe & Szegedy 2015, arXiv 1502.03167, section 3.
    """
    impl = _implementation_of(saved)
    if impl.JUDGES_ARRAYS:
        try:
            return impl.batch_norm_backward(dy, saved, dweight, dbias, out)
        except (backend.Refused, TypeError):
            pass  # explained, or converted, below
    dy, out = _judge_dy(dy, saved, out)
    others = (dy, saved.x, saved.y, saved.weight, saved.bias, out)
    c, dtype = saved.mean.shape, saved.x.dtype
    if saved.weight is not None:
        dweight = output(dweight, c, dtype, "dweight", others)
    if saved.bias is not None:
        dbias = output(dbias, c, dtype, "dbias", (*others, dweight))
    return impl.batch_norm_backward(dy, saved, dweight, dbias, out)


def normalize(
    x: Array,
    stats: Statistics,
    weight: Array | None = None,
    bias: Array | None = None,
    *,
    eps: float = 1e-5,
    axis: int = 1,
    activation: str | None = None,
    residual: Array | None = None,
    training: bool = True,
    out: Array | None = None,
) -> tuple[Array, Any]:
    """The second half of batch norm: normalize x by statistics measured elsewhere.

    ``y = act(gamma (x - stats.mean) / sqrt(stats.var + eps) + beta [+ residual])``

    With ``stats = statistics(a).merge(statistics(b))`` the pieces a and b come out as they would from one batch.

    Parameters
    ----------
    stats : Statistics
        Mean and biased variance of c channels.
    training : bool
        Whether the statistics depend on x, as far as the gradient is concerned: True for (parts of) a batch,
        False for constants.

    See Also
    --------
    batch_norm : the other parameters, returns and errors.
    """
    eps = checks.non_negative(eps, "eps")
    x, weight, bias, residual, axis, relu, out = _judge(
        x, weight, bias, residual, axis, activation, out
    )
    if not isinstance(stats, Statistics):
        raise TypeError(
            f"stats must be Statistics (from functional.statistics), got {type(stats).__name__}"
        )
    mean, var = _doubles("stats", (stats.mean, stats.var), x.shape[axis])
    inv_std = backend.numpy.inverse_std(var, eps)
    return backend.active.normalize(
        x, mean, inv_std, weight, bias, residual, relu, axis, training, out
    )


def gradient_sums(dy: Array, saved: Any) -> GradientSums:
    """The first half of the backward pass: ``sum(dy)`` and ``sum(dy x_hat)`` per channel, in float64.

    Sums of the pieces of a batch merge; `input_gradient` takes the merged ones.

    Parameters
    ----------
    dy : ndarray, shape and dtype of x
    saved : object
        From `normalize` or `batch_norm`.

    Returns
    -------
    GradientSums
        Mergeable: ``gradient_sums(dy_a, saved_a).merge(gradient_sums(dy_b, saved_b))``.
    """
    dy, _ = _judge_dy(dy, saved, None)
    return GradientSums(*_implementation_of(saved).gradient_sums(dy, saved))


def input_gradient(
    dy: Array, saved: Any, sums: GradientSums, *, out: Array | None = None
) -> Array | tuple[Array, Array]:
    """The second half of the backward pass: dx from dy and the (merged) gradient sums.

    Parameters
    ----------
    dy, saved
        As for `gradient_sums`.
    sums : GradientSums
        Of the whole batch that the statistics were taken from.
    out : ndarray, shape of x, or None
        Where dx is written. Must not overlap dy or the forward's arrays.

    Returns
    -------
    dx : ndarray, shape of x
        With a residual in the forward call: the tuple (dx, dresidual).
    """
    dy, out = _judge_dy(dy, saved, out)
    if not isinstance(sums, GradientSums):
        raise TypeError(
            f"sums must be GradientSums (from functional.gradient_sums), got {type(sums).__name__}"
        )
    sum_dy, sum_dy_x_hat = _doubles("sums", (sums.dy, sums.dy_x_hat), saved.mean.shape[0])
    impl = _implementation_of(saved)
    dx, dresidual = impl.input_gradient(dy, saved, sums.count, sum_dy, sum_dy_x_hat, out)
    return dx if dresidual is None else (dx, dresidual)


def _implementation_of(saved: Any) -> Any:
    """The backend in force, or the NumPy twin (which only reads attributes) for the state of another backend."""
    impl = backend.active
    return impl if type(saved) is impl.NormSaved else backend.numpy


def _judge(
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


def _judge_running(
    running_mean: Any, running_var: Any, axis: int, others: tuple[Array | None, ...]
) -> tuple[Array | None, Array | None]:
    """Running statistics to update: apart from each other and from `others`, of which x is the first."""
    x = others[0]
    assert x is not None
    c = (x.shape[axis],)
    optional_like(x, running_mean, "running_mean", c)
    optional_like(x, running_var, "running_var", c)
    mean = output(running_mean, c, x.dtype, "running_mean", others)
    return mean, output(running_var, c, x.dtype, "running_var", (*others, mean))


def _judge_constants(
    running_mean: Any, running_var: Any, x: Array, axis: int
) -> tuple[Array, Array]:
    """Running statistics to evaluate with."""
    if running_mean is None or running_var is None:
        raise ValueError("running_mean and running_var must be given in evaluation, got None")
    c = (x.shape[axis],)
    return like(x, running_mean, "running_mean", c), like(x, running_var, "running_var", c)


def _doubles(name: str, vectors: tuple[Any, Any], channels: int) -> list[Array]:
    """The two vectors of a Statistics or GradientSums, which anybody can make, as backends take them."""
    for v in vectors:
        if np.shape(v) != (channels,):
            raise ValueError(f"{name} must have {channels} channels, got shape {np.shape(v)}")
    return [np.array(v, np.float64, order="C") for v in vectors]


def _judge_count(x: Array, axis: int) -> None:
    if x.size == x.shape[axis] and x.size > 0:
        raise ValueError(TOO_FEW.format(shape=x.shape, axis=axis))


def _judge_dy(dy: Any, saved: Any, out: Any) -> tuple[Array, Array | None]:
    x = getattr(saved, "x", None)
    if not isinstance(x, np.ndarray):
        raise TypeError(f"saved must be what the forward call returned, got {type(saved).__name__}")
    dy = like(x, dy, "dy", x.shape)
    return dy, output(out, x.shape, x.dtype, "out", (dy, x, saved.y, saved.weight, saved.bias))
