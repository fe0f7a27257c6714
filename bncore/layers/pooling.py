"""Pooling layers over one or two spatial axes, and Flatten. Nothing to train."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from ..functional import (
    avg_pool,
    avg_pool_backward,
    global_avg_pool,
    global_avg_pool_backward,
    global_max_pool,
    global_max_pool_backward,
    max_pool,
    max_pool_backward,
)
from ..support import checks
from .base import Array, Layer
from .registry import register

__all__ = ["AvgPool", "Flatten", "GlobalAvgPool", "GlobalMaxPool", "MaxPool"]

Size = int | Sequence[int]


class _Pool(Layer):
    """Windows: one size for all spatial axes, or one per axis; the input's rank says how many axes there are."""

    _op: ClassVar[Callable[..., tuple[Array, Any]]]
    _op_backward: ClassVar[Callable[..., Array]]

    def __init__(
        self, kernel_size: Size, stride: Size | None = None, padding: Size = 0, *, axis: int = 1
    ) -> None:
        self.kernel_size = _size(kernel_size, "kernel_size", 1)
        self.stride = None if stride is None else _size(stride, "stride", 1)
        self.padding = _size(padding, "padding", 0)
        self.axis = checks.one_of(axis, "axis", (1, -1))

    def forward(self, x: Array) -> Array:
        y, saved = self._op(
            x,
            self.kernel_size,
            stride=self.stride,
            padding=self.padding,
            axis=self.axis,
            **self._more(),
        )
        if self.keeps:
            self._saved = saved
        return y

    def backward(self, dy: Array) -> Array:
        return self._op_backward(dy, self.take_saved())

    def _more(self) -> dict[str, Any]:
        """Arguments of the functional operation that only one of these layers has."""
        return {}

    def config(self) -> dict[str, Any]:
        return {
            "type": type(self).__name__,
            "kernel_size": _json(self.kernel_size),
            "stride": _json(self.stride),
            "padding": _json(self.padding),
            "axis": self.axis,
        }

    def brief(self) -> str:
        return f"{type(self).__name__}({self.kernel_size})"

    def describe(self) -> str:
        parts = [str(self.kernel_size)]
        if self.stride is not None:
            parts.append(f"stride={self.stride}")
        if self.padding:
            parts.append(f"padding={self.padding}")
        if self.axis != 1:
            parts.append(f"axis={self.axis}")
        return ", ".join(parts)


@register
class MaxPool(_Pool):
    """The largest value of each window; padding never wins.

    Parameters
    ----------
    kernel_size : int or one per spatial axis
    stride : int, one per spatial axis, or None
        None is the kernel size: windows side by side.
    padding : int or one per spatial axis
        At most half the kernel size.
    axis : 1 or -1
        The channel axis. Input (n, c, length) or (n, c, h, w), or the same with channels last.
    """

    _op = staticmethod(max_pool)
    _op_backward = staticmethod(max_pool_backward)


@register
class AvgPool(_Pool):
    """The mean of each window. Parameters as for `MaxPool`.

    Parameters
    ----------
    count_include_pad : bool
        Whether padding counts as zeros (as PyTorch's default) or not at all.
    """

    _op = staticmethod(avg_pool)
    _op_backward = staticmethod(avg_pool_backward)

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        *,
        count_include_pad: bool = True,
        axis: int = 1,
    ) -> None:
        super().__init__(kernel_size, stride, padding, axis=axis)
        self.count_include_pad = checks.boolean(count_include_pad, "count_include_pad")

    def _more(self) -> dict[str, Any]:
        return {"count_include_pad": self.count_include_pad}

    def config(self) -> dict[str, Any]:
        return {**super().config(), "count_include_pad": self.count_include_pad}

    def describe(self) -> str:
        return super().describe() + ("" if self.count_include_pad else ", count_include_pad=False")


class _GlobalPool(Layer):
    _op: ClassVar[Callable[..., tuple[Array, Any]]]
    _op_backward: ClassVar[Callable[..., Array]]

    def __init__(self, *, axis: int = 1) -> None:
        self.axis = checks.one_of(axis, "axis", (1, -1))

    def forward(self, x: Array) -> Array:
        y, saved = self._op(x, axis=self.axis)
        if self.keeps:
            self._saved = saved
        return y

    def backward(self, dy: Array) -> Array:
        return self._op_backward(dy, self.take_saved())

    def config(self) -> dict[str, Any]:
        return {"type": type(self).__name__, "axis": self.axis}

    def describe(self) -> str:
        return "" if self.axis == 1 else f"axis={self.axis}"


@register
class GlobalAvgPool(_GlobalPool):
    """The mean of each channel over all spatial axes: (n, c, ...) to (n, c)."""

    _op = staticmethod(global_avg_pool)
    _op_backward = staticmethod(global_avg_pool_backward)


@register
class GlobalMaxPool(_GlobalPool):
    """The largest value of each channel over all spatial axes: (n, c, ...) to (n, c)."""

    _op = staticmethod(global_max_pool)
    _op_backward = staticmethod(global_max_pool_backward)


@register
class Flatten(Layer):
    """(n, ...) to (n, features), in memory order: channels-last input comes out pixel by pixel, not channel by channel.

    A view of a contiguous input.
    """

    def forward(self, x: Array) -> Array:
        if x.ndim < 1:
            raise ValueError(f"x must have rank >= 1, got shape {x.shape}")
        if self.keeps:
            self._saved = x.shape
        return x.reshape(x.shape[0], math.prod(x.shape[1:]))

    def backward(self, dy: Array) -> Array:
        return dy.reshape(self.take_saved())

    def config(self) -> dict[str, Any]:
        return {"type": "Flatten"}


def _size(value: Size, name: str, minimum: int) -> int | tuple[int, ...]:
    if isinstance(value, (tuple, list)):
        return checks.int_tuple(value, name, len(value), minimum=minimum)
    return checks.int_tuple(value, name, 1, minimum=minimum)[0]


def _json(value: int | tuple[int, ...] | None) -> int | list[int] | None:
    return list(value) if isinstance(value, tuple) else value
