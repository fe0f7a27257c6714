"""Weights of samples, handed out as many at a time as there are samples, however they come."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..functional.weighted import sample_weights

__all__ = ["WeightFeed"]

Array = np.ndarray[Any, Any]


class WeightFeed:
    """An array of weights, or an iterable of arrays, as one sequence that is taken from piece by piece.

    Parameters
    ----------
    weights : array, sequence of numbers, or iterable of arrays

    Raises
    ------
    TypeError
        If they are none of these.
    """

    def __init__(self, weights: Any) -> None:
        if isinstance(weights, (list, tuple)) and not any(np.ndim(item) for item in weights):
            weights = np.asarray(weights)
        if isinstance(weights, np.ndarray):
            weights = (weights,)
        if not isinstance(weights, Iterable) or isinstance(weights, (str, bytes, dict)):
            raise TypeError(
                f"weights must be an array or an iterable of arrays, got {type(weights).__name__}"
            )
        self._source = iter(weights)
        self._left: Any = np.empty(0)
        self._taken = 0

    def take(self, count: int) -> Array:
        """The next ``count`` weights."""
        parts = []
        missing = count
        while missing:
            if not len(self._left):
                self._left = next(self._source, None)
                if self._left is None:
                    raise ValueError(
                        f"weights must be one number per sample, got {self._taken} for more samples"
                    )
                if not isinstance(self._left, np.ndarray) or self._left.ndim != 1:
                    raise ValueError(
                        f"weights must have shape (samples,), got {np.shape(self._left)}"
                    )
                continue
            part = self._left[:missing]
            parts.append(sample_weights(part, offset=self._taken))
            self._left = self._left[missing:]
            self._taken += len(part)
            missing -= len(part)
        return parts[0] if len(parts) == 1 else np.concatenate([np.empty(0), *parts])

    def finish(self) -> None:
        """Raise if there are weights without a sample."""
        more = len(self._left) or sum(np.size(item) for item in self._source)
        if more:
            raise ValueError(
                f"weights must be one number per sample, got more of them than the {self._taken} samples"
            )
