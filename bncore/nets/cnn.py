"""The plain convolutional reference net."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..layers import GlobalAvgPool, Sequential
from .maker import Maker

__all__ = ["cnn"]


def cnn(
    in_channels: int,
    classes: int,
    widths: Sequence[int] = (16, 32, 64),
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
    """Convolutional net: 3x3 convolution - norm - ReLU per entry of ``widths``, global average, Linear.

    Any image size will do.

    Parameters
    ----------
    in_channels, classes : int
    widths : sequence of int
        Channels of the convolutions, at least one.
    strides : sequence of int, as many as ``widths``, or None
        None halves height and width in the last convolution only. Halving from the second one on, ``(1, 2, 2)``, is
        much less work on large images.
    norm : one of `bncore.nets.NORMS`
        ``"layer"`` and ``"rms"`` normalize the channels of every position, ``"group"`` groups of about 8 channels of a
        sample, ``"instance"`` every channel of a sample.
    norm_options : mapping, optional
        Further arguments of every norm's constructor, ``{"momentum": 0.01}`` say.
    standardize : bool
        Whether a first BatchNorm without weight and bias standardizes each channel of the raw images. Nets with norms
        do without: their first norm removes the input's scale, and before a padded convolution this one cannot be
        folded exactly, its zeros being no longer the mean.
    dropout : float
        Probability of a Dropout before the Linear; 0 for none.
    axis : 1 or -1
        Channels first or last.
    init, dtype, rng
        As for `Linear`.

    Raises
    ------
    ValueError
        For another norm, options it does not take, or sizes below 1.
    """
    make = Maker(norm, norm_options, axis, init, dtype, rng)
    layers = make.standardize(in_channels, standardize)
    channels = in_channels
    for width, stride in zip(widths, make.strides(widths, strides)):
        layers += make.conv(channels, width, 3, stride=stride)
        channels = width
    return Sequential(*layers, GlobalAvgPool(axis=axis), *make.head(channels, classes, dropout))
