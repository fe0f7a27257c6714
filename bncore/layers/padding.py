"""Padding as a layer, for borders that are not zeros. Convolutions and pools pad with zeros
themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..support import checks
from .base import Array, Layer
from .init import float_dtype
from .registry import register

__all__ = ["Pad"]


@register
class Pad(Layer):
    """A border around every image, with one value per channel.

    Folding puts it before a zero-padded convolution that takes over the norm in front of it: the
    border then is what that norm would have mapped to zero.

    Parameters
    ----------
    channels : int
    padding : sequence of (before, behind), one pair per spatial axis
    value : float or array-like of shape (channels,)
    axis : 1 or -1
        The channel axis.
    dtype : float32 or float64

    Attributes
    ----------
    value : ndarray, shape (channels,)
        A buffer: saved with the net, not trained.

    Examples
    --------
    >>> Pad(1, [(1, 1), (0, 2)], -1.0)(np.zeros((5, 1, 8, 8), np.float32)).shape
    (5, 1, 10, 10)
    """

    buffer_names = ("value",)

    def __init__(
        self,
        channels: int,
        padding: Sequence[Sequence[int]],
        value: npt.ArrayLike = 0.0,
        *,
        axis: int = 1,
        dtype: npt.DTypeLike = np.float32,
    ) -> None:
        self.channels = checks.positive_int(channels, "channels")
        if not isinstance(padding, (list, tuple)) or not padding:
            raise TypeError(
                f"padding must be one pair (before, behind) per spatial axis, got {padding!r}"
            )
        self.padding = tuple(checks.int_tuple(pair, "padding", 2) for pair in padding)
        self.axis = checks.one_of(axis, "axis", (1, -1))
        self.dtype = float_dtype(dtype)
        given = np.asarray(value)
        if given.shape not in ((), (self.channels,)):
            raise ValueError(
                f"value must be a number or have shape ({self.channels},), got shape {given.shape}"
            )
        self.value = np.full(self.channels, given, self.dtype)

    def forward(self, x: Array) -> Array:
        self._judge(x)
        first = 2 if self.axis == 1 else 1
        shape = list(x.shape)
        inner = [slice(None)] * x.ndim
        for k, (before, behind) in enumerate(self.padding, first):
            inner[k] = slice(before, before + shape[k])
            shape[k] += before + behind
        y = np.empty(shape, x.dtype)
        per_channel = [1] * x.ndim
        per_channel[self.axis] = self.channels
        value = self.value.reshape(per_channel)
        for k in range(first, first + len(self.padding)):
            for border in (slice(inner[k].start), slice(inner[k].stop, None)):
                y[(*[slice(None)] * k, border)] = value
        y[tuple(inner)] = x
        return y

    def backward(self, dy: Array) -> Array:
        inner = [slice(None)] * dy.ndim
        for k, (before, behind) in enumerate(self.padding, 2 if self.axis == 1 else 1):
            inner[k] = slice(before, dy.shape[k] - behind)
        return np.ascontiguousarray(dy[tuple(inner)])

    def _judge(self, x: Array) -> None:
        if not isinstance(x, np.ndarray) or x.dtype != self.dtype:
            got = x.dtype if isinstance(x, np.ndarray) else type(x).__name__
            raise TypeError(f"x must be an array of {self.dtype}, got {got}")
        rank = 2 + len(self.padding)
        if x.ndim != rank or x.shape[self.axis] != self.channels:
            raise ValueError(
                f"x must have {rank} dimensions and {self.channels} channels along axis {self.axis}, got shape {x.shape}"
            )

    def config(self) -> dict[str, Any]:
        return {
            "type": "Pad",
            "channels": self.channels,
            "padding": [list(pair) for pair in self.padding],
            "axis": self.axis,
            "dtype": self.dtype.name,
        }

    def brief(self) -> str:
        return f"Pad({self.channels})"

    def describe(self) -> str:
        return f"{self.channels}, {list(self.padding)}" + ("" if self.axis == 1 else ", axis=-1")
