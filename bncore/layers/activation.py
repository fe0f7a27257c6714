"""Elementwise activations as layers. Where one follows a norm, convolution or Linear, prefer ``activation="relu"``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from ..functional import (
    gelu,
    gelu_backward,
    leaky_relu,
    leaky_relu_backward,
    relu,
    relu_backward,
    sigmoid,
    sigmoid_backward,
    silu,
    silu_backward,
    tanh,
    tanh_backward,
)
from ..support import checks
from .base import Array, Layer
from .registry import register

__all__ = ["GELU", "LeakyReLU", "ReLU", "SiLU", "Sigmoid", "Tanh"]


class _Activation(Layer):
    _op: ClassVar[Callable[..., tuple[Array, Any]]]
    _op_backward: ClassVar[Callable[..., Array]]

    def forward(self, x: Array) -> Array:
        y, saved = self._op(x, *self._arguments())
        if self.keeps:
            self._saved = saved
        return y

    def backward(self, dy: Array) -> Array:
        return self._op_backward(dy, self.take_saved())

    def _arguments(self) -> tuple[Any, ...]:
        """What the functional operation takes after x."""
        return ()

    def config(self) -> dict[str, Any]:
        return {"type": type(self).__name__}


@register
class ReLU(_Activation):
    """``max(x, 0)``."""

    _op = staticmethod(relu)
    _op_backward = staticmethod(relu_backward)


@register
class LeakyReLU(_Activation):
    """``x`` where positive, ``negative_slope · x`` elsewhere."""

    _op = staticmethod(leaky_relu)
    _op_backward = staticmethod(leaky_relu_backward)

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = checks.finite(negative_slope, "negative_slope")

    def _arguments(self) -> tuple[Any, ...]:
        return (self.negative_slope,)

    def config(self) -> dict[str, Any]:
        return {**super().config(), "negative_slope": self.negative_slope}

    def brief(self) -> str:
        return f"LeakyReLU({self.negative_slope:g})"


@register
class GELU(_Activation):
    """``x · Φ(x)``, Φ the normal distribution; ``approximate="tanh"`` is the usual approximation (arXiv 1606.08415)."""

    _op = staticmethod(gelu)
    _op_backward = staticmethod(gelu_backward)

    def __init__(self, approximate: str = "none") -> None:
        self.approximate = checks.one_of(approximate, "approximate", ("none", "tanh"))

    def _arguments(self) -> tuple[Any, ...]:
        return (self.approximate,)

    def config(self) -> dict[str, Any]:
        return {**super().config(), "approximate": self.approximate}

    def describe(self) -> str:
        return "" if self.approximate == "none" else f"approximate={self.approximate!r}"


@register
class SiLU(_Activation):
    """``x · sigmoid(x)``, also called Swish."""

    _op = staticmethod(silu)
    _op_backward = staticmethod(silu_backward)


@register
class Sigmoid(_Activation):
    """``1 / (1 + exp(-x))``."""

    _op = staticmethod(sigmoid)
    _op_backward = staticmethod(sigmoid_backward)


@register
class Tanh(_Activation):
    """The hyperbolic tangent."""

    _op = staticmethod(tanh)
    _op_backward = staticmethod(tanh_backward)
