"""What one linear operation of a state dict becomes: the maps it takes, in float64, and one rounding at the end.

The arithmetic is algebra.py's; here is which rule of it a kind and a side need.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ...support.floats import widened
from ...support.tensors import StateDict
from .. import algebra
from ..algebra import Affine, Array64
from .modules import Linear
from .readings import Reading

__all__ = ["Absorbed", "Weights", "absorbed", "read64"]


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
    weight = read64(state, linear.weight)
    bias = None if linear.bias is None else read64(state, linear.bias)
    if not np.isfinite(weight).all() or (bias is not None and not np.isfinite(bias).all()):
        raise algebra.FoldRefused(f"{linear.path} holds NaN or infinity")
    outputs = (
        linear.shape[1] * groups if maps[0].reading.kind == "conv_transpose" else linear.shape[0]
    )
    if bias is not None and bias.shape != (outputs,):
        raise algebra.FoldRefused(f"{linear.bias} has shape {list(bias.shape)}, not [{outputs}]")
    for taken in maps:
        weight, bias = _apply(weight, bias, taken, groups)
    stored = algebra.rounded(weight, linear.dtype, "weight")
    if not with_bias:
        assert bias is None or not bias.any()
        return Weights(stored, None)
    dtype = linear.dtype if linear.bias is None else state.tensors[linear.bias].dtype
    assert bias is not None
    return Weights(stored, algebra.rounded(bias, dtype, "bias", subnormal_share=1.0))


def read64(state: StateDict, name: str) -> Array64:
    """A tensor's values in float64."""
    kind = state.tensors[name].dtype
    if kind not in ("float16", "bfloat16", "float32", "float64"):
        raise algebra.FoldRefused(f"{name} is of type {kind}")
    return widened(state.read(name), kind)


def _apply(
    weight: Array64, bias: Array64 | None, taken: Absorbed, groups: int
) -> tuple[Array64, Array64]:
    affine, (kind, direction) = taken
    if kind == "conv_transpose":
        if direction == "after":
            return algebra.into_transposed_output(weight, bias, affine, groups=groups)
        return algebra.into_transposed_input(weight, bias, affine, groups=groups)
    if direction == "after":
        return algebra.into_output(weight, bias, affine)
    return algebra.into_input(weight, bias, affine, groups=groups)
