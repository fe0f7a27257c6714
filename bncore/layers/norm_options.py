"""What makes a batch norm more than plain: other statistics in training, other weights in the running averages.

Functions of a `BatchNorm` or of its options; the layer itself is norm.py, the arithmetic functional's.
"""

from __future__ import annotations

import math
from itertools import count
from typing import TYPE_CHECKING, Any

from ..functional import batch_norm, ghost_batch_norm, moving_batch_norm
from .base import Array

if TYPE_CHECKING:
    from .norm import BatchNorm

__all__ = ["judge_options", "run_other", "update_rate", "updates_of"]


def judge_options(norm: BatchNorm) -> None:
    """Refuse options, each right in itself, that contradict each other."""
    moving = norm.statistics == "moving"
    if norm.frozen and not norm.track_running_stats:
        raise ValueError("frozen must be False without running statistics, got True")
    if moving and not norm.track_running_stats:
        raise ValueError("statistics must be 'batch' without running statistics, got 'moving'")
    if moving and norm.ghost_batch_size is not None:
        raise ValueError(
            f"ghost_batch_size must be None with statistics='moving', got {norm.ghost_batch_size}"
        )
    if norm.zero_debias and not norm.momentum:
        raise ValueError(
            f"zero_debias must be False with momentum={norm.momentum} (a cumulative average has no start to take "
            "out, a constant is no average), got True"
        )


def update_rate(momentum: float | None, zero_debias: bool, before: int) -> float:
    """Weight of the new batch in running statistics after ``before`` updates.

    Parameters
    ----------
    momentum : float or None
        None: cumulative average, ``1 / k`` at update k = before + 1.
    zero_debias : bool
        ``momentum / (1 - (1 - momentum)**k)`` instead of ``momentum``, which leaves the start no weight: after k
        updates the batch of update i weighs ``momentum (1 - momentum)**(k - i) / (1 - (1 - momentum)**k)``.
    """
    if momentum is None or (zero_debias and before == 0):
        return 1.0 / (before + 1)
    if not zero_debias or momentum == 1.0:
        return momentum
    return -momentum / math.expm1((before + 1) * math.log1p(-momentum))


def updates_of(saved: Any) -> int:
    """How often a forward pass over one batch updated running statistics: not at all without valid positions."""
    return 1 if saved.runs is None else int(saved.runs[-1, 1] > 0)


def run_other(
    norm: BatchNorm, x: Array, batch: bool, how: dict[str, Any]
) -> tuple[Array, Any, int]:
    """(y, saved, updates of the running statistics) of a norm with ghost batches or moving statistics.

    ``batch`` says whether this is a training pass; ``how`` holds activation, residual and mask.
    """
    before = norm.num_batches_tracked
    arrays = (x, norm.weight, norm.bias, norm.running_mean, norm.running_var)
    how |= {"eps": norm.eps, "axis": norm.axis}
    if not batch:
        return (*batch_norm(*arrays, training=False, **how), 0)
    how["unbiased"] = norm.unbiased
    if norm.ghost_batch_size is None:
        y, saved = moving_batch_norm(*arrays, momentum=norm.rate(before), **how)
        return y, saved, updates_of(saved)
    y, ghost = ghost_batch_norm(
        *arrays,
        ghost_batch_size=norm.ghost_batch_size,
        momentum=map(norm.rate, count(before)),
        **how,
    )
    return y, ghost, ghost.updates
