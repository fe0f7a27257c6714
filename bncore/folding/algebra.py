"""Algebra of folding: a per-channel affine map absorbed into the weights of a linear operation, in
float64.

Knows arrays only: no layers, no files, no graph. Weights come in any float type and leave in
float64; `rounded` is the one step back to the storage type, and the place that refuses a result the
storage type cannot hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from ..support.extras import require

Array64 = NDArray[np.float64]

# More than this share of the nonzero weights falling below the smallest normal number is not an
# exact fold any more.
SUBNORMAL_SHARE = 0.1
# A forward fold adds s·x and -s·center after rounding, where the norm subtracted first. Their
# common part may cost this much of one standard deviation: means up to 256 standard deviations away
# in float32, any in float64. Half types have no more than a few digits to begin with: there the
# common part must be of the size of what it is taken from.
CANCELLATION = 2.0**-15
CANCELLATION_HALF = 16.0  # scaled deviations


class FoldRefused(ValueError):
    """A fold that would not be exact; the message is the reason, ready for a report."""


@dataclass(frozen=True, eq=False)
class Affine:
    """The map ``y = scale·(x - center) + shift``, one entry per channel, all of shape (c,) in
    float64.

    The center is kept apart from the shift, so that ``bias - center`` can be formed first where
    both are large.
    """

    scale: Array64
    center: Array64
    shift: Array64

    @classmethod
    def identity(cls, channels: int) -> Affine:
        return cls(np.ones(channels), np.zeros(channels), np.zeros(channels))

    @classmethod
    def concatenate(cls, parts: Iterable[Affine]) -> Affine:
        parts = list(parts)
        scale, center, shift = (
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("scale", "center", "shift")
        )
        return cls(scale, center, shift)

    @property
    def channels(self) -> int:
        return self.scale.size

    @property
    def offset(self) -> Array64:
        """t of ``y = scale·x + t``."""
        return self.shift - self.scale * self.center

    @property
    def zero_point(self) -> Array64:
        """The x of every channel that is mapped to 0: ``center - shift/scale``.

        Raises FoldRefused when a channel is a constant other than 0, which no x maps to 0.
        """
        constant = self.scale == 0
        if np.any(constant & (self.shift != 0)):
            raise FoldRefused(
                f"channel {int(np.argmax(constant & (self.shift != 0)))} has scale 0: no border value maps to 0"
            )
        return np.where(
            constant, 0.0, self.center - self.shift / np.where(constant, 1.0, self.scale)
        )

    def __call__(self, x: ArrayLike, axis: int = 1) -> Array64:
        """Apply the map to x (any rank) along the channel axis."""
        x64 = np.asarray(x, np.float64)
        shape = [1] * x64.ndim
        shape[axis] = self.channels
        return self.scale.reshape(shape) * (x64 - self.center.reshape(shape)) + self.shift.reshape(
            shape
        )

    def then(self, outer: Affine) -> Affine:
        """``outer(self(x))`` as one map."""
        return Affine(
            outer.scale * self.scale,
            self.center,
            outer.scale * (self.shift - outer.center) + outer.shift,
        )

    def without_offset(self) -> Affine:
        """``scale·x``: what a second summand takes when the first one takes the whole map."""
        return Affine(self.scale, np.zeros_like(self.scale), np.zeros_like(self.scale))

    def repeat(self, times: int) -> Affine:
        """Every channel `times` times in a row: (C, H, W) flattened in C order, times = H·W."""
        return Affine(*(np.repeat(a, times) for a in (self.scale, self.center, self.shift)))

    def tile(self, times: int) -> Affine:
        """All channels one after another, `times` times: (H, W, C) flattened in C order, times =
        H·W.
        """
        return Affine(*(np.tile(a, times) for a in (self.scale, self.center, self.shift)))

    def split(self, sizes: Sequence[int]) -> list[Affine]:
        """Cut into runs of channels: what each input of a concatenation takes."""
        if sum(sizes) != self.channels:
            raise ValueError(f"sizes must add up to {self.channels} channels, got {list(sizes)}")
        cuts = np.cumsum(sizes)[:-1]
        return [
            Affine(*part)
            for part in zip(
                *(np.split(a, cuts) for a in (self.scale, self.center, self.shift)), strict=True
            )
        ]


def norm_affine(
    weight: ArrayLike | None, bias: ArrayLike | None, mean: ArrayLike, var: ArrayLike, eps: float
) -> Affine:
    """The map of a norm in evaluation: ``scale = weight/sqrt(var + eps)``, ``center = mean``,
    ``shift = bias``.

    Parameters
    ----------
    weight, bias : (c,) or None
        None counts as 1 and 0.
    mean, var : (c,)
        Running statistics as the norm uses them.
    eps : float
        Added to the variance. A channel with ``var + eps == 0`` gives its bias, as the norm does.

    Raises
    ------
    FoldRefused
        When a parameter or a statistic is NaN or infinite, or a variance is negative.
    """
    center = np.array(mean, np.float64).reshape(-1)
    variance = np.array(var, np.float64).reshape(-1) + eps
    gamma = np.ones_like(center) if weight is None else np.array(weight, np.float64).reshape(-1)
    shift = np.zeros_like(center) if bias is None else np.array(bias, np.float64).reshape(-1)
    if not center.shape == variance.shape == gamma.shape == shift.shape:
        raise ValueError(
            f"weight, bias, mean and var must have equal lengths, got {gamma.size}, {shift.size}, {center.size}, {variance.size}"
        )
    for name, values in (
        ("weight", gamma),
        ("bias", shift),
        ("running_mean", center),
        ("running_var", variance),
    ):
        if not np.isfinite(values).all():
            raise FoldRefused(
                f"{name} holds NaN or infinity (channel {int(np.argmin(np.isfinite(values)))})"
            )
    if (variance < 0).any():
        raise FoldRefused(f"running_var is negative (channel {int(np.argmax(variance < 0))})")
    inv_std = np.zeros_like(variance)
    np.divide(1.0, np.sqrt(variance), out=inv_std, where=variance > 0)
    with np.errstate(over="ignore"):
        scale = gamma * inv_std
    if not np.isfinite(scale).all():
        raise FoldRefused(
            f"weight/sqrt(var + eps) overflows (channel {int(np.argmin(np.isfinite(scale)))})"
        )
    return Affine(scale, center, shift)


def into_output(
    weight: ArrayLike, bias: ArrayLike | None, affine: Affine
) -> tuple[Array64, Array64]:
    """Absorb the map that follows a linear (out, in) or convolution (out, in/groups, *k): any rank,
    any groups.

    ``W'[o] = scale[o]·W[o]``, ``b' = scale·(b - center) + shift``. Axis 0 is the absolute output
    channel for every group. A norm's own weight (c,) is the same case with one input per output:
    two norms in a row compose to one.
    """
    w, b = _as_float64(weight, bias, affine.channels)
    _match("weight's output channels", w.shape[0], affine)
    return w * affine.scale.reshape(-1, *[1] * (w.ndim - 1)), affine.scale * (
        b - affine.center
    ) + affine.shift


def into_transposed_output(
    weight: ArrayLike, bias: ArrayLike | None, affine: Affine, *, groups: int = 1
) -> tuple[Array64, Array64]:
    """Absorb the map that follows a transposed convolution, weight (in, out/groups, *k).

    The weight viewed as (groups, in/groups, out/groups, *k) times the scale viewed as (groups, 1,
    out/groups, 1, ...).
    """
    w, b = _as_float64(weight, bias, affine.channels)
    _match("weight's output channels", w.shape[1] * groups, affine)
    grouped = w.reshape(groups, w.shape[0] // groups, *w.shape[1:])
    scale = affine.scale.reshape(groups, 1, -1, *[1] * (w.ndim - 2))
    return (grouped * scale).reshape(w.shape), affine.scale * (b - affine.center) + affine.shift


def into_input(
    weight: ArrayLike,
    bias: ArrayLike | None,
    affine: Affine,
    *,
    groups: int = 1,
    zero_padded: bool = False,
) -> tuple[Array64, Array64]:
    """Absorb the map that precedes a linear (out, in) or convolution (out, in/groups, *k).

    ``W'[:, i] = W[:, i]·scale[i]``, ``b' = b + Σ W[:, i, ...]·t[i]``; with groups every group owns
    its run of channels.

    Parameters
    ----------
    zero_padded : bool
        The convolution pads its input with zeros, which the map would have to leave alone: exact
        for t = 0 only.

    Raises
    ------
    FoldRefused
        When `zero_padded` and a channel's t is not 0.
    """
    w, b = _as_float64(weight, bias, np.shape(weight)[0])
    _match("weight's input channels", w.shape[1] * groups, affine)
    if zero_padded and affine.offset.any():
        raise FoldRefused("the zero padding would have to be shifted too")
    grouped = w.reshape(groups, w.shape[0] // groups, *w.shape[1:])
    per_input = (groups, 1, -1, *[1] * (w.ndim - 2))
    added = (grouped * affine.offset.reshape(per_input)).sum(axis=tuple(range(2, grouped.ndim)))
    return (grouped * affine.scale.reshape(per_input)).reshape(w.shape), b + added.reshape(-1)


def into_transposed_input(
    weight: ArrayLike,
    bias: ArrayLike | None,
    affine: Affine,
    *,
    groups: int = 1,
    pointwise: bool = False,
) -> tuple[Array64, Array64]:
    """Absorb the map that precedes a transposed convolution, weight (in, out/groups, *k).

    ``W'[i] = scale[i]·W[i]``. A shift reaches the outputs unevenly (they overlap different numbers
    of taps), so t must be 0 unless the kernel is `pointwise` (one tap, stride 1, no padding): ``b'
    = b + Σ W[i]·t[i]``.

    Raises
    ------
    FoldRefused
        When a channel's t is not 0 and the kernel is not pointwise.
    """
    w, b = _as_float64(weight, bias, np.shape(weight)[1] * groups)
    _match("weight's input channels", w.shape[0], affine)
    if affine.offset.any() and not pointwise:
        raise FoldRefused(
            "a shift before a transposed convolution is not one bias (only scales and 1x1 kernels are exact)"
        )
    per_input = (-1, *[1] * (w.ndim - 1))
    shifted = (w * affine.offset.reshape(per_input)).reshape(groups, -1, *w.shape[1:])
    added = shifted.sum(axis=(1, *range(3, shifted.ndim)))
    return w * affine.scale.reshape(per_input), b + added.reshape(-1)


def check_forward(affine: Affine, dtype: DTypeLike) -> None:
    """Refuse a forward fold that would lose what the norm's own subtraction keeps.

    ``s·(x - center)`` becomes ``(s·x) + (-s·center)``, each rounded to the storage type: with a
    center thousands of standard deviations from 0 nothing of x is left. Backward folds are not
    concerned: the unfolded output is rounded there as well.
    """
    eps = float(finfo(dtype).eps)
    lost = np.abs(affine.scale * affine.center) * eps
    limit = CANCELLATION if eps < CANCELLATION else CANCELLATION_HALF * eps
    if lost.size and lost.max() > limit:
        channel = int(np.argmax(lost))
        distance = abs(affine.scale[channel] * affine.center[channel])
        raise FoldRefused(
            f"the mean of channel {channel} lies {distance:.3g} scaled deviations from 0: subtracting it "
            f"after the product would cost precision in {np.dtype(dtype)}"
        )


def finfo(dtype: DTypeLike) -> Any:
    """`numpy.finfo`, for bfloat16 too."""
    if np.dtype(dtype).kind == "f":
        return np.finfo(dtype)
    return require("ml_dtypes", "onnx").finfo(dtype)


def rounded(
    values: Array64, dtype: DTypeLike, name: str, *, subnormal_share: float = SUBNORMAL_SHARE
) -> NDArray[np.floating]:
    """Round float64 values to the storage type, once.

    Raises
    ------
    FoldRefused
        When a value is not finite in `dtype`, or more than `subnormal_share` of the nonzero ones
        fall below its smallest normal number (1 for a bias, to which a subnormal part is a rounding
        like any other).
    """
    with np.errstate(over="ignore", under="ignore"):
        result = values.astype(dtype)
    if not np.isfinite(result).all():
        raise FoldRefused(f"the folded {name} would not be finite in {result.dtype}")
    nonzero = values != 0
    lost = np.count_nonzero(nonzero & (np.abs(values) < finfo(dtype).tiny))
    if lost > subnormal_share * np.count_nonzero(nonzero):
        raise FoldRefused(
            f"{lost} of {np.count_nonzero(nonzero)} entries of the folded {name} would be subnormal in {result.dtype}"
        )
    return result


def _as_float64(weight: ArrayLike, bias: ArrayLike | None, outputs: int) -> tuple[Array64, Array64]:
    w = np.asarray(weight, np.float64)
    b = np.zeros(outputs) if bias is None else np.asarray(bias, np.float64)
    if b.shape != (outputs,):
        raise ValueError(f"bias must have shape ({outputs},), got {b.shape}")
    return w, b


def _match(what: str, channels: int, affine: Affine) -> None:
    if channels != affine.channels:
        raise ValueError(f"affine must have {channels} channels ({what}), got {affine.channels}")
