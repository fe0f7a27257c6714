"""One linear operation of a state dict and the norms it has taken: its new weights, and whether they compute the same."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from ...support.floats import float_type, widened
from ...support.tensors import StateDict
from .absorb import Absorbed, Weights, absorbed, read64
from .check import Check, Operation, compare
from .modules import Linear
from .norms import NormValues

__all__ = ["Side", "Tolerance", "Work"]


class Side(NamedTuple):
    """A norm beside the operation: what it was, and what is left of it (None: nothing)."""

    original: NormValues
    left: NormValues | None


class Tolerance(NamedTuple):
    """Of the check; None is the storage type's own: twice its eps, and some of its smallest numbers."""

    rtol: float | None
    atol: float | None


@dataclass(frozen=True)
class Work:
    """What an operation takes, so far.

    Attributes
    ----------
    linear : Linear
    maps : tuple of Absorbed
    sides : dict
        The norms by "before" and "after".
    new_bias : bool
        Whether it may get a bias that it did not have.
    """

    linear: Linear
    maps: tuple[Absorbed, ...] = ()
    sides: dict[str, Side] = field(default_factory=dict)
    new_bias: bool = False

    @property
    def has_bias(self) -> bool:
        """In the end."""
        shifted = any(taken.affine.offset.any() for taken in self.maps)
        return self.linear.bias is not None or (self.new_bias and shifted)

    @property
    def groups(self) -> int:
        """As far as norms and biases tell; what they do not tell makes no difference to any of this."""
        inner = self.linear.shape[1]  # per group: inputs, or outputs of a transposed convolution
        for taken in self.maps:
            if (taken.reading.kind == "conv_transpose") == (taken.reading.direction == "after"):
                return taken.affine.channels // inner
        transposed = self.maps[0].reading.kind == "conv_transpose"
        return max(self.linear.bias_size // inner, 1) if transposed else 1

    def taking(self, taken: Absorbed, side: Side) -> Work:
        """The same with one more norm."""
        sides = self.sides | {taken.reading.direction: side}
        return replace(self, maps=(*self.maps, taken), sides=sides)

    def weights(self, state: StateDict) -> Weights:
        """The new weight and bias; FoldRefused where the storage type cannot hold them."""
        return absorbed(state, self.linear, self.maps, self.groups, with_bias=self.has_bias)

    def check(self, state: StateDict, weights: Weights, tolerance: Tolerance, seed: int) -> Check:
        """Compare what the file holds with what it will hold, on random patches."""
        linear, kind = self.linear, float_type(self.linear.dtype)
        bias = None if linear.bias is None else read64(state, linear.bias)
        original = self._operation(state.read(linear.weight), bias, left=False)
        bias = None
        if weights.bias is not None:
            stored = linear.dtype if linear.bias is None else state.tensors[linear.bias].dtype
            bias = widened(weights.bias, stored)
        folded = self._operation(weights.weight, bias, left=True)
        rtol, atol = tolerance
        smallest = kind.tiny * kind.eps
        return compare(
            original,
            folded,
            np.random.default_rng(seed),
            2.0 * kind.eps if rtol is None else rtol,
            4.0 * smallest * float(np.prod(original.taps)) if atol is None else atol,
        )

    def _operation(self, weight: np.ndarray, bias: np.ndarray | None, *, left: bool) -> Operation:
        before, after = (
            None if side is None else side.left if left else side.original
            for side in (self.sides.get("before"), self.sides.get("after"))
        )
        transposed = self.maps[0].reading.kind == "conv_transpose"
        dtype = self.linear.dtype
        return Operation(weight, dtype, bias, self.groups, transposed, before, after)
