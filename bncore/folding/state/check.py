"""Does a folded pair still compute the same? The formulas of norm and operation on random patches, in float64.

Uses nothing of the algebra: the stored results are compared with what the stored originals compute one after another.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ...support.floats import widened
from ..algebra import Array64
from .norms import NormValues

__all__ = ["Check", "Operation", "compare"]

PATCHES = 32
BLOCK = 1 << 20  # weights at a time
NOISE = 64 * np.finfo(np.float64).eps  # of sums of many thousand terms, which mostly cancels


class Check(NamedTuple):
    """How far a folded operation is from the original one.

    Attributes
    ----------
    max_abs_error : float
        Largest ``|folded - original|``.
    max_rel_error : float
        Largest of these over the sum of the absolute values that make up the output: rounding alone gives half the
        storage type's eps.
    agrees : bool
        Whether every difference is within the tolerance.
    """

    max_abs_error: float
    max_rel_error: float
    agrees: bool


class Operation(NamedTuple):
    """A linear operation in float64 between two norms, either of which may be missing.

    Attributes
    ----------
    weight : array
        As stored.
    dtype : str
        What it is stored in.
    bias : (out,) or None
    groups : int
    transposed : bool
    before, after : NormValues or None
    """

    weight: np.ndarray[Any, Any]
    dtype: str
    bias: Array64 | None
    groups: int
    transposed: bool
    before: NormValues | None
    after: NormValues | None

    @property
    def taps(self) -> tuple[int, ...]:
        """Size of one patch: (in, taps of the kernel)."""
        inputs = self.weight.shape[0] if self.transposed else self.weight.shape[1] * self.groups
        return inputs, math.prod(self.weight.shape[2:])

    def __call__(self, patches: Array64) -> Array64:
        """One output (n, out) of every patch (n, in, taps)."""
        x = patches if self.before is None else self.before(patches)
        y = self._linear(x)
        if self.bias is not None:
            y += self.bias
        return y if self.after is None else self.after(y)

    def size(self, patches: Array64) -> Array64:
        """Sum of the absolute values that make up each output, (n, out)."""
        x = np.abs(patches)
        y = self._linear(x if self.before is None else self.before.size(x), absolute=True)
        if self.bias is not None:
            y += np.abs(self.bias)
        return y if self.after is None else self.after.size(y)

    def _linear(self, x: Array64, *, absolute: bool = False) -> Array64:
        """The products of patches and weights, some outputs at a time: no copy of a large weight is made."""
        n, groups = len(x), self.groups
        w = self.weight.reshape(
            groups, -1, *self.weight.shape[1:2], math.prod(self.weight.shape[2:])
        )
        w = w.swapaxes(1, 2) if self.transposed else w  # (groups, out, in, taps)
        outputs = w.shape[1]
        rows = x.reshape(n, groups, -1).swapaxes(0, 1)
        y = np.empty((groups, n, outputs))
        step = max(1, BLOCK // max(1, w[:, :1].size))
        for begin in range(0, outputs, step):
            part = widened(w[:, begin : begin + step], self.dtype)
            part = (np.abs(part) if absolute else part).reshape(groups, part.shape[1], -1)
            y[:, :, begin : begin + step] = rows @ part.swapaxes(1, 2)
        return y.swapaxes(0, 1).reshape(n, -1)


def compare(
    original: Operation, folded: Operation, rng: np.random.Generator, rtol: float, atol: float
) -> Check:
    """Run both on random patches, spread as a norm before them expects.

    They agree where ``|folded - original| <= atol + rtol·size``, size as in `Operation.size` of the folded one, and as
    much again as float64 itself may be off here.
    """
    patches = rng.standard_normal((PATCHES, *original.taps))
    if original.before is not None:
        std = np.sqrt(np.maximum(original.before.var, 0.0))
        patches = patches * std[:, None] + original.before.mean[:, None]
    error = np.abs(folded(patches) - original(patches))
    size = folded.size(patches)
    relative = np.divide(error, size, out=np.zeros_like(error), where=size > 0)
    noise = NOISE * original.size(patches)
    agrees = bool((error <= atol + rtol * size + noise).all())  # a NaN does not
    return Check(float(error.max(initial=0.0)), float(relative.max(initial=0.0)), agrees)
