"""Samples as a fit takes them: judged, and part of them held back for validation."""

from __future__ import annotations

import numpy as np

from ..support import checks
from .data.split import stratified_split, train_test_split
from .losses import Loss

__all__ = ["check_samples", "hold_back"]


def check_samples(x_name: str, x: np.ndarray, y_name: str, y: np.ndarray) -> None:
    """Raise unless both are arrays, x of floats, with as many samples in one as in the other."""
    for name, array in ((x_name, x), (y_name, y)):
        if not isinstance(array, np.ndarray) or array.ndim == 0:
            raise TypeError(
                f"{name} must be a NumPy array with samples first, got {type(array).__name__}"
            )
    if x.dtype not in (np.float32, np.float64):
        raise TypeError(
            f"{x_name} must be float32 or float64, got {x.dtype}; convert it first, e.g. "
            f"{x_name}.astype(np.float32)"
        )
    if len(x) != len(y):
        raise ValueError(
            f"{y_name} must have as many targets as {x_name} has samples, got {len(y)} for {len(x)}"
        )
    if not len(x):
        raise ValueError(f"{x_name} must hold at least one sample, got shape {x.shape}")


def hold_back(
    x: np.ndarray,
    y: np.ndarray,
    validation: tuple[np.ndarray, np.ndarray] | float | None,
    judge: Loss,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray] | None]:
    """(x, y) to train on, and what to validate on."""
    if validation is None:
        return x, y, None
    if isinstance(validation, (tuple, list)):
        if len(validation) != 2:
            raise ValueError(
                f"validation must be (xv, yv) or a fraction, got {len(validation)} items"
            )
        xv, yv = validation
        check_samples("xv", xv, "yv", yv)
        return x, y, (xv, yv)
    fraction = checks.finite(validation, "validation")
    if not 0.0 < fraction < 1.0:
        raise ValueError(
            f"validation must be (xv, yv) or a fraction between 0 and 1, got {validation!r}"
        )
    if judge.classification and y.ndim == 1:  # of another shape: the loss will say so
        train, held = stratified_split(y, fraction, rng)
    else:
        train, held = train_test_split(len(x), fraction, rng)
    return x[train], y[train], (x[held], y[held])
