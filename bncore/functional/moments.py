"""Exact statistics of a channel that can be measured in pieces, and the gradient sums that go with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import backend
from ..support import checks
from ._check import normalize_axis, output, real_array
from .masks import valid_runs

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Statistics:
    """Count, mean and biased variance per channel, in float64.

    Attributes
    ----------
    count : float
        Number of values reduced for one channel (a weight, so not necessarily whole).
    mean, var : ndarray, shape (c,), float64
        ``mean = sum(x) / count``, ``var = sum((x - mean)**2) / count``.
    """

    count: float
    mean: Array
    var: Array

    @property
    def m2(self) -> Array:
        """Sum of squared deviations from the mean, shape (c,)."""
        return self.var * self.count

    @property
    def unbiased_var(self) -> Array:
        """``var * count / (count - 1)``; the biased one where count <= 1."""
        return self.var * (self.count / (self.count - 1)) if self.count > 1 else self.var

    def merge(self, other: Statistics) -> Statistics:
        """Statistics of both sets of values together, exact for any split and unequal sizes.

        With ``d = mean2 - mean1``: ``mean = mean1 + d n2 / n``, ``M2 = M21 + M22 + d**2 n1 n2 / n``
        (Chan, Golub & LeVeque 1979).

        Raises
        ------
        TypeError, ValueError
            If other is no Statistics, or has another number of channels.
        """
        judge_statistics(other, "other")
        if self.mean.shape != other.mean.shape:
            raise ValueError(
                f"other must have {self.mean.shape[0]} channels, got {other.mean.shape[0]} channels"
            )
        if other.count == 0:
            return self
        if self.count == 0:
            return other
        n = self.count + other.count
        d = other.mean - self.mean
        mean = self.mean + d * (other.count / n)
        m2 = self.m2 + other.m2 + d * d * (self.count * (other.count / n))
        return Statistics(n, mean, m2 / n)


@dataclass(frozen=True)
class GradientSums:
    """Sums over a (micro-)batch that the input gradient needs: gradients of bias and weight, in float64.

    Attributes
    ----------
    count : float
        Number of values reduced for one channel.
    dy, dy_x_hat : ndarray, shape (c,), float64
        ``sum(dy)`` (the gradient of beta) and ``sum(dy * x_hat)`` (the gradient of gamma).
    """

    count: float
    dy: Array
    dy_x_hat: Array

    def merge(self, other: GradientSums) -> GradientSums:
        """Sums over both pieces.

        Raises
        ------
        TypeError, ValueError
            If other is no GradientSums, or has another number of channels.
        """
        judge_gradient_sums(other, "other")
        if self.dy.shape != other.dy.shape:
            raise ValueError(
                f"other must have {self.dy.shape[0]} channels, got {other.dy.shape[0]} channels"
            )
        return GradientSums(
            self.count + other.count, self.dy + other.dy, self.dy_x_hat + other.dy_x_hat
        )


def judge_statistics(value: Any, name: str) -> None:
    """A TypeError if ``value`` is no Statistics."""
    if not isinstance(value, Statistics):
        raise TypeError(
            f"{name} must be Statistics (from functional.statistics), got {type(value).__name__}"
        )


def judge_gradient_sums(value: Any, name: str) -> None:
    """A TypeError if ``value`` is no GradientSums."""
    if not isinstance(value, GradientSums):
        raise TypeError(
            f"{name} must be GradientSums (from functional.gradient_sums), got {type(value).__name__}"
        )


def statistics(x: Array, *, axis: int = 1, mask: Array | None = None) -> Statistics:
    """Mean and variance of every channel of x, in float64 whatever the type of x.

    Parameters
    ----------
    x : ndarray, rank >= 2, float32 or float64
    axis : int
        The channel axis.
    mask : ndarray of bool or integers, or None
        Which positions count, as in `batch_norm`.

    Returns
    -------
    Statistics
        Mergeable: ``statistics(a).merge(statistics(b))`` equals the statistics of both together.

    Notes
    -----
    Sums of deviations over blocks that stay in cache, around the mean of the block before or, where that proves
    too far, in two passes around the block's own; merged in float64 (Chan, Golub & LeVeque 1979); never
    ``E[x**2] - E[x]**2``. No values give count 0, mean 0 and variance 0.
    """
    x = real_array(x, "x")
    if x.ndim < 2:
        raise ValueError(f"x must have rank >= 2, got shape {x.shape}")
    axis = normalize_axis(axis, x.ndim)
    runs = None if mask is None else valid_runs(mask, x.shape, axis)
    count, mean, m2 = backend.active.statistics(x, axis, runs)
    return Statistics(count, mean, m2 / max(count, 1))


def update_running(
    stats: Statistics,
    running_mean: Array | None,
    running_var: Array | None,
    *,
    momentum: float = 0.1,
    unbiased: bool = True,
) -> None:
    """Move running statistics, in place, towards those of a batch: what `batch_norm` does in training.

    ``running = (1 - momentum) running + momentum batch``, in float64 with one rounding. Statistics of no values
    change nothing.

    Parameters
    ----------
    stats : Statistics
        Of the whole batch: merged, if it came in pieces.
    running_mean, running_var : ndarray, shape (c,), float32 or float64, or None
        Written to.
    momentum : float
        Weight of the new value, in [0, 1].
    unbiased : bool
        Whether the running variance takes ``var count / (count - 1)`` or the biased variance.

    Raises
    ------
    TypeError, ValueError
        For arrays of another type or shape, or that cannot be written.
    """
    judge_statistics(stats, "stats")
    momentum = checks.fraction(momentum, "momentum")
    var = stats.unbiased_var if unbiased else stats.var
    for name, running, new in (
        ("running_mean", running_mean, stats.mean),
        ("running_var", running_var, var),
    ):
        if running is None:
            continue
        output(running, new.shape, real_array(running, name).dtype, name, ())
        if stats.count > 0:
            with np.errstate(over="ignore"):
                running[...] = (1 - momentum) * running.astype(np.float64) + momentum * new
