"""What group and instance norm have in common as layers: gamma and beta per channel, and the backward pass.

Not a layer by itself; the arithmetic is functional's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from ..support import checks
from .base import Array, Layer, locate
from .init import float_dtype

__all__ = ["ChannelNorm"]


class ChannelNorm(Layer):
    """A norm of single samples with an optional weight (gamma) and bias (beta) per channel.

    A subclass sets ``channels_name``, the attribute that has the number of channels, and ``_gradients``, the backward
    function of its pair in `functional`.
    """

    parameter_names = ("weight", "bias")
    channels_name: str

    weight_grad: Array | None = None
    bias_grad: Array | None = None
    _gradients: Callable[..., tuple[Array, Array | None, Array | None]]

    def __init__(
        self,
        channels: int,
        axis: int,
        eps: float,
        affine: tuple[bool, bool | None, bool | None],
        activation: str | None,
        dtype: npt.DTypeLike,
    ) -> None:
        """``affine``: for both parameters; None, or what the weight and the bias are to do instead."""
        setattr(self, self.channels_name, checks.positive_int(channels, self.channels_name))
        self.axis = checks.integer(axis, "axis")
        if self.axis == 0:
            raise ValueError("axis must not be 0, which counts samples, got 0")
        self.eps = checks.non_negative(eps, "eps")
        self.activation = checks.one_of(activation, "activation", (None, "relu"))
        self.dtype = float_dtype(dtype)
        both = checks.boolean(affine[0], "affine")
        has_weight = both if affine[1] is None else checks.boolean(affine[1], "weight")
        has_bias = both if affine[2] is None else checks.boolean(affine[2], "bias")
        # also on the instance, where forward finds them faster than on the class
        self.training, self.keeps, self._saved = True, True, None
        self.weight: Array | None = np.ones(channels, self.dtype) if has_weight else None
        self.bias: Array | None = np.zeros(channels, self.dtype) if has_bias else None

    def backward(self, dy: Array) -> Array:
        saved = self.take_saved()
        dweight, dbias = self.weight_grad, self.bias_grad
        if dweight is None and self.weight is not None:
            dweight = self._gradient("weight")
        if dbias is None and self.bias is not None:
            dbias = self._gradient("bias")
        return type(self)._gradients(dy, saved, dweight=dweight, dbias=dbias)[0]

    def _judge_channels(self, x: Any) -> None:
        if not isinstance(x, np.ndarray):
            return
        shape, axis, channels = x.shape, self.axis, getattr(self, self.channels_name)
        if -len(shape) <= axis < len(shape) and shape[axis] != channels:
            error = ValueError(f"x must have {channels} channels on axis {axis}, got shape {shape}")
            locate(error, "", self)
            raise error from None

    def config(self) -> dict[str, Any]:
        return {
            "type": type(self).__name__,
            self.channels_name: getattr(self, self.channels_name),
            "axis": self.axis,
            "eps": self.eps,
            "weight": self.weight is not None,
            "bias": self.bias is not None,
            "activation": self.activation,
            "dtype": self.dtype.name,
        }

    def describe(self) -> str:
        parts = [super().describe(), *self._details()]
        if self.axis != 1:
            parts.insert(1, f"axis={self.axis}")
        for name in ("weight", "bias"):
            if getattr(self, name) is None:
                parts.append(f"{name}=False")
        if self.activation is not None:
            parts.append(f"activation={self.activation!r}")
        return ", ".join(parts)

    def _details(self) -> list[str]:
        """What `repr` tells beside sizes, axis, missing parameters and activation."""
        return [f"eps={self.eps:g}"]
