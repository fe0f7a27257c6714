"""Reference nets: small ones that train on a CPU in seconds to minutes, each with and without batch norm.

They return ordinary containers. A convolution or Linear before a norm has no bias (the norm would remove it), and its
ReLU is part of the norm. ``axis=-1`` builds the same net for channels-last images; its parameters have the same shapes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .layers import (
    BatchNorm,
    Concat,
    Conv2d,
    Dropout,
    Flatten,
    GlobalAvgPool,
    Layer,
    Linear,
    MaxPool,
    Residual,
    Sequential,
)
from .layers.init import generator
from .support import checks

__all__ = ["NORMS", "cnn", "inception_small", "mlp", "resnet20"]

NORMS = ("batch", "none")


def mlp(
    in_features: int,
    classes: int,
    hidden: Sequence[int] = (128, 128),
    *,
    norm: str = "batch",
    standardize: bool = True,
    dropout: float = 0.0,
    init: str | float = "kaiming_uniform",
    dtype: npt.DTypeLike = np.float32,
    rng: np.random.Generator | int | None = None,
) -> Sequential:
    """Fully connected net: Flatten, then Linear - norm - ReLU per entry of ``hidden``, then Linear.

    Parameters
    ----------
    in_features : int
        Values per sample; samples of any shape are flattened.
    classes : int
        Size of the output (1 for a regression).
    hidden : sequence of int
        Widths of the hidden layers; may be empty.
    norm : "batch" or "none"
    standardize : bool
        Whether a first BatchNorm without weight and bias standardizes the raw features, also with ``norm="none"``, so
        that both nets see the same input. It folds into the first Linear.
    dropout : float
        Probability of a Dropout before the last Linear, where it disturbs no norm; 0 for none.
    init, dtype, rng
        As for `Linear`.

    Raises
    ------
    ValueError
        For another norm or sizes below 1.
    """
    make = _Maker(norm, 1, init, dtype, rng)
    width = checks.positive_int(in_features, "in_features")
    layers = [Flatten(), *make.standardize(in_features, standardize)]
    for size in hidden:
        layers += make.linear(width, checks.positive_int(size, "hidden"))
        width = size
    return Sequential(*layers, *make.head(width, classes, dropout))


def cnn(
    in_channels: int,
    classes: int,
    widths: Sequence[int] = (16, 32, 64),
    *,
    strides: Sequence[int] | None = None,
    norm: str = "batch",
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
    norm : "batch" or "none"
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
        For another norm or sizes below 1.
    """
    make = _Maker(norm, axis, init, dtype, rng)
    if not widths:
        raise ValueError(f"widths must hold at least one, got {widths!r}")
    if strides is None:
        strides = [1] * (len(widths) - 1) + [2]
    if len(strides) != len(widths):
        raise ValueError(f"strides must hold {len(widths)}, one per width, got {strides!r}")
    layers = make.standardize(in_channels, standardize)
    channels = in_channels
    for width, stride in zip(widths, strides):
        layers += make.conv(channels, width, 3, stride=stride)
        channels = width
    return Sequential(*layers, GlobalAvgPool(axis=axis), *make.head(channels, classes, dropout))


def resnet20(
    in_channels: int = 3,
    classes: int = 10,
    *,
    width: int = 16,
    blocks: int = 3,
    norm: str = "batch",
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
    norm, standardize, axis
        As for `cnn`.
    zero_gamma : bool
        Start every block as the identity (Goyal 2017, arXiv 1706.02677). Only with a norm.
    init, dtype, rng
        As for `Linear`; He's initialization by default.

    Raises
    ------
    ValueError
        For another norm or sizes below 1.
    """
    make = _Maker(norm, axis, init, dtype, rng)
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


def inception_small(
    in_channels: int = 3,
    classes: int = 10,
    *,
    width: float = 0.25,
    norm: str = "batch",
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
    norm, standardize, axis
        As for `cnn`.
    init, dtype, rng
        As for `Linear`.

    Raises
    ------
    ValueError
        For another norm or sizes below 1.
    """
    make = _Maker(norm, axis, init, dtype, rng)
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


@dataclass
class _Maker:
    """What the layers of one net have in common."""

    norm: str
    axis: int
    init: str | float
    dtype: npt.DTypeLike
    rng: Any

    def __post_init__(self) -> None:
        checks.one_of(self.norm, "norm", NORMS)
        self.rng = generator(self.rng)  # one stream for all layers, also from an integer

    def standardize(self, channels: int, wanted: bool) -> list[Layer]:
        """A norm without weight and bias for the raw input, if wanted."""
        if not checks.boolean(wanted, "standardize"):
            return []
        return [BatchNorm(channels, axis=self.axis, affine=False, dtype=self.dtype)]

    def conv(
        self,
        channels: int,
        width: int,
        kernel: int,
        *,
        stride: int = 1,
        relu: bool = True,
        zero_gamma: bool = False,
    ) -> list[Layer]:
        """Convolution, norm if there is one, ReLU if wanted, with the padding that keeps the size at stride 1."""
        activation = "relu" if relu else None
        plain = self.norm == "none"
        conv = Conv2d(
            channels,
            width,
            kernel,
            stride,
            kernel // 2,
            bias=plain,
            axis=self.axis,
            activation=activation if plain else None,
            init=self.init,
            dtype=self.dtype,
            rng=self.rng,
        )
        return [conv] if plain else [conv, self._batch_norm(width, activation, zero_gamma)]

    def linear(self, width: int, size: int) -> list[Layer]:
        """Linear, norm if there is one, ReLU."""
        plain = self.norm == "none"
        activation = "relu" if plain else None
        layer = Linear(
            width,
            size,
            plain,
            activation=activation,
            init=self.init,
            dtype=self.dtype,
            rng=self.rng,
        )
        return [layer] if plain else [layer, self._batch_norm(size, "relu", False)]

    def head(self, width: int, classes: int, dropout: float) -> list[Layer]:
        """The last Linear, with a Dropout before it if wanted."""
        layers: list[Layer] = [] if dropout == 0.0 else [Dropout(dropout, rng=self.rng)]
        layers.append(Linear(width, classes, init=self.init, dtype=self.dtype, rng=self.rng))
        return layers

    def _batch_norm(self, width: int, activation: str | None, zero_gamma: bool) -> BatchNorm:
        return BatchNorm(
            width, axis=self.axis, activation=activation, zero_gamma=zero_gamma, dtype=self.dtype
        )


def _residual(make: _Maker, channels: int, width: int, stride: int, zero_gamma: bool) -> Residual:
    main = [
        *make.conv(channels, width, 3, stride=stride),
        *make.conv(width, width, 3, relu=False, zero_gamma=zero_gamma),
    ]
    shortcut = None
    if stride != 1 or channels != width:
        shortcut = Sequential(*make.conv(channels, width, 1, stride=stride, relu=False))
    return Residual(Sequential(*main), shortcut)


def _scaled(size: int, factor: float) -> int:
    return max(1, round(size * factor))
