"""What the reference nets share: a convolution or Linear with its norm, the standardized input, the last layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..layers import Conv2d, Dropout, Layer, Linear, ReLU, Sigmoid, Tanh
from ..layers.init import generator
from ..support import checks
from .norms import NormMaker

__all__ = ["ACTIVATIONS", "Maker"]

# by name; a ReLU is part of the layer in front of it
ACTIVATIONS: dict[str, type[Layer]] = {"relu": ReLU, "sigmoid": Sigmoid, "tanh": Tanh}


class Maker:
    """Makes the layers of one net.

    Parameters
    ----------
    norm, norm_options
        See `NormMaker`.
    axis, init, dtype, rng
        As the layers take them. One stream of random numbers for all layers, also from an integer.
    """

    def __init__(
        self,
        norm: str | None,
        norm_options: Mapping[str, Any] | None,
        axis: int,
        init: str | float,
        dtype: npt.DTypeLike,
        rng: np.random.Generator | int | None,
    ) -> None:
        self.norm = NormMaker(norm, axis, dtype, norm_options)
        self.axis, self.init, self.dtype = axis, init, dtype
        self.rng = generator(rng)

    def standardize(self, channels: int, wanted: bool) -> list[Layer]:
        """A norm without weight and bias for the raw input, if wanted."""
        if not checks.boolean(wanted, "standardize"):
            return []
        return [self.norm.standardizer(channels)]

    def strides(self, widths: Sequence[int], strides: Sequence[int] | None) -> Sequence[int]:
        """One per width; None halves height and width in the last one only."""
        if not widths:
            raise ValueError(f"widths must hold at least one, got {widths!r}")
        if strides is None:
            return [1] * (len(widths) - 1) + [2]
        if len(strides) != len(widths):
            raise ValueError(f"strides must hold {len(widths)}, one per width, got {strides!r}")
        return strides

    def conv(
        self,
        channels: int,
        width: int,
        kernel: int,
        *,
        stride: int = 1,
        groups: int = 1,
        relu: bool = True,
        zero_gamma: bool = False,
    ) -> list[Layer]:
        """Convolution, norm if there is one, ReLU if wanted, with the padding that keeps the size at stride 1."""
        activation = "relu" if relu else None
        plain = self.norm.plain
        conv = Conv2d(
            channels,
            width,
            kernel,
            stride,
            kernel // 2,
            groups=groups,
            bias=not self.norm.removes_bias,
            axis=self.axis,
            activation=activation if plain else None,
            init=self.init,
            dtype=self.dtype,
            rng=self.rng,
        )
        return [conv] if plain else [conv, self.norm(width, activation, zero_gamma=zero_gamma)]

    def linear(self, width: int, size: int, activation: str, placement: str) -> list[Layer]:
        """Linear, norm if there is one, activation; with placement "after" the norm comes last."""
        plain, behind = self.norm.plain, placement == "after"
        relu = "relu" if activation == "relu" else None
        layer = Linear(
            width,
            size,
            behind or not self.norm.removes_bias,
            activation=relu if plain or behind else None,
            init=self.init,
            dtype=self.dtype,
            rng=self.rng,
        )
        own = [] if relu else [ACTIVATIONS[activation]()]
        if plain:
            return [layer, *own]
        return [layer, *own, self.norm(size)] if behind else [layer, self.norm(size, relu), *own]

    def head(self, width: int, classes: int, dropout: float) -> list[Layer]:
        """The last Linear, with a Dropout before it if wanted."""
        layers: list[Layer] = [] if dropout == 0.0 else [Dropout(dropout, rng=self.rng)]
        layers.append(Linear(width, classes, init=self.init, dtype=self.dtype, rng=self.rng))
        return layers
