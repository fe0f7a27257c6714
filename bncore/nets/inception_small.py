"""The reference net with parallel branches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ..layers import Concat, GlobalAvgPool, MaxPool, Sequential
from ..support import checks
from .maker import Maker

__all__ = ["inception_small"]


def inception_small(
    in_channels: int = 3,
    classes: int = 10,
    *,
    width: float = 0.25,
    norm: str | None = "batch",
    norm_options: Mapping[str, Any] | None = None,
    standardize: bool = False,
    axis: int = 1,
    init: str | float = "kaiming_uniform",
    dtype: npt.DTypeLike = np.float32,
    rng: np.random.Generator | int | None = None,
) -> Sequential:
    """The "small Inception" of Zhang et al. (2016, arXiv 1611.03530, appendix A) for images of about 28x28.

    A 3x3 convolution; blocks of parallel 1x1 and 3x3 convolutions, concatenated; in between, twice, a 3x3 convolution
    with stride 2 beside a 3x3 max pool; global average; Linear. The pools and strided convolutions are padded by one
    (the paper's are not), so that any image size will do.

    Parameters
    ----------
    in_channels, classes : int
    width : float
        Factor on all channel counts of the paper (96 in the first convolution); 1 is the paper's net.
    norm, norm_options, standardize, axis
        As for `cnn`.
    init, dtype, rng
        As for `Linear`.

    Raises
    ------
    ValueError
        For another norm, options it does not take, or sizes below 1.
    """
    make = Maker(norm, norm_options, axis, init, dtype, rng)
    factor = checks.positive(width, "width")
    channels = _scaled(96, factor)
    layers = make.standardize(in_channels, standardize) + make.conv(in_channels, channels, 3)
    # (1x1, 3x3) channels of a block; a single number is the 3x3 convolution beside a pool
    for entry in (
        (32, 32),
        (32, 48),
        80,
        (112, 48),
        (96, 64),
        (80, 80),
        (48, 96),
        96,
        (176, 160),
        (176, 160),
    ):
        if isinstance(entry, int):
            strided = _scaled(entry, factor)
            conv = Sequential(*make.conv(channels, strided, 3, stride=2))
            layers.append(Concat(conv, MaxPool(3, 2, 1, axis=axis), axis=axis))
            channels += strided
        else:
            narrow, wide = (_scaled(size, factor) for size in entry)
            branches = [
                Sequential(*make.conv(channels, size, k)) for size, k in ((narrow, 1), (wide, 3))
            ]
            layers.append(Concat(*branches, axis=axis))
            channels = narrow + wide
    return Sequential(*layers, GlobalAvgPool(axis=axis), *make.head(channels, classes, 0.0))


def _scaled(size: int, factor: float) -> int:
    return max(1, round(size * factor))
