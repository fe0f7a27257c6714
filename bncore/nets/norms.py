"""The norms a reference net can be built with: one line each in a table. The layers themselves are in `bncore.layers`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy.typing as npt

from .. import layers
from ..layers import Layer
from ..support import checks

__all__ = ["NORMS", "NormMaker"]

Constructor = Callable[..., Layer]


def _groups(channels: int) -> int:
    """How many groups of 8 channels, or of the next larger number that divides them."""
    size = next(size for size in range(min(8, channels), channels + 1) if channels % size == 0)
    return channels // size


# name -> (class, the arguments that follow from the number of channels)
_TABLE: dict[str, tuple[Constructor, Callable[[int], dict[str, int]]]] = {
    "batch": (layers.BatchNorm, lambda c: {"num_features": c}),
    "renorm": (layers.BatchRenorm, lambda c: {"num_features": c}),
    "layer": (layers.LayerNorm, lambda c: {"normalized_shape": c}),
    "rms": (layers.RMSNorm, lambda c: {"normalized_shape": c}),
    "group": (layers.GroupNorm, lambda c: {"num_groups": _groups(c), "num_channels": c}),
    "instance": (layers.InstanceNorm, lambda c: {"num_features": c, "affine": True}),
}
NORMS = ("batch", "none", "renorm", "layer", "rms", "group", "instance")

OVER_SAMPLES = ("batch", "renorm")
REMOVES_BIAS = (*OVER_SAMPLES, "instance")
"""What subtracts every channel's mean, so that a bias in front of it would have no effect."""

# decided by the net, not by norm_options
_DECIDED = (
    "num_features",
    "num_channels",
    "normalized_shape",
    "axis",
    "activation",
    "zero_gamma",
    "dtype",
)


class NormMaker:
    """Makes the norms of one net, all of one kind.

    Parameters
    ----------
    kind : one of `NORMS`, or None, which is "none"
    axis : int
        The channel axis.
    options : mapping
        Further arguments of the norm's constructor.

    Raises
    ------
    TypeError, ValueError
        For another kind, and for options its constructor does not take.
    """

    def __init__(
        self,
        kind: str | None,
        axis: int,
        dtype: npt.DTypeLike,
        options: Mapping[str, Any] | None,
    ) -> None:
        self.kind: str = "none" if kind is None else checks.one_of(kind, "norm", NORMS)
        self.axis, self.dtype = axis, dtype
        if options is not None and not isinstance(options, Mapping):
            raise TypeError(
                f"norm_options must be a mapping of names to values, got {type(options).__name__}"
            )
        self.options = dict(options or {})
        self._judge_options()

    @property
    def plain(self) -> bool:
        """Whether there is no norm."""
        return self.kind == "none"

    @property
    def removes_bias(self) -> bool:
        """Whether a bias right before the norm would be without effect."""
        return self.kind in REMOVES_BIAS

    def __call__(
        self, channels: int, activation: str | None = None, *, zero_gamma: bool = False
    ) -> Layer:
        """The norm behind an operation with so many output channels."""
        make, sizes = _TABLE[self.kind]
        how = {"axis": self.axis, "activation": activation, "dtype": self.dtype}
        norm = make(**{**sizes(channels), **how, **self.options})
        if zero_gamma:
            weight = getattr(norm, "weight", None)
            if weight is None:
                raise ValueError("zero_gamma must be False without a weight, got True")
            weight[...] = 0.0
        return norm

    def standardizer(self, channels: int) -> Layer:
        """A norm over samples without weight and bias, for raw input."""
        make: Constructor = layers.BatchNorm
        options: dict[str, Any] = {}
        if self.kind in OVER_SAMPLES:
            make, options = _TABLE[self.kind][0], self.options
        how = {"axis": self.axis, "dtype": self.dtype}
        bare = {"affine": False, "weight": None, "bias": None}
        return make(channels, **{**options, **how, **bare})

    def _judge_options(self) -> None:
        if self.plain:
            if self.options:
                raise ValueError(f"norm_options must be empty with norm='none', got {self.options}")
            return
        taken = [n for n in inspect.signature(_TABLE[self.kind][0]).parameters if n not in _DECIDED]
        for name in self.options:
            if name not in taken:
                raise ValueError(
                    f"norm_options with norm={self.kind!r} must be among {', '.join(taken)}, got {name!r}"
                )
