"""Dropout: zeros a random part of its input in training, and is not there in evaluation."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..functional import dropout, dropout_backward
from ..support import checks
from .base import Array, Layer
from .init import generator
from .registry import register

__all__ = ["Dropout"]

_IDENTITY = object()  # saved when nothing was dropped


@register
class Dropout(Layer):
    """In training each value is zeroed with probability p, the others are divided by 1 - p; in evaluation y is x itself.

    Parameters
    ----------
    p : float
        0 <= p < 1.
    rng : numpy Generator, int or None
        The layer's stream of random numbers; None is the generator that `bncore.seed` sets. A container's `reseed`
        gives each dropout layer a stream of its own.

    Notes
    -----
    Srivastava 2014. Before a batch norm it shifts the variance between training and evaluation
    (Li 2018, arXiv 1801.05134): put it after the last one.
    """

    def __init__(self, p: float = 0.5, *, rng: np.random.Generator | int | None = None) -> None:
        self.p = checks.fraction(p, "p", below_one=True)
        self.rng = generator(rng)

    def forward(self, x: Array) -> Array:
        if not self.training or self.p == 0.0:
            if self.keeps:
                self._saved = _IDENTITY
            return x
        y, saved = dropout(x, self.p, self.rng)
        if self.keeps:
            self._saved = saved
        return y

    def backward(self, dy: Array) -> Array:
        saved = self.take_saved()
        return dy if saved is _IDENTITY else dropout_backward(dy, saved)

    def config(self) -> dict[str, Any]:
        return {"type": "Dropout", "p": self.p}

    def brief(self) -> str:
        return f"Dropout({self.p:g})"
