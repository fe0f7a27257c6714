"""What looks wrong in a norm's parameters and statistics, channel by channel, whether it can be folded or not.

Judges numbers; knows no nets and no files. Each finding is one function below.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from ..support.floats import FLOATS, FloatType, float_type
from .algebra import Array64

__all__ = ["Finding", "findings"]

# A scale below this share of the norm's largest is as good as switched off (float16 keeps three digits)
NEAR_ZERO = 1e-3
# A folded weight is the scale times the weight before it: weights are rarely larger than this
USUAL_WEIGHT = 64.0


class Finding(NamedTuple):
    """Something about a norm that deserves a look.

    Attributes
    ----------
    code : str
        One word for machines: ``not_finite``, ``negative_variance``, ``never_updated``, ``near_zero_variance``,
        ``dead_channels``, ``near_zero_gamma``, ``overflow``, ``float16_overflow``.
    channels : int
        How many channels show it.
    text : str
        The same for people, on one line.
    """

    code: str
    channels: int
    text: str


class _Norm(NamedTuple):
    """A norm in float64, and the storage type that its folded scale would meet."""

    gamma: Array64
    beta: Array64
    mean: Array64
    var: Array64
    eps: float
    kind: FloatType

    def scale(self) -> Array64:
        """``gamma/sqrt(var + eps)``; 0 where that is no number, which other findings tell."""
        with np.errstate(all="ignore"):
            scale = self.gamma / np.sqrt(self.var + self.eps)
        return np.where(np.isfinite(scale), scale, 0.0)


def findings(
    weight: ArrayLike | None,
    bias: ArrayLike | None,
    mean: ArrayLike,
    var: ArrayLike,
    eps: float,
    dtype: DTypeLike | str,
) -> list[Finding]:
    """What looks wrong in a norm that has running statistics.

    Parameters
    ----------
    weight, bias : (c,) or None
        Of the norm; None counts as 1 and 0.
    mean, var : (c,)
        Its running statistics.
    eps : float
        Added to the variance.
    dtype : dtype or str
        What the weights around the norm are stored in, which the folded scale must fit.

    Returns
    -------
    list of Finding
        Empty for a norm that looks well; the most serious first.
    """
    center = np.array(mean, np.float64).reshape(-1)
    norm = _Norm(
        np.ones_like(center) if weight is None else np.array(weight, np.float64).reshape(-1),
        np.zeros_like(center) if bias is None else np.array(bias, np.float64).reshape(-1),
        center,
        np.array(var, np.float64).reshape(-1),
        eps,
        float_type(dtype),
    )
    found = (judge(norm) for judge in _JUDGES)
    return [finding for finding in found if finding is not None]


def _not_finite(norm: _Norm) -> Finding | None:
    values = {
        "weight": norm.gamma,
        "bias": norm.beta,
        "running_mean": norm.mean,
        "running_var": norm.var,
    }
    wrong = {name: ~np.isfinite(array) for name, array in values.items()}
    names = [name for name, where in wrong.items() if where.any()]
    return _finding(
        "not_finite",
        np.logical_or.reduce(list(wrong.values())),
        f"{', '.join(names)} not finite",
    )


def _negative_variance(norm: _Norm) -> Finding | None:
    return _finding("negative_variance", norm.var < 0, "running_var negative")


def _never_updated(norm: _Norm) -> Finding | None:
    untouched = (norm.mean == 0).all() and (norm.var == 1).all()
    return _finding(
        "never_updated",
        np.full(norm.mean.shape, untouched),
        "statistics are still (0, 1) everywhere: never updated, or folded before",
    )


def _near_zero_variance(norm: _Norm) -> Finding | None:
    small = (norm.var >= 0) & (norm.var <= norm.eps)
    least = norm.var[small].min() if small.any() else 0.0
    return _finding(
        "near_zero_variance",
        small,
        f"running_var not above eps (least {least:.2g}, eps {norm.eps:.2g}): eps decides the scale",
    )


def _dead_channels(norm: _Norm) -> Finding | None:
    return _finding("dead_channels", norm.gamma == 0, "weight 0: the output is the constant bias")


def _near_zero_gamma(norm: _Norm) -> Finding | None:
    size = np.abs(np.where(np.isfinite(norm.gamma), norm.gamma, 0.0))
    largest = size.max(initial=0.0)
    return _finding(
        "near_zero_gamma",
        (size > 0) & (size < NEAR_ZERO * largest),
        f"weight below {NEAR_ZERO:g} of the norm's largest, {largest:.2g}",
    )


def _overflow(norm: _Norm) -> Finding | None:
    return _too_large(norm, norm.kind, "overflow", 1.0)


def _float16_overflow(norm: _Norm) -> Finding | None:
    return _too_large(norm, FLOATS["float16"], "float16_overflow", USUAL_WEIGHT)


def _too_large(norm: _Norm, kind: FloatType, code: str, weight: float) -> Finding | None:
    """Channels whose scale times a weight of this size, or whose shift, the type cannot hold."""
    scale = norm.scale()
    with np.errstate(all="ignore"):
        shift = norm.beta - scale * norm.mean
    large = np.maximum(np.abs(scale) * weight, np.abs(shift)) > kind.largest
    share = f" for weights of {weight:g}" if weight != 1.0 else ""
    text = f"folded scale up to {np.abs(scale).max(initial=0.0):.2g} or shift overflows {kind.name}{share}"
    return _finding(code, large, text)


def _finding(code: str, where: np.ndarray, text: str) -> Finding | None:
    count = int(np.count_nonzero(where))
    return Finding(code, count, f"{count} of {where.size} channels: {text}") if count else None


_JUDGES: tuple[Callable[[_Norm], Finding | None], ...] = (
    _not_finite,
    _negative_variance,
    _never_updated,
    _near_zero_variance,
    _dead_channels,
    _near_zero_gamma,
    _overflow,
    _float16_overflow,
)
