"""Convolution layers: own weight and bias, laid out as in PyTorch. The arithmetic is functional's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ..functional import (
    conv1d,
    conv1d_backward,
    conv2d,
    conv2d_backward,
    conv_transpose2d,
    conv_transpose2d_backward,
)
from ..support import checks
from .base import Array, Layer
from .init import float_dtype, generator, initial_bias, initial_weight, judge_init
from .registry import register

__all__ = ["Conv1d", "Conv2d", "ConvTranspose2d"]

Size = int | Sequence[int]


class _Convolution(Layer):
    """What the three have in common: arguments, weights, text."""

    parameter_names = ("weight", "bias")
    decayed_names = ("weight",)
    spatial: ClassVar[int]
    transposed: ClassVar[bool] = False
    _op: ClassVar[Callable[..., tuple[Array, Any]]]
    _op_backward: ClassVar[Callable[..., tuple[Array | None, ...]]]

    weight_grad: Array | None = None
    bias_grad: Array | None = None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size | str = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        axis: int = 1,
        activation: str | None = None,
        init: str | float = "kaiming_uniform",
        dtype: npt.DTypeLike = np.float32,
        rng: np.random.Generator | int | None = None,
    ) -> None:
        k = self.spatial
        self.in_channels = checks.positive_int(in_channels, "in_channels")
        self.out_channels = checks.positive_int(out_channels, "out_channels")
        self.kernel_size = checks.int_tuple(kernel_size, "kernel_size", k, minimum=1)
        self.stride = checks.int_tuple(stride, "stride", k, minimum=1)
        self.dilation = checks.int_tuple(dilation, "dilation", k, minimum=1)
        self.padding: tuple[int, ...] | str
        if isinstance(padding, str) and not self.transposed:
            self.padding = checks.one_of(padding, "padding", ("same",))
            if any(step != 1 for step in self.stride):
                raise ValueError(f"padding: 'same' needs stride 1, got stride {self.stride}")
        else:
            self.padding = checks.int_tuple(padding, "padding", k)
        self.groups = checks.positive_int(groups, "groups")
        for name, channels in (
            ("in_channels", self.in_channels),
            ("out_channels", self.out_channels),
        ):
            if channels % self.groups:
                raise ValueError(
                    f"{name} must be a multiple of groups={self.groups}, got {channels}"
                )
        self.axis = checks.one_of(axis, "axis", (1, -1))
        self.activation = checks.one_of(activation, "activation", (None, "relu"))
        self.init = judge_init(init)
        self.dtype = float_dtype(dtype)
        has_bias = checks.boolean(bias, "bias")
        outer, inner = self.out_channels, self.in_channels // self.groups
        if self.transposed:
            outer, inner = self.in_channels, self.out_channels // self.groups
        shape = (outer, inner, *self.kernel_size)
        source = generator(rng)
        self.weight = initial_weight(shape, self.init, self.dtype, source)
        self.bias: Array | None = None
        if has_bias:
            self.bias = initial_bias(self.out_channels, shape, self.init, self.dtype, source)

    def forward(
        self, x: Array, residual: Array | None = None, activation: str | None = None
    ) -> Array:
        """y; ``residual`` is added before the activation, ``activation`` used where the layer has none."""
        y, saved = self._op(
            x,
            self.weight,
            self.bias,
            residual=residual,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
            axis=self.axis,
            activation=self.activation or activation,
            **self._more(),
        )
        if self.keeps:
            self._saved = saved
        return y

    def backward(self, dy: Array) -> Any:
        """dx, or (dx, dresidual) if forward was given a residual."""
        saved = self.take_saved()
        dweight = self._gradient("weight")
        dbias = None if self.bias is None else self._gradient("bias")
        gradients = self._op_backward(
            dy, saved, dweight=dweight, dbias=dbias, need_dx=self.input_gradient
        )
        return gradients[0] if len(gradients) == 3 else (gradients[0], gradients[3])

    def accepts_residual(self) -> bool:
        return self.activation is None

    def _more(self) -> dict[str, Any]:
        """Arguments of the functional operation that only one of these layers has."""
        return {}

    def config(self) -> dict[str, Any]:
        return {
            "type": type(self).__name__,
            "in_channels": self.in_channels,
            "out_channels": self.out_channels,
            "kernel_size": list(self.kernel_size),
            "stride": list(self.stride),
            "padding": self.padding if isinstance(self.padding, str) else list(self.padding),
            "dilation": list(self.dilation),
            "groups": self.groups,
            "bias": self.bias is not None,
            "axis": self.axis,
            "activation": self.activation,
            "init": self.init,
            "dtype": self.dtype.name,
        }

    def brief(self) -> str:
        size = _plain(self.kernel_size)
        return f"{type(self).__name__}({self.in_channels}, {self.out_channels}, {size})"

    def describe(self) -> str:
        parts = [
            str(self.in_channels),
            str(self.out_channels),
            f"kernel_size={_plain(self.kernel_size)}",
        ]
        for name, default in (
            ("stride", 1),
            ("padding", 0),
            ("dilation", 1),
            ("output_padding", 0),
        ):
            value = getattr(self, name, default)
            shown = _plain(value)
            if shown != str(default):
                parts.append(f"{name}={shown}")
        if self.groups != 1:
            parts.append(f"groups={self.groups}")
        if self.bias is None:
            parts.append("bias=False")
        if self.axis != 1:
            parts.append(f"axis={self.axis}")
        if self.activation is not None:
            parts.append(f"activation={self.activation!r}")
        return ", ".join(parts)


@register
class Conv2d(_Convolution):
    """Cross-correlation over (n, c, h, w), or (n, h, w, c) with ``axis=-1``.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride, dilation : int or one per spatial axis
    padding : int, one per spatial axis, or "same"
        Zeros on both sides; "same" keeps height and width (stride 1 only).
    groups : int
        Divides both channel counts; ``groups=in_channels`` is a depthwise convolution.
    bias : bool
        Superfluous right before a batch norm.
    axis : 1 or -1
    activation : None or "relu"
        Applied in the same pass.
    init, dtype, rng
        As for `Linear`.

    Attributes
    ----------
    weight : ndarray, shape (out_channels, in_channels / groups, kernel height, kernel width), whatever the axis
    bias : ndarray, shape (out_channels,), or None
    """

    spatial = 2
    _op = staticmethod(conv2d)
    _op_backward = staticmethod(conv2d_backward)


@register
class Conv1d(_Convolution):
    """Cross-correlation over (n, c, length), or (n, length, c) with ``axis=-1``. Parameters as for `Conv2d`."""

    spatial = 1
    _op = staticmethod(conv1d)
    _op_backward = staticmethod(conv1d_backward)


@register
class ConvTranspose2d(_Convolution):
    """Transposed convolution: the map from a `Conv2d`'s output gradient to its input gradient, plus bias.

    Parameters as for `Conv2d`, in the order of PyTorch's (``output_padding`` after ``padding``); ``padding`` takes
    numbers only.

    Parameters
    ----------
    output_padding : int or one per spatial axis
        Rows and columns added at the end of the output; smaller than the stride or the dilation.

    Attributes
    ----------
    weight : ndarray, shape (in_channels, out_channels / groups, kernel height, kernel width)
    bias : ndarray, shape (out_channels,), or None
    """

    spatial = 2
    transposed = True
    _op = staticmethod(conv_transpose2d)
    _op_backward = staticmethod(conv_transpose2d_backward)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        output_padding: Size = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Size = 1,
        **others: Any,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            bias,
            **others,
        )
        self.output_padding = checks.int_tuple(output_padding, "output_padding", self.spatial)
        for more, step, gap in zip(self.output_padding, self.stride, self.dilation):
            if more >= max(step, gap):
                raise ValueError(
                    f"output_padding must be less than stride {self.stride} or dilation {self.dilation}, "
                    f"got {self.output_padding}"
                )

    def _more(self) -> dict[str, Any]:
        return {"output_padding": self.output_padding}

    def config(self) -> dict[str, Any]:
        return {**super().config(), "output_padding": list(self.output_padding)}


def _plain(value: str | int | tuple[int, ...]) -> str:
    """3 rather than (3, 3)."""
    if isinstance(value, tuple):
        return str(value[0]) if len(set(value)) == 1 else str(value)
    return repr(value) if isinstance(value, str) else str(value)
