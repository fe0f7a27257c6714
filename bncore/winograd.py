"""Whether 3x3 convolutions may be computed in Winograd's way: a switch for the compiled core."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from . import backend

__all__ = ["winograd"]

LARGEST = 4  # outputs a side of a tile


@contextmanager
def winograd(enabled: bool | int) -> Iterator[None]:
    """Allows or forbids Winograd's way for convolutions inside a ``with`` block, in the whole process.

    The compiled core computes convolutions with 3x3 kernels, stride 1, dilation 1 and at least 16 channels a group by
    F(4x4, 3x3) or F(2x2, 3x3) (Lavin & Gray 2015, arXiv 1509.09308): 36 products in place of 144, or 16 in place of 36,
    whichever are fewer. Results differ by rounding, by two to three times the rounding error of the plain sum with the
    large tiles, by less than it with the small ones; sums of integers are no longer exact, and an infinite input gives
    NaN where the plain sum gives infinity. Forbid it where that matters. The environment variable ``BNCORE_WINOGRAD``
    (0, 1, 2 or 4) says it from the start.

    Parameters
    ----------
    enabled : bool or int
        False (or 0) forbids it, True allows it, 2 and 4 allow tiles of up to so many outputs a side: 4 is what True means.

    Raises
    ------
    TypeError, ValueError
        If `enabled` is no bool and not 0, 2 or 4.
    """
    tile = _tile(enabled)
    native = backend.native_module()
    if native is None:  # NumPy sums the products as they stand
        yield
        return
    before = native.winograd_allowed()
    native.set_winograd(tile)
    try:
        yield
    finally:
        native.set_winograd(before)


def _tile(enabled: bool | int) -> int:
    if isinstance(enabled, (bool, np.bool_)):
        return LARGEST if enabled else 0
    if not isinstance(enabled, (int, np.integer)):
        raise TypeError(f"enabled must be a bool, 0, 2 or 4, got {type(enabled).__name__}")
    if enabled not in (0, 2, LARGEST):
        raise ValueError(f"enabled must be a bool, 0, 2 or 4, got {enabled}")
    return int(enabled)
