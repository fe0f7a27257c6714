"""What layer norm and RMS norm share as layers: the normalized shape, gamma and beta, errors, config and text.

Not a layer of its own. They keep no running statistics: training and evaluation do the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..support import checks
from .base import Array, Layer, locate
from .init import float_dtype

__all__ = ["RowNorm"]


class RowNorm(Layer):
    """Base of `LayerNorm` and `RMSNorm`, which define ``forward`` and ``backward``."""

    parameter_names = ("weight", "bias")

    weight_grad: Array | None = None
    bias_grad: Array | None = None

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        axis: int,
        eps: float,
        weight: bool,
        bias: bool,
        activation: str | None,
        dtype: npt.DTypeLike,
    ) -> None:
        self.normalized_shape = _shape(normalized_shape)
        self.axis = checks.integer(axis, "axis")
        if len(self.normalized_shape) > 1 and self.axis != -1:
            raise ValueError(f"axis must be -1 for several normalized axes, got {self.axis}")
        self.eps = checks.non_negative(eps, "eps")
        self.activation = checks.one_of(activation, "activation", (None, "relu"))
        self.dtype = float_dtype(dtype)
        # also on the instance, where forward finds them faster than on the class
        self.training, self.keeps, self._saved = True, True, None
        self._axes: int | tuple[int, ...] = self.axis
        if len(self.normalized_shape) > 1:
            self._axes = tuple(range(-len(self.normalized_shape), 0))
        self.weight: Array | None = np.ones(self.normalized_shape, self.dtype) if weight else None
        self.bias: Array | None = np.zeros(self.normalized_shape, self.dtype) if bias else None

    def _gradient_targets(self) -> tuple[Array | None, Array | None]:
        """Where backward writes the gradients of weight and bias."""
        dweight, dbias = self.weight_grad, self.bias_grad
        if dweight is None and self.weight is not None:
            dweight = self._gradient("weight")
        if dbias is None and self.bias is not None:
            dbias = self._gradient("bias")
        return dweight, dbias

    def _judge_shape(self, x: Any) -> None:
        """What functional cannot know without a weight, and would say less clearly with one."""
        if not isinstance(x, np.ndarray):
            return
        shape, wanted = x.shape, self.normalized_shape
        if len(wanted) > 1 or self.axis == -1:
            wrong = shape[-len(wanted) :] != wanted
            text = f"must have shape (..., {', '.join(map(str, wanted))})"
        else:
            wrong = -len(shape) <= self.axis < len(shape) and shape[self.axis] != wanted[0]
            text = f"must have {wanted[0]} channels on axis {self.axis}"
        if wrong:
            error = ValueError(f"x {text}, got shape {shape}")
            locate(error, "", self)
            raise error from None

    def _explain(self, error: Exception, x: Any) -> None:
        """Puts the layer into an error of functional's; raises a clearer one for a wrong shape."""
        locate(error, "", self)
        self._judge_shape(x)

    def config(self) -> dict[str, Any]:
        shape = self.normalized_shape
        return {
            "type": type(self).__name__,
            "normalized_shape": shape[0] if len(shape) == 1 else list(shape),
            "axis": self.axis,
            "eps": self.eps,
            "weight": self.weight is not None,
            "bias": self.bias is not None,
            "activation": self.activation,
            "dtype": self.dtype.name,
        }

    def brief(self) -> str:
        shape = self.normalized_shape
        return f"{type(self).__name__}({shape[0] if len(shape) == 1 else shape})"

    def describe(self) -> str:
        parts = [super().describe()]
        if self.axis != -1:
            parts.append(f"axis={self.axis}")
        parts.append(f"eps={self.eps:g}")
        if self.activation is not None:
            parts.append(f"activation={self.activation!r}")
        return ", ".join(parts)


def _shape(normalized_shape: Any) -> tuple[int, ...]:
    """One size or several, as a tuple."""
    if isinstance(normalized_shape, (tuple, list)):
        if not normalized_shape:
            raise ValueError("normalized_shape must be an integer or some of them, got none")
        return tuple(checks.positive_int(size, "normalized_shape") for size in normalized_shape)
    return (checks.positive_int(normalized_shape, "normalized_shape"),)
