"""One limit for all threads of a computation: OpenMP's and the BLAS library's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from .support.checks import positive_int


@cache
def _controller() -> Any:
    """Made once: finding the libraries costs fifty times as much as setting their limits."""
    from threadpoolctl import ThreadpoolController

    from . import backend

    backend.native_module()  # it brings OpenMP along, which would not be found before
    return ThreadpoolController()


@contextmanager
def threads(n: int | None) -> Iterator[None]:
    """Limits OpenMP and BLAS to `n` threads inside a ``with`` block.

    Parameters
    ----------
    n : int or None
        At least 1; None changes nothing. Results do not depend on it: the same bits come out for any number.

    Raises
    ------
    TypeError, ValueError
        If `n` is not a positive integer.
    """
    if n is None:
        yield
        return
    with _controller().limit(limits=positive_int(n, "n")):
        yield
