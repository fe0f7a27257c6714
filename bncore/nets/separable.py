"""The reference net of depthwise separable convolutions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..layers import GlobalAvgPool, Sequential
from ..support import checks
from .maker import Maker

__all__ = ["separable"]


def separable(
    in_channels: int,
    classes: int,
    widths: Sequence[int] = (32, 64, 128),
    *,
    strides: Sequence[int] | None = None,
    norm: str | None = "batch",
    norm_options: Mapping[str, Any] | None = None,
    standardize: bool = False,
    dropout: float = 0.0,
    axis: int = 1,
    init: str | float = "kaiming_uniform",
    dtype: npt.DTypeLike = np.float32,
    rng: np.random.Generator | int | None = None,
) -> Sequential:
    """Net of depthwise separable convolutions, as MobileNet (Howard et al. 2017, arXiv 1704.04861), for small images.

    A 3x3 convolution - norm - ReLU to ``widths[0]``; then per further width a 3x3 convolution of every channel by
    itself - norm - ReLU, and a 1x1 convolution - norm - ReLU to that width; global average; Linear. Any image size
    will do.

    Parameters
    ----------
    in_channels, classes : int
    widths : sequence of int
        Channels of the first convolution and behind every pair of a depthwise and a 1x1 one, at least one.
    strides : sequence of int, as many as ``widths``, or None
        Of the first convolution and of the depthwise ones. None halves height and width in the last one only.
    norm, norm_options, standardize, dropout, axis
        As for `cnn`.
    init, dtype, rng
        As for `Linear`.

    Raises
    ------
    ValueError
        For another norm, options it does not take, or sizes below 1.
    """
    make = Maker(norm, norm_options, axis, init, dtype, rng)
    steps = make.strides(widths, strides)
    channels = checks.positive_int(widths[0], "widths")
    layers = make.standardize(in_channels, standardize)
    layers += make.conv(in_channels, channels, 3, stride=steps[0])
    for width, stride in zip(widths[1:], steps[1:]):
        layers += make.conv(channels, channels, 3, stride=stride, groups=channels)
        layers += make.conv(channels, width, 1)
        channels = width
    return Sequential(*layers, GlobalAvgPool(axis=axis), *make.head(channels, classes, dropout))
