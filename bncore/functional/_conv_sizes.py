"""Sizes of a convolution: users' stride, padding and so on, checked against the arrays, to one `ConvGeometry`.

Arithmetic on shapes and the errors that belong to it; the operations themselves are in conv.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..backend.geometry import ConvGeometry
from . import _check as check

Size = int | Sequence[int]


@dataclass(slots=True)
class Sizes:
    """Stride and so on, one integer per spatial axis."""

    stride: tuple[int, ...]
    padding: tuple[int, ...] | str
    dilation: tuple[int, ...]
    output_padding: tuple[int, ...]


def y_channels(geometry: ConvGeometry, transposed: bool) -> int:
    return geometry.in_channels if transposed else geometry.out_channels


def check_images(
    x: np.ndarray, weight: np.ndarray, spatial: int, groups: int, axis: int, transposed: bool
) -> None:
    """Dimensions, channel counts and groups of x and weight."""
    letters = "hw" if spatial == 2 else "l"
    if x.ndim != 2 + spatial:
        raise ValueError(
            f"x must have {2 + spatial} dimensions (n, channels, {', '.join(letters)} in the order axis says), "
            f"got shape {x.shape}"
        )
    first, second = ("in", "out") if transposed else ("out", "in")
    if weight.ndim != 2 + spatial or 0 in weight.shape:
        kernel = ", ".join(f"k{c}" for c in letters)
        raise ValueError(
            f"weight must have shape ({first}, {second}/groups, {kernel}), all positive, got {weight.shape}"
        )
    if weight.shape[0] % groups:
        raise ValueError(
            f"weight must have a multiple of groups={groups} along axis 0, got shape {weight.shape}"
        )
    channels = x.shape[-1 if check.channels_last(axis, x.ndim) else 1]
    expected = weight.shape[0] if transposed else weight.shape[1] * groups
    if channels != expected:
        raise ValueError(
            f"x must have {expected} channels along axis {axis} for a weight of shape {weight.shape} "
            f"and groups={groups}, got shape {x.shape}"
        )


def conv_geometry(
    x: np.ndarray,
    weight: np.ndarray,
    sizes: Sizes,
    groups: int,
    channels_last: bool,
    transposed: bool,
) -> ConvGeometry:
    """The convolution that reads x, or, if transposed, the one whose input gradient is wanted."""
    x_size = x.shape[1:-1] if channels_last else x.shape[2:]
    kernel = weight.shape[2:]
    padding, ends = _paddings(sizes, kernel)
    axes = zip(x_size, kernel, sizes.stride, padding, ends, sizes.dilation, strict=True)
    if transposed:
        y_size = tuple(
            (size - 1) * s - p - e + d * (k - 1) + extra + 1
            for (size, k, s, p, e, d), extra in zip(axes, sizes.output_padding, strict=True)
        )
        _check_output_padding(sizes)
    else:
        y_size = tuple((size + p + e - d * (k - 1) - 1) // s + 1 for size, k, s, p, e, d in axes)
    if min(x_size) < 1 or min(y_size) < 1:
        raise ValueError(
            f"x of {_times(x_size)} pixels is too small for kernel {_times(kernel)}, stride {sizes.stride}, "
            f"padding {sizes.padding!r}, dilation {sizes.dilation}: the output would have {_times(y_size)} pixels"
        )
    in_size, out_size = (y_size, x_size) if transposed else (x_size, y_size)
    second = weight.shape[1] * groups
    return ConvGeometry(
        batch=x.shape[0],
        in_channels=second,
        in_size=_two(in_size, 1),
        out_channels=weight.shape[0],
        out_size=_two(out_size, 1),
        kernel=_two(kernel, 1),
        stride=_two(sizes.stride, 1),
        padding=_two(padding, 0),
        dilation=_two(sizes.dilation, 1),
        groups=groups,
        channels_last=channels_last,
    )


def _paddings(sizes: Sizes, kernel: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Zeros before and behind each spatial axis."""
    if not isinstance(sizes.padding, str):
        return sizes.padding, sizes.padding
    if any(s != 1 for s in sizes.stride):
        raise ValueError(f'padding="same" needs stride 1, got stride {sizes.stride}')
    totals = [d * (k - 1) for d, k in zip(sizes.dilation, kernel, strict=True)]
    return tuple(t // 2 for t in totals), tuple(t - t // 2 for t in totals)


def _check_output_padding(sizes: Sizes) -> None:
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
