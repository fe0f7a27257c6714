"""Checks shared by the operations of ``functional``: arrays, outputs, axes, sizes.

Each returns what it checked in the form the backend takes, or raises a TypeError or ValueError that names the
argument, what was expected and what came. Nothing here computes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..support import checks

FLOAT32 = np.dtype(np.float32)
FLOAT64 = np.dtype(np.float64)


def real_array(x: Any, name: str) -> np.ndarray:
    """`x` as the backend takes it: float32 or float64, native byte order, aligned, C-contiguous.

    An array that is so already is returned as it is, any other layout is copied once. Values are never converted:
    a wrong dtype raises.
    """
    if type(x) is not np.ndarray:
        if not isinstance(x, np.ndarray) or isinstance(x, np.ma.MaskedArray):
            raise TypeError(
                f"{name} must be a NumPy array of float32 or float64, got {type(x).__name__}; "
                f"convert it first, e.g. np.asarray({name}, dtype=np.float32)"
            )
        x = np.asarray(x)
    if x.dtype is not FLOAT32 and x.dtype is not FLOAT64:
        x = _native_real(x, name)
    flags = x.flags
    if not flags.c_contiguous:
        return np.ascontiguousarray(x)
    return x if flags.aligned else x.copy()


def _native_real(x: np.ndarray, name: str) -> np.ndarray:
    """`x` in native byte order; a TypeError unless it is a float32 or float64 array in disguise."""
    dtype = x.dtype.newbyteorder("=")
    if dtype != FLOAT32 and dtype != FLOAT64:
        if dtype.kind in "iubf":
            wide = (
                "float64"
                if dtype.itemsize > 4 or (dtype.kind == "f" and dtype.itemsize > 8)
                else "float32"
            )
            hint = f"; convert it first, e.g. {name}.astype(np.{wide})"
        else:
            hint = ""
        raise TypeError(f"{name} must be float32 or float64, got {x.dtype}{hint}")
    return x.astype(FLOAT32 if dtype == FLOAT32 else FLOAT64, copy=False)


def like(x: np.ndarray, a: Any, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """`a` as the backend takes it, checked to have `shape` and the dtype of `x` (an array already checked)."""
    return fitting(a, name, shape, x.dtype)


def fitting(a: Any, name: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """`a` as the backend takes it, checked to have `shape` and `dtype`, those of an input or of a forward call."""
    a = real_array(a, name)
    if a.dtype != dtype:
        raise TypeError(
            f"{name} must have dtype {dtype} like the input, got {a.dtype}; convert one of the two, "
            f"e.g. the input to np.{a.dtype}"
        )
    if a.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {a.shape}")
    return a


def optional_like(x: np.ndarray, a: Any, name: str, shape: tuple[int, ...]) -> np.ndarray | None:
    """`like`, with None passed through."""
    return None if a is None else like(x, a, name, shape)


def output(
    out: Any,
    shape: tuple[int, ...],
    dtype: np.dtype,
    name: str = "out",
    inputs: Iterable[np.ndarray | None] = (),
) -> np.ndarray | None:
    """`out` if a result of `shape` and `dtype` can be written straight into it; None passes (the backend allocates).

    `inputs` are arrays the result must not overlap, because they are read while it is written or kept for the
    backward pass.
    """
    if out is None:
        return None
    if not isinstance(out, np.ndarray) or isinstance(out, np.ma.MaskedArray):
        raise TypeError(f"{name} must be a NumPy array, got {type(out).__name__}")
    if out.dtype != dtype or not out.dtype.isnative:
        raise TypeError(f"{name} must have dtype {dtype}, got {out.dtype}")
    if out.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {out.shape}")
    flags = out.flags
    if not flags.writeable:
        raise ValueError(f"{name} must be writable, got a read-only array")
    if not flags.c_contiguous or not flags.aligned:
        raise ValueError(f"{name} must be C-contiguous and aligned, got strides {out.strides}")
    for other in inputs:
        # Both are contiguous, so the cheap comparison of bounds is exact.
        if other is not None and np.may_share_memory(out, other):
            raise ValueError(f"{name} must not overlap an input, got memory shared with one")
    return out if type(out) is np.ndarray else np.asarray(out)  # a memmap, say: the same memory


def normalize_axis(axis: Any, ndim: int, name: str = "axis") -> int:
    """`axis` counted from the front."""
    number = checks.integer(axis, name)
    if not -ndim <= number < ndim:
        raise ValueError(
            f"{name} must lie in [{-ndim}, {ndim}) for {ndim} dimensions, got {number}"
        )
    return number % ndim


def channels_last(axis: Any, ndim: int) -> bool:
    """Whether `axis` names the last dimension (True) or dimension 1 (False), the two layouts of images."""
    number = normalize_axis(axis, ndim)
    if number not in (1, ndim - 1):
        raise ValueError(f"axis must be 1 (channels first) or -1 (channels last), got {axis!r}")
    return number == ndim - 1


def gradients(
    dweight: Any,
    dbias: Any,
    weight: np.ndarray,
    bias_shape: tuple[int, ...] | None,
    inputs: tuple[np.ndarray | None, ...],
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Arrays given for parameter gradients, checked like `output`; `bias_shape` None says there was no bias."""
    inputs = (*inputs, weight)
    dweight = output(dweight, weight.shape, weight.dtype, "dweight", inputs)
    if bias_shape is None:
        if dbias is not None:
            raise ValueError("dbias must be None when the forward call had no bias")
        return dweight, None
    return dweight, output(dbias, bias_shape, weight.dtype, "dbias", (*inputs, dweight))
