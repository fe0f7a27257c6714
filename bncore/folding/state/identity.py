"""The norm that stays when its map has gone elsewhere: it changes nothing, or only adds what no bias could take.

A module that still has its norm loads these values as they are, and computes ``x + shift`` with them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from ...support.floats import narrowed, widened
from ..algebra import Array64, FoldRefused

__all__ = ["Remainder", "remainder"]


class Remainder(NamedTuple):
    """Values of a norm ``x + shift``, one number or (c,) each; weight and bias are None where the norm has none.

    Attributes
    ----------
    error : float
        How far its scale is from 1, as computed in the storage type: 0 almost always.
    """

    weight: float | None
    bias: Array64 | None
    mean: Array64
    var: float
    error: float


def remainder(shift: Array64, eps: float, types: Mapping[str, str]) -> Remainder:
    """Parameters of a norm that computes ``x + shift``.

    ``weight = sqrt(1 + eps)`` with variance 1, if weight/sqrt(variance + eps) is exactly 1 where it is computed; else
    weight 1 with variance ``1 - eps``, if that does better. The shift is the bias; a norm that has none takes
    ``mean = -shift``.

    Parameters
    ----------
    shift : (c,)
    types : mapping
        Storage types by "weight", "bias", "mean", "var", without those that the norm does not have.

    Raises
    ------
    FoldRefused
        For a norm without weight whose eps is above 1.
    """
    options: list[tuple[float, float]] = []
    if "weight" in types:
        options.append((math.sqrt(1.0 + eps), 1.0))
    if eps <= 1.0:
        options.append((1.0, 1.0 - eps))
    if not options:
        raise FoldRefused(f"no variance makes a norm without weight neutral with eps {eps:g}")
    error, weight, var = min(
        ((_error(weight, var, eps, types), weight, var) for weight, var in options),
        key=lambda option: option[0],
    )
    zero = np.zeros_like(shift)
    bias, mean = (shift, zero) if "bias" in types else (None, -shift)
    return Remainder(weight if "weight" in types else None, bias, mean, var, error)


def _error(weight: float, var: float, eps: float, types: Mapping[str, str]) -> float:
    """Largest distance of the scale from 1, in the ways that frameworks compute it: halves in float32."""
    kind = np.float64 if types["var"] == "float64" else np.float32
    w, v = (
        kind(_stored(value, types[name])) if name in types else kind(value)
        for name, value in (("weight", weight), ("var", var))
    )
    std = np.sqrt(v + kind(eps))
    ways = (w / std, w * (kind(1) / std))
    return max(abs(float(way) - 1.0) for way in ways)


def _stored(value: float, name: str) -> float:
    return float(widened(narrowed(np.array([value]), name), name)[0])
