"""Whether 3x3 convolutions may be computed in Winograd's way: a switch for the compiled core."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from . import backend
from .support.checks import boolean

__all__ = ["winograd"]


@contextmanager
def winograd(enabled: bool) -> Iterator[None]:
    """Allows or forbids Winograd's way for convolutions inside a ``with`` block, in the whole process.

    The compiled core computes convolutions with 3x3 kernels, stride 1, dilation 1 and at least 16 channels a group by
    F(2x2, 3x3) (Lavin & Gray 2015, arXiv 1509.09308): 16 products in place of 36. Results differ by rounding: sums of
    integers are no longer exact, and an infinite input gives NaN where the plain sum gives infinity. Forbid it where
    that matters. The environment variable ``BNCORE_WINOGRAD=0`` forbids it from the start.

    Parameters
    ----------
    enabled : bool

    Raises
    ------
    TypeError
        If `enabled` is not a bool.
    """
    enabled = boolean(enabled, "enabled")
    native = backend.native_module()
    if native is None:  # NumPy sums the products as they stand
        yield
        return
    before = native.winograd_allowed()
    native.set_winograd(enabled)
    try:
        yield
    finally:
        native.set_winograd(before)
