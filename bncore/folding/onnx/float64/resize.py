"""Resize in float64, axis by axis, for runs that tell rounding from error: nearest and linear without antialiasing.

Coordinates as the operator's definition has them; what is not here is left to onnx's slow evaluator.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

__all__ = ["COORDINATES", "NEAREST", "resize"]

NEAREST: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "round_prefer_floor": lambda at: np.ceil(at - 0.5),
    "round_prefer_ceil": lambda at: np.floor(at + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}
COORDINATES = ("half_pixel", "pytorch_half_pixel", "asymmetric", "align_corners")


def resize(
    x: np.ndarray,
    sizes: Sequence[int],
    scales: Sequence[float],
    *,
    mode: str,
    coordinates: str,
    nearest: str,
) -> np.ndarray:
    """x resized to ``sizes``, one entry per axis; ``scales`` are output over input."""
    for axis, (size, scale) in enumerate(zip(sizes, scales)):
        if size == x.shape[axis] and scale == 1:
            continue
        last = x.shape[axis] - 1
        at = _sources(size, last, scale, coordinates)
        if mode == "nearest":
            x = x.take(np.clip(NEAREST[nearest](at), 0, last).astype(int), axis)
            continue
        at = np.clip(at, 0, last)
        low = np.floor(at).astype(int)
        share = (at - low).reshape(-1, *[1] * (x.ndim - axis - 1))
        x = x.take(low, axis) * (1 - share) + x.take(np.minimum(low + 1, last), axis) * share
    return x


def _sources(size: int, last: int, scale: float, coordinates: str) -> np.ndarray:
    """Where in the input each output position lies."""
    at = np.arange(size, dtype=np.float64)
    if coordinates == "asymmetric":
        return at / scale
    if coordinates == "align_corners":
        return at * (last / (size - 1)) if size > 1 else at
    if coordinates == "pytorch_half_pixel" and size == 1:
        return at
    return (at + 0.5) / scale - 0.5
