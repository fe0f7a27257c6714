"""The fully connected layer: owns weight and bias. The product is functional's."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..functional import linear, linear_backward
from ..support import checks
from .base import Array, Layer
from .init import float_dtype, generator, initial_bias, initial_weight, judge_init
from .registry import register

__all__ = ["Linear"]


@register
class Linear(Layer):
    """``y = act(x · weightᵀ + bias)`` over the last axis of x.

    Parameters
    ----------
    in_features, out_features : int
    bias : bool
    activation : None or "relu"
        Applied in the same pass.
    init : str or float
        ``"kaiming_uniform"`` (PyTorch's default), ``"he_normal"``, ``"xavier"``, or a standard deviation.
    dtype : float32 or float64
    rng : numpy Generator, int or None
        Where initial values come from; None is the generator that `bncore.seed` sets.

    Attributes
    ----------
    weight : ndarray, shape (out_features, in_features)
    bias : ndarray, shape (out_features,), or None
    """

    parameter_names = ("weight", "bias")
    decayed_names = ("weight",)

    weight_grad: Array | None = None
    bias_grad: Array | None = None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        activation: str | None = None,
        init: str | float = "kaiming_uniform",
        dtype: npt.DTypeLike = np.float32,
        rng: np.random.Generator | int | None = None,
    ) -> None:
        self.in_features = checks.positive_int(in_features, "in_features")
        self.out_features = checks.positive_int(out_features, "out_features")
        self.activation = checks.one_of(activation, "activation", (None, "relu"))
        self.init = judge_init(init)
        self.dtype = float_dtype(dtype)
        has_bias = checks.boolean(bias, "bias")
        source = generator(rng)
        shape = (self.out_features, self.in_features)
        self.weight = initial_weight(shape, self.init, self.dtype, source)
        self.bias: Array | None = None
        if has_bias:
            self.bias = initial_bias(self.out_features, shape, self.init, self.dtype, source)

    def forward(self, x: Array) -> Array:
        y, saved = linear(x, self.weight, self.bias, activation=self.activation)
        if self.keeps:
            self._saved = saved
        return y

    def backward(self, dy: Array) -> Array | None:
        saved = self.take_saved()
        dbias = None if self.bias is None else self._gradient("bias")
        dx, _, _ = linear_backward(
            dy, saved, dweight=self._gradient("weight"), dbias=dbias, need_dx=self.input_gradient
        )
        return dx

    def config(self) -> dict[str, Any]:
        return {
            "type": "Linear",
            "in_features": self.in_features,
            "out_features": self.out_features,
            "bias": self.bias is not None,
            "activation": self.activation,
            "init": self.init,
            "dtype": self.dtype.name,
        }

    def brief(self) -> str:
        return f"Linear({self.in_features}, {self.out_features})"

    def describe(self) -> str:
        parts = [str(self.in_features), str(self.out_features)]
        if self.bias is None:
            parts.append("bias=False")
        if self.activation is not None:
            parts.append(f"activation={self.activation!r}")
        return ", ".join(parts)
