"""Inverted dropout on users' arrays. The mask is drawn here, from a NumPy Generator, so that it depends on nothing
but the generator's state: not on the dtype, the layout of memory, the backend or the number of threads.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .. import backend
from ..support import checks
from . import _check

__all__ = ["dropout", "dropout_backward"]


class DropoutSaved(NamedTuple):
    """The mask (one byte per element; None if everything was kept) and the factor of what was kept."""

    shape: tuple[int, ...]
    dtype: np.dtype
    keep: np.ndarray | None
    scale: float


def dropout(
    x: np.ndarray, p: float, rng: np.random.Generator, *, out: np.ndarray | None = None
) -> tuple[np.ndarray, DropoutSaved]:
    """Zero each element with probability p and divide the others by 1 - p (Srivastava 2014).

    Parameters
    ----------
    x : array, float32 or float64
    p : float in [0, 1]
        0 returns a copy and draws nothing; 1 returns zeros and draws nothing.
    rng : numpy.random.Generator
        Advanced by one float32 per element.
    out : array like x, optional
        Receives the result; may be `x` itself.

    Returns
    -------
    y : array like x
        A dropped NaN or infinity becomes NaN, as in PyTorch: dropout does not hide them.
    saved
        For `dropout_backward`; refers to neither `x` nor `y`.
    """
    in_place = out is x
    x = _check.real_array(x, "x")
    p = checks.fraction(p, "p")
    if not isinstance(rng, np.random.Generator):
        raise TypeError(
            f"rng must be a numpy.random.Generator, e.g. np.random.default_rng(0), got {type(rng).__name__}"
        )
    if out is not None:
        out = _check.output(out, x.shape, x.dtype, inputs=() if in_place else (x,))
    if p == 0.0:
        saved = DropoutSaved(x.shape, x.dtype, None, 1.0)
    elif p == 1.0:
        saved = DropoutSaved(x.shape, x.dtype, np.zeros(x.shape, np.bool_), 0.0)
    else:
        keep = rng.random(x.shape, dtype=np.float32) >= np.float32(p)
        saved = DropoutSaved(x.shape, x.dtype, keep, 1.0 / (1.0 - p))
    return _apply(x, saved, out), saved


def dropout_backward(
    dy: np.ndarray, saved: DropoutSaved, *, out: np.ndarray | None = None
) -> np.ndarray:
    """dx = dy / (1 - p) where x was kept, else 0. `out` may be `dy` itself."""
    in_place = out is dy
    dy = _check.fitting(dy, "dy", saved.shape, saved.dtype)
    if out is not None:
        out = _check.output(out, dy.shape, dy.dtype, inputs=() if in_place else (dy,))
    return _apply(dy, saved, out)


def _apply(x: np.ndarray, saved: DropoutSaved, out: Any) -> np.ndarray:
    if saved.keep is not None:
        return backend.active.mask_scale(x, saved.keep, saved.scale, out)
    if out is None:
        return x.copy()
    if out is not x:
        out[...] = x
    return out
