"""Moving averages as training statistics: shown because papers discuss it, known to diverge. Not for anything else.

Made of batch norm's evaluation, `statistics` and `update_running`; no arithmetic of its own.
"""

from __future__ import annotations

from typing import Any

from ._norm_check import TOO_FEW, Array
from .moments import statistics, update_running
from .norm import batch_norm


def moving_batch_norm(
    x: Array,
    weight: Array | None = None,
    bias: Array | None = None,
    running_mean: Array | None = None,
    running_var: Array | None = None,
    *,
    momentum: float = 0.1,
    eps: float = 1e-5,
    axis: int = 1,
    activation: str | None = None,
    residual: Array | None = None,
    unbiased: bool = True,
    mask: Array | None = None,
    out: Array | None = None,
) -> tuple[Array, Any]:
    """Normalize by the running statistics, which are constants for the gradient, then move them towards the batch.

    Training with it is known to diverge: the gradient knows nothing of the statistics' dependence on the weights, so
    that a step may blow up what the next statistics will undo (Ioffe & Szegedy 2015, arXiv 1502.03167, section 2;
    Ioffe 2017, arXiv 1702.03275, section 2).

    Parameters
    ----------
    running_mean, running_var : ndarray, shape (c,)
        Both are needed. Updated in place, after they were used.
    momentum : float
        Weight of the **new** value, in [0, 1].

    Returns
    -------
    y : ndarray, shape of x
    saved : object
        For `batch_norm_backward`: ``dx = gamma inv_std dy``.

    Raises
    ------
    TypeError, ValueError
        As `batch_norm`; also for one value per channel, which has no variance.

    See Also
    --------
    batch_norm : the other parameters.
    """
    if running_mean is None or running_var is None:
        raise ValueError("running_mean and running_var must be given, got None")
    stats = statistics(x, axis=axis, mask=mask)
    if stats.count == 1:
        where = f"one in input of shape {x.shape}"
        raise ValueError(TOO_FEW.format(where=where, axis=axis))
    y, saved = batch_norm(
        x,
        weight,
        bias,
        running_mean,
        running_var,
        training=False,
        eps=eps,
        axis=axis,
        activation=activation,
        residual=residual,
        mask=mask,
        out=out,
    )
    update_running(stats, running_mean, running_var, momentum=momentum, unbiased=unbiased)
    return y, saved
