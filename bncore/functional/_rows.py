"""What layer norm and RMS norm share on users' arrays: which axes, judging arguments, the backward pass.

A norm over a single axis that is not the last one works on a copy with that axis moved to the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .. import backend
from ..support import checks
from ._check import like, normalize_axis, optional_like, output, real_array

Array = np.ndarray[Any, Any]


@dataclass(slots=True)
class Moved:
    """The state of a norm over `axis` of x, computed on a copy with that axis last."""

    rows: Any
    x: Array
    axis: int

    @property
    def mean(self) -> Array | None:
        return self.rows.mean

    @property
    def inv_std(self) -> Array:
        return self.rows.inv_std


class Judged(NamedTuple):
    """Canonical arguments. `x` has the axes to normalize last; `moved` says where a single axis stood in the original.
    The backend writes to `target`, which is `out` unless an axis was moved.
    """

    x: Array
    weight: Array | None
    bias: Array | None
    relu: bool
    axis: tuple[int, ...]
    out: Array | None
    target: Array | None
    original: Array
    moved: int | None


def judge(x: Any, weight: Any, bias: Any, axis: Any, activation: Any, out: Any) -> Judged:
    """Canonical arguments, or the error that names the one at fault."""
    checks.one_of(activation, "activation", (None, "relu"))
    x = real_array(x, "x")
    if x.ndim < 1:
        raise ValueError(f"x must have rank >= 1, got shape {x.shape}")
    axes = _axes(axis, x.ndim)
    shape = tuple(x.shape[i] for i in axes)
    weight = optional_like(x, weight, "weight", shape)
    bias = optional_like(x, bias, "bias", shape)
    out = output(out, x.shape, x.dtype, "out", (x, weight, bias))
    trailing = tuple(range(-len(axes), 0))
    relu = activation is not None
    if axes[-1] == x.ndim - 1:
        return Judged(x, weight, bias, relu, trailing, out, out, x, None)
    last = np.ascontiguousarray(np.moveaxis(x, axes[0], -1))
    return Judged(last, weight, bias, relu, trailing, out, None, x, axes[0])


def _axes(axis: Any, ndim: int) -> list[int]:
    """The axes to normalize, counted from the front, in order: one, or the trailing ones."""
    if not isinstance(axis, (tuple, list)):
        return [normalize_axis(axis, ndim)]
    axes = sorted(normalize_axis(a, ndim) for a in axis)
    if not axes or (len(axes) > 1 and axes != list(range(ndim - len(axes), ndim))):
        raise ValueError(
            f"axis must be one axis, or the trailing axes as a tuple like (-2, -1), got {axis!r}"
        )
    return axes


def finish(judged: Judged, result: tuple[Array, Any]) -> tuple[Array, Any]:
    """What the backend returned, put back to where the axis stood."""
    if judged.moved is None:
        return result
    y, rows = result
    return _back(y, judged.moved, judged.out), Moved(rows, judged.original, judged.moved)


def _back(a: Array, axis: int, out: Array | None) -> Array:
    a = np.moveaxis(a, -1, axis)
    if out is None:
        return np.ascontiguousarray(a)
    out[...] = a
    return out


def backward(
    dy: Any, saved: Any, dweight: Any, dbias: Any, out: Any
) -> tuple[Array, Array | None, Array | None]:
    """Gradients of both norms."""
    impl = backend.active
    own = type(saved) is impl.RowsSaved
    if own and impl.JUDGES_ARRAYS:
        try:
            return impl.rows_norm_backward(dy, saved, dweight, dbias, out)
        except (backend.Refused, TypeError):
            pass  # explained, or converted, below
    rows = saved.rows if isinstance(saved, Moved) else saved
    if not hasattr(rows, "squared"):
        raise TypeError(f"saved must be what the forward call returned, got {type(saved).__name__}")
    impl = impl if type(rows) is impl.RowsSaved else backend.numpy
    x, weight, bias = saved.x, rows.weight, rows.bias
    dy = like(x, dy, "dy", x.shape)
    out = output(out, x.shape, x.dtype, "out", (dy, x, rows.x, weight, bias))
    others = (dy, x, rows.x, weight, bias, out)
    if weight is not None:
        dweight = output(dweight, weight.shape, x.dtype, "dweight", others)
    if bias is not None:
        dbias = output(dbias, bias.shape, x.dtype, "dbias", (*others, dweight))
    if rows is saved:
        return impl.rows_norm_backward(dy, rows, dweight, dbias, out)
    last = np.ascontiguousarray(np.moveaxis(dy, saved.axis, -1))
    dx, dweight, dbias = impl.rows_norm_backward(last, rows, dweight, dbias, None)
    return _back(dx, saved.axis, out), dweight, dbias
