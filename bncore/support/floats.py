"""Floating-point storage types by name, bfloat16 included, which NumPy has no word for.

Widens stored values to float64, exactly, and rounds float64 once on the way back. Knows nothing of files or folding.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["FLOATS", "FloatType", "float_type", "narrowed", "widened"]

Array = NDArray[Any]


class FloatType(NamedTuple):
    """What a storage type can hold.

    Attributes
    ----------
    name : str
    stored : dtype
        What its bits are held in: the type itself, or uint16 for bfloat16.
    eps : float
        Distance from 1 to the next larger number.
    tiny, largest : float
        Smallest normal and largest finite number.
    """

    name: str
    stored: np.dtype[Any]
    eps: float
    tiny: float
    largest: float


def _of_numpy(name: str) -> FloatType:
    info = np.finfo(name)
    return FloatType(name, np.dtype(name), float(info.eps), float(info.tiny), float(info.max))


BFLOAT16 = FloatType(
    "bfloat16", np.dtype(np.uint16), 2.0**-7, 2.0**-126, (2.0 - 2.0**-7) * 2.0**127
)
FLOATS = {name: _of_numpy(name) for name in ("float16", "float32", "float64")} | {
    "bfloat16": BFLOAT16
}


def float_type(dtype: Any) -> FloatType:
    """The storage type of that name or dtype (the bfloat16 of ml_dtypes too).

    Raises
    ------
    TypeError
        For any other type.
    """
    name = dtype if isinstance(dtype, str) else np.dtype(dtype).name
    if name not in FLOATS:
        raise TypeError(f"expected one of {', '.join(sorted(FLOATS))}, got {name}")
    return FLOATS[name]


def widened(stored: Array, name: str) -> NDArray[np.float64]:
    """Stored values as float64, always a new array; nothing is rounded."""
    if name == "bfloat16":  # the upper half of a float32
        bits = stored.view(np.uint16).astype(np.uint32) << 16
        stored = bits.view(np.float32)
    with np.errstate(invalid="ignore"):  # a signalling NaN is still only a NaN
        return stored.astype(np.float64)


def narrowed(values: NDArray[np.float64], name: str) -> Array:
    """Float64 values rounded once, to nearest with ties to even, to what `widened` reads; too large becomes infinite."""
    with np.errstate(over="ignore", under="ignore"):
        if name != "bfloat16":
            return values.astype(FLOATS[name].stored)
        # eight significant bits, fewer below the smallest normal number: whole multiples of a power of two, exact in
        # float64. A detour by float32 would round twice
        step = np.maximum(np.frexp(values)[1] - 1, -126) - 7
        near = np.ldexp(np.rint(np.ldexp(values, -step)), step)
        bits = near.astype(np.float32).view(np.uint32) >> 16
    return bits.astype(np.uint16)
