"""Instance normalization on users' arrays: group norm with a group a channel, and optional running statistics.

With running statistics in use it computes what batch norm does in evaluation, and is batch norm.
"""

from __future__ import annotations

from typing import Any

from .. import backend
from ..support import checks
from ._norm_check import Array, judge_running
from .group_norm import group_norm_backward, judge_samples
from .norm import batch_norm, batch_norm_backward

TOO_FEW = (
    "instance norm needs more than one value per instance, that is per sample and channel, got input of shape {shape} "
    "with axis={axis}: use batch norm, group norm over several channels or layer norm, or normalize by "
    "running statistics (training=False)"
)


def instance_norm(
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
    unbiased: bool = True,
    out: Array | None = None,
) -> tuple[Array, Any]:
    """Instance normalization, optionally followed by ReLU in the same pass.

    ``y = act(gamma (x - mean) / sqrt(var + eps) + beta)``, mean and biased variance being those of one channel of one
    sample. Running statistics, where given, move towards the averages over the samples:
    ``running = (1 - momentum) running + momentum average``.

    Parameters
    ----------
    x : ndarray, rank >= 2, float32 or float64
        Axis 0 counts samples, `axis` channels, whatever else there is is space. Never written to; an array that is not
        C-contiguous is copied once.
    weight, bias : ndarray, shape (c,), or None
        gamma and beta; None counts as 1 and 0.
    running_mean, running_var : ndarray, shape (c,), or None
        Updated in place in training (either may be absent there); both are needed in evaluation.
    training : bool
        Whether to use the instances' own statistics. False: the running statistics, as batch norm in evaluation.
    momentum : float
        Weight of the **new** value, in [0, 1].
    eps : float
        Finite and >= 0. With 0 an instance of zero variance gives beta.
    axis : int
        The channel axis, in training not 0: 1 is channels-first, -1 channels-last.
    activation : None or "relu"
    unbiased : bool
        Whether the running variance takes ``var m / (m - 1)`` (True) or the biased variance, m values an instance.
    out : ndarray, shape and dtype of x, or None
        Where y is written. Must not overlap an input.

    Returns
    -------
    y : ndarray, shape of x
    saved : object
        For `instance_norm_backward`; the statistics used are ``saved.mean`` and ``saved.inv_std`` (float64), of shape
        (n, c) in training and (c,) otherwise.

    Raises
    ------
    TypeError
        For anything but arrays of one floating type, float32 or float64.
    ValueError
        For a wrong shape or value; in training with one value per instance.

    Notes
    -----
    Ulyanov, Vedaldi & Lempitsky 2016, arXiv 1607.08022. A constant instance gives beta exactly. An input without
    values gives an empty output and changes nothing.
    """
    if not training:
        return batch_norm(
            x,
            weight,
            bias,
            running_mean,
            running_var,
            training=False,
            eps=eps,
            axis=axis,
            activation=activation,
            out=out,
        )
    impl = backend.active
    if impl.JUDGES_ARRAYS and (activation is None or activation == "relu"):
        relu = activation is not None
        try:
            return impl.instance_norm(
                x, weight, bias, running_mean, running_var, momentum, eps, unbiased, relu, axis, out
            )
        except (backend.Refused, TypeError, OverflowError):
            pass  # explained, or converted, below
    eps = checks.non_negative(eps, "eps")
    momentum = checks.fraction(momentum, "momentum")
    x, weight, bias, axis, relu, out = judge_samples(x, weight, bias, axis, activation, out)
    running_mean, running_var = judge_running(
        running_mean, running_var, ("running_mean", "running_var"), axis, (x, weight, bias, out)
    )
    if x.size > 0 and x.size == x.shape[0] * x.shape[axis]:
        raise ValueError(TOO_FEW.format(shape=x.shape, axis=axis))
    return impl.instance_norm(
        x, weight, bias, running_mean, running_var, momentum, eps, unbiased, relu, axis, out
    )


def instance_norm_backward(
    dy: Array,
    saved: Any,
    *,
    dweight: Array | None = None,
    dbias: Array | None = None,
    out: Array | None = None,
) -> tuple[Array, Array | None, Array | None]:
    """Gradients of `instance_norm`.

    Training: ``dx = gamma inv_std (dy - mean(dy) - x_hat mean(dy x_hat))``, means over each instance; evaluation:
    ``dx = gamma inv_std dy``; ``dgamma = sum(dy x_hat)``, ``dbeta = sum(dy)`` over samples and space, where dy has
    passed the ReLU, if any.

    See Also
    --------
    group_norm_backward : parameters, returns and errors.

    Notes
    -----
    Ulyanov, Vedaldi & Lempitsky 2016, arXiv 1607.08022.
    """
    if hasattr(saved, "training"):  # batch norm's state: running statistics, constants
        gradients: Any = batch_norm_backward(dy, saved, dweight=dweight, dbias=dbias, out=out)
        return gradients
    return group_norm_backward(dy, saved, dweight=dweight, dbias=dbias, out=out)
