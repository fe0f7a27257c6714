"""Images as sequences of their rows, for recurrent layers. It moves values and computes nothing."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..support import checks
from .base import Array, Layer
from .registry import register

__all__ = ["ImageRows"]


@register
class ImageRows(Layer):
    """Images (N, C, H, W) to sequences (N, H, C·W): a row of pixels is a time step. Sequences pass as they are.

    Parameters
    ----------
    axis : 1 or -1
        Where the channels of images are. Channels last, (N, H, W, C), a step is (W, C) in memory order.
    """

    def __init__(self, *, axis: int = 1) -> None:
        self.axis = checks.one_of(axis, "axis", (1, -1))

    def forward(self, x: Array) -> Array:
        if x.ndim not in (3, 4):
            raise ValueError(f"x must be images or sequences, of rank 4 or 3, got shape {x.shape}")
        if self.keeps:
            self._saved = x.shape
        if x.ndim == 3:
            return x
        rows = x.swapaxes(1, 2) if self.axis == 1 else x
        return np.ascontiguousarray(rows).reshape(*rows.shape[:2], rows.shape[2] * rows.shape[3])

    def backward(self, dy: Array) -> Array:
        shape = self.take_saved()
        if len(shape) == 3 or self.axis == -1:
            return dy.reshape(shape)
        n, c, h, w = shape
        return np.ascontiguousarray(dy.reshape(n, h, c, w).swapaxes(1, 2))

    def config(self) -> dict[str, Any]:
        return {"type": "ImageRows", "axis": self.axis}

    def describe(self) -> str:
        return "" if self.axis == 1 else f"axis={self.axis}"
