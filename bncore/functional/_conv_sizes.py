"""Sizes of a convolution: users' stride, padding and so on, checked against the arrays, to one `ConvGeometry`.

Arithmetic on shapes and the errors that belong to it; the operations themselves are in conv.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

from ..backend.geometry import ConvGeometry
from ..support import checks
from . import _check as check

Size = int | Sequence[int]


class _Sizes(NamedTuple):
    """Stride and so on, one integer per spatial axis."""

    stride: tuple[int, ...]
    padding: tuple[int, ...] | Literal["same"]
    dilation: tuple[int, ...]
    output_padding: tuple[int, ...]


@lru_cache(maxsize=1024, typed=True)
def plan(
    x_shape: tuple[int, ...],
    weight_shape: tuple[int, ...],
    spatial: int,
    stride: Size,
    padding: Size | str,
    dilation: Size,
    groups: int,
    axis: int,
    transposed: bool,
    output_padding: Size,
) -> tuple[ConvGeometry, tuple[int, ...]]:
    """The geometry of a call and the shape of its output, or the error its sizes deserve.

    A net asks for the same few over and over, hence the cache. The geometry is that of the convolution that reads x,
    or, for a transposed convolution, of the one whose input gradient is wanted.
    """
    groups = checks.integer(groups, "groups", 1)
    last = _check_shapes(x_shape, weight_shape, spatial, groups, axis, transposed)
    sizes = _Sizes(
        checks.int_tuple(stride, "stride", spatial, minimum=1),
        "same" if padding == "same" else checks.int_tuple(padding, "padding", spatial, minimum=0),
        checks.int_tuple(dilation, "dilation", spatial, minimum=1),
        checks.int_tuple(output_padding, "output_padding", spatial, minimum=0),
    )
    x_size = x_shape[1:-1] if last else x_shape[2:]
    y_size, begin = _output_size(x_size, weight_shape[2:], sizes, transposed)
    in_size, out_size = (y_size, x_size) if transposed else (x_size, y_size)
    in_channels, out_channels = weight_shape[1] * groups, weight_shape[0]
    # What is multiplied by 0 only is 1, so that positions fit into 64 bits whatever the user asked for.
    stride = tuple(s if o > 1 else 1 for s, o in zip(sizes.stride, out_size, strict=True))
    dilation = tuple(
        d if k > 1 else 1 for d, k in zip(sizes.dilation, weight_shape[2:], strict=True)
    )
    geometry = ConvGeometry(
        batch=x_shape[0],
        in_channels=in_channels,
        in_size=_two(in_size, 1),
        out_channels=out_channels,
        out_size=_two(out_size, 1),
        kernel=_two(weight_shape[2:], 1),
        stride=_two(stride, 1),
        padding=_two(begin, 0),
        dilation=_two(dilation, 1),
        groups=groups,
        channels_last=last,
    )
    channels = in_channels if transposed else out_channels
    y_shape = (x_shape[0], *y_size, channels) if last else (x_shape[0], channels, *y_size)
    return geometry, y_shape


def _check_shapes(
    x_shape: tuple[int, ...],
    weight_shape: tuple[int, ...],
    spatial: int,
    groups: int,
    axis: int,
    transposed: bool,
) -> bool:
    """Dimensions, channel counts and groups of x and weight; whether the channels come last."""
    letters = "hw" if spatial == 2 else "l"
    if len(x_shape) != 2 + spatial:
        raise ValueError(
            f"x must have {2 + spatial} dimensions (n, channels, {', '.join(letters)} in the order axis says), "
            f"got shape {x_shape}"
        )
    first, second = ("in", "out") if transposed else ("out", "in")
    if len(weight_shape) != 2 + spatial or 0 in weight_shape:
        kernel = ", ".join(f"k{c}" for c in letters)
        raise ValueError(
            f"weight must have shape ({first}, {second}/groups, {kernel}), all positive, got {weight_shape}"
        )
    if weight_shape[0] % groups:
        raise ValueError(
            f"weight must have a multiple of groups={groups} along axis 0, got shape {weight_shape}"
        )
    last = check.channels_last(axis, len(x_shape))
    channels = x_shape[-1 if last else 1]
    expected = weight_shape[0] if transposed else weight_shape[1] * groups
    if channels != expected:
        raise ValueError(
            f"x must have {expected} channels along axis {axis} for a weight of shape {weight_shape} "
            f"and groups={groups}, got shape {x_shape}"
        )
    return last


def _output_size(
    x_size: tuple[int, ...], kernel: tuple[int, ...], sizes: _Sizes, transposed: bool
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Pixels of the output along each axis, and the zeros before the convolution's input."""
    begin, end = _paddings(sizes, kernel)
    axes = zip(x_size, kernel, sizes.stride, begin, end, sizes.dilation, strict=True)
    if transposed:
        _check_output_padding(sizes)
        y_size = tuple(
            (size - 1) * s - p - e + d * (k - 1) + extra + 1
            for (size, k, s, p, e, d), extra in zip(axes, sizes.output_padding, strict=True)
        )
    else:
        y_size = tuple((size + p + e - d * (k - 1) - 1) // s + 1 for size, k, s, p, e, d in axes)
    if min(x_size) < 1 or min(y_size) < 1:
        raise ValueError(
            f"x of {_times(x_size)} pixels is too small for kernel {_times(kernel)}, stride {sizes.stride}, "
            f"padding {sizes.padding!r}, dilation {sizes.dilation}: the output would have {_times(y_size)} pixels"
        )
    return y_size, begin


def _paddings(sizes: _Sizes, kernel: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Zeros before and behind each spatial axis."""
    if not isinstance(sizes.padding, str):
        return sizes.padding, sizes.padding
    if any(s != 1 for s in sizes.stride):
        raise ValueError(f'padding="same" needs stride 1, got stride {sizes.stride}')
    totals = [d * (k - 1) for d, k in zip(sizes.dilation, kernel, strict=True)]
    return tuple(t // 2 for t in totals), tuple(t - t // 2 for t in totals)


def _check_output_padding(sizes: _Sizes) -> None:
    for extra, s, d in zip(sizes.output_padding, sizes.stride, sizes.dilation, strict=True):
        if extra >= max(s, d):
            raise ValueError(
                f"output_padding must be less than stride or dilation along each axis, "
                f"got {sizes.output_padding} with stride {sizes.stride}, dilation {sizes.dilation}"
            )


def _two(sizes: Sequence[int], first: int) -> tuple[int, int]:
    """Sizes of a 2-D image; `first` stands for the height of a 1-D one."""
    return (first, sizes[0]) if len(sizes) == 1 else (sizes[0], sizes[1])


def _times(sizes: Sequence[int]) -> str:
    return "x".join(map(str, sizes))
