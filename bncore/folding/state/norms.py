"""A state dict's norms as numbers: read in float64, and written back as what stays when their map has gone elsewhere."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ...support.floats import widened
from ...support.tensors import StateDict
from ..algebra import Affine, Array64, norm_affine, rounded
from .absorb import read64
from .identity import remainder
from .modules import Norm

__all__ = ["NormValues", "StoredNorm", "read_norm", "stored_remainder"]


class NormValues(NamedTuple):
    """A norm in float64: weight, bias, mean and var of shape (c,)."""

    weight: Array64
    bias: Array64
    mean: Array64
    var: Array64
    eps: float

    def affine(self) -> Affine:
        """The norm as the algebra takes it."""
        return norm_affine(self.weight, self.bias, self.mean, self.var, self.eps)

    def __call__(self, x: Array64) -> Array64:
        """The norm in evaluation, channels on axis 1."""
        mean, bias, scale = self._beside(x, self.mean, self.bias, self._scale())
        return (x - mean) * scale + bias

    def size(self, x: Array64) -> Array64:
        """Sum of the absolute values that make up each output, of inputs of absolute value x."""
        mean, bias, scale = self._beside(x, *map(np.abs, (self.mean, self.bias, self._scale())))
        return (x + mean) * scale + bias

    def _scale(self) -> Array64:
        """``weight/sqrt(var + eps)``; a channel without variance and eps is its bias."""
        std = np.sqrt(self.var + self.eps)
        return np.divide(self.weight, std, out=np.zeros_like(std), where=std > 0)

    @staticmethod
    def _beside(x: Array64, *values: Array64) -> tuple[Array64, ...]:
        return tuple(a.reshape((1, -1) + (1,) * (x.ndim - 2)) for a in values)


class StoredNorm(NamedTuple):
    """A norm in its storage types.

    Attributes
    ----------
    tensors : dict
        By name.
    values : NormValues
        The same, widened.
    error : float
        How far its scale is from 1, as computed in the storage type.
    """

    tensors: dict[str, np.ndarray[Any, Any]]
    values: NormValues
    error: float


def read_norm(state: StateDict, norm: Norm, eps: float) -> NormValues:
    """A norm's parameters and statistics; a missing weight is 1, a missing bias 0."""
    mean, var = read64(state, norm.mean), read64(state, norm.var)
    weight = np.ones_like(mean) if norm.weight is None else read64(state, norm.weight)
    bias = np.zeros_like(mean) if norm.bias is None else read64(state, norm.bias)
    return NormValues(weight, bias, mean, var, eps)


def stored_remainder(state: StateDict, norm: Norm, shift: Array64, eps: float) -> StoredNorm:
    """The norm ``x + shift`` in the tensors of ``norm``.

    Raises
    ------
    FoldRefused
        When no values of these tensors make such a norm.
    """
    names = {"weight": norm.weight, "bias": norm.bias, "mean": norm.mean, "var": norm.var}
    types = {key: state.tensors[name].dtype for key, name in names.items() if name is not None}
    found = remainder(shift, eps, types)
    tensors: dict[str, np.ndarray[Any, Any]] = {}
    values: dict[str, Array64] = {"weight": np.ones_like(shift), "bias": np.zeros_like(shift)}
    for key, kind in types.items():
        array = np.broadcast_to(np.asarray(getattr(found, key), np.float64), shift.shape)
        stored = rounded(array, kind, f"norm's {key}", subnormal_share=1.0)
        tensors[str(names[key])] = stored
        values[key] = widened(stored, kind)
    return StoredNorm(tensors, NormValues(**values, eps=eps), found.error)
