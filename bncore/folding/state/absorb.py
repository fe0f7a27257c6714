"""What one linear operation of a state dict becomes: the maps it takes, in float64, and one rounding at the end.

The arithmetic is algebra.py's; here is which rule of it a kind and a side need.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ...support.floats import FLOATS, widened
from ...support.tensors import StateDict
from .. import algebra
from ..algebra import Affine, Array64
from .modules import Linear
from .readings import Reading

__all__ = ["Absorbed", "Weights", "absorbed", "judge_type", "read64"]

SLAB = 1 << 20  # weights in float64 at a time


class Absorbed(NamedTuple):
    """A map that a linear operation takes; where it has no room for a bias, a map without offset."""

    affine: Affine
    reading: Reading


@dataclass(frozen=True, eq=False)
class Weights:
    """Stored values of a linear operation; bias is None where there is none."""

    weight: np.ndarray[Any, Any]
    bias: np.ndarray[Any, Any] | None


def absorbed(
    state: StateDict,
    linear: Linear,
    maps: Sequence[Absorbed],
    groups: int,
    *,
    with_bias: bool,
) -> Weights:
    """The operation's new weight and bias in their storage types.

    Parameters
    ----------
    with_bias : bool
        Whether the result has a bias, of the weight's type where there was none. Without one no map may have an
        offset.

    Raises
    ------
    FoldRefused
        When the storage type cannot hold the result.
    """
    bias = None if linear.bias is None else read64(state, linear.bias)
    transposed = maps[0].reading.kind == "conv_transpose"
    outputs = linear.shape[1] * groups if transposed else linear.shape[0]
    if bias is not None and bias.shape != (outputs,):
        raise algebra.FoldRefused(f"{linear.bias} has shape {list(bias.shape)}, not [{outputs}]")
    judge_type(linear.weight, linear.dtype)
    weight = state.read(linear.weight)
    new, new_bias = np.empty_like(weight), np.empty(outputs)
    lost = nonzero = 0
    # the weight in parts, or it would be there in float64 several times; a transposed one has its outputs inside
    whole = transposed or groups > 1
    for part in [slice(None)] if whole else _slabs(weight):
        values = widened(weight[part], linear.dtype)
        shift = None if bias is None else bias[part]
        if not np.isfinite(values).all() or (shift is not None and not np.isfinite(shift).all()):
            raise algebra.FoldRefused(f"{linear.path} holds NaN or infinity")
        for taken in maps:
            values, shift = _apply(values, shift, taken, groups, part)
        new[part] = algebra.rounded(values, linear.dtype, "weight", subnormal_share=1.0)
        new_bias[part] = shift
        found = algebra.subnormals(values, linear.dtype)
        lost, nonzero = lost + found[0], nonzero + found[1]
    algebra.judge_subnormals(lost, nonzero, linear.dtype, "weight")
    if not with_bias:
        assert not new_bias.any()
        return Weights(new, None)
    dtype = linear.dtype if linear.bias is None else state.tensors[linear.bias].dtype
    return Weights(new, algebra.rounded(new_bias, dtype, "bias", subnormal_share=1.0))


def _slabs(weight: np.ndarray[Any, Any]) -> Iterator[slice]:
    """Runs of outputs."""
    rows = max(1, SLAB // max(1, weight[:1].size))
    yield from (slice(begin, begin + rows) for begin in range(0, len(weight), rows))


def judge_type(name: str, kind: str) -> None:
    """Refuse what is not of a floating type."""
    if kind not in FLOATS:
        raise algebra.FoldRefused(f"{name} is of type {kind}")


def read64(state: StateDict, name: str) -> Array64:
    """A tensor's values in float64."""
    kind = state.tensors[name].dtype
    judge_type(name, kind)
    return widened(state.read(name), kind)


def _apply(
    weight: Array64, bias: Array64 | None, taken: Absorbed, groups: int, part: slice
) -> tuple[Array64, Array64]:
    """One map into some of the outputs."""
    affine, (kind, direction) = taken
    if kind == "conv_transpose":
        if direction == "after":
            return algebra.into_transposed_output(weight, bias, affine, groups=groups)
        return algebra.into_transposed_input(weight, bias, affine, groups=groups)
    if direction == "after":
        own = Affine(affine.scale[part], affine.center[part], affine.shift[part])
        return algebra.into_output(weight, bias, own)
    return algebra.into_input(weight, bias, affine, groups=groups)
