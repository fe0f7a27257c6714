"""Random changes to training images, opt-in: ``fit(augment=...)``.

A callable ``(batch, rng) -> batch`` that leaves its input alone.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..support import checks

__all__ = ["Augment", "names", "resolve", "shift"]

Augment = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def shift(pixels: int = 1, *, axis: int = 1) -> Augment:
    """Each image moved by up to ``pixels`` in each direction, zeros moving in.

    ``axis`` is that of the channels, 1 or -1.
    """
    reach = checks.positive_int(pixels, "pixels")
    checks.one_of(axis, "axis", (1, -1))

    def shifted(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        if x.ndim != 4:
            raise ValueError(f"augment: shift expects images of rank 4, got shape {x.shape}")
        images = x if axis == -1 else x.transpose(0, 2, 3, 1)
        n, height, width, _ = images.shape
        padded = np.pad(images, ((0, 0), (reach, reach), (reach, reach), (0, 0)))
        top, left = rng.integers(0, 2 * reach + 1, (2, n, 1, 1))
        rows = top + np.arange(height)[:, np.newaxis]
        columns = left + np.arange(width)
        moved = padded[np.arange(n)[:, np.newaxis, np.newaxis], rows, columns]
        return moved if axis == -1 else np.ascontiguousarray(moved.transpose(0, 3, 1, 2))

    return shifted


_NAMED: dict[str, Callable[[], Augment]] = {"shift": shift}


def names() -> tuple[str, ...]:
    """The names :func:`resolve` knows."""
    return tuple(_NAMED)


def resolve(augment: str | Augment | None) -> Augment | None:
    """An augmentation from its name, or a callable as it is."""
    if isinstance(augment, str):
        if augment not in _NAMED:
            raise ValueError(f"augment must be one of {', '.join(_NAMED)}, got {augment!r}")
        return _NAMED[augment]()
    if augment is not None and not callable(augment):
        raise TypeError(
            f"augment must be a name or a callable (batch, rng) -> batch, got {augment!r}"
        )
    return augment
