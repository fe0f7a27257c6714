"""The residual reference net."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ..layers import GlobalAvgPool, Residual, Sequential
from ..support import checks
from .maker import Maker

__all__ = ["resnet20"]


def resnet20(
    in_channels: int = 3,
    classes: int = 10,
    *,
    width: int = 16,
    blocks: int = 3,
    norm: str | None = "batch",
    norm_options: Mapping[str, Any] | None = None,
    standardize: bool = False,
    zero_gamma: bool = False,
    axis: int = 1,
    init: str | float = "he_normal",
    dtype: npt.DTypeLike = np.float32,
    rng: np.random.Generator | int | None = None,
) -> Sequential:
    """The residual net for CIFAR of He et al. (2015, arXiv 1512.03385, section 4.2) with 6·blocks + 2 layers.

    A 3x3 convolution, three stages of residual blocks with width, 2·width and 4·width channels, global average, Linear.
    Where the shape changes the shortcut is a 1x1 convolution with stride 2 and its norm (the paper's option B; its
    CIFAR nets used option A, zero padding, which has 2.8 thousand parameters less).

    Parameters
    ----------
    in_channels, classes : int
    width : int
        Channels of the first stage.
    blocks : int
        Residual blocks per stage: 3 for ResNet-20, 5 for 32, 9 for 56.
    norm, norm_options, standardize, axis
        As for `cnn`.
    zero_gamma : bool
        Start every block as the identity (Goyal 2017, arXiv 1706.02677). Only with a norm.
    init, dtype, rng
        As for `Linear`; He's initialization by default.

    Raises
    ------
    ValueError
        For another norm, options it does not take, or sizes below 1.
    """
    make = Maker(norm, norm_options, axis, init, dtype, rng)
    checks.positive_int(blocks, "blocks")
    if checks.boolean(zero_gamma, "zero_gamma") and norm == "none":
        raise ValueError("zero_gamma must be False with norm='none', got True")
    channels = checks.positive_int(width, "width")
    layers = make.standardize(in_channels, standardize) + make.conv(in_channels, channels, 3)
    for stage in range(3):
        size = width * 2**stage
        for block in range(blocks):
            stride = 2 if stage > 0 and block == 0 else 1
            layers.append(_residual(make, channels, size, stride, zero_gamma))
            channels = size
    return Sequential(*layers, GlobalAvgPool(axis=axis), *make.head(channels, classes, 0.0))


def _residual(make: Maker, channels: int, width: int, stride: int, zero_gamma: bool) -> Residual:
    main = [
        *make.conv(channels, width, 3, stride=stride),
        *make.conv(width, width, 3, relu=False, zero_gamma=zero_gamma),
    ]
    shortcut = None
    if stride != 1 or channels != width:
        shortcut = Sequential(*make.conv(channels, width, 1, stride=stride, relu=False))
    return Residual(Sequential(*main), shortcut)
