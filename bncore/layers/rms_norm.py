"""RMS normalization as a layer: owns gamma and, if asked for, beta. The arithmetic is functional's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..functional import rms_norm, rms_norm_backward
from ..functional.rms_norm import leading
from ..support import checks
from .base import Array
from .registry import register
from .row_norm import RowNorm

__all__ = ["RMSNorm"]


@register
class RMSNorm(RowNorm):
    """Root mean square normalization: layer normalization without the mean.

    ``y = act(weight · x / sqrt(mean(x²) + eps) + bias)``, the mean over the normalized axes. Training and evaluation do
    the same.

    Parameters
    ----------
    normalized_shape : int or tuple of int
        Size of the normalized axis, or sizes of several, which are the last ones of the input.
    axis : int
        The one normalized axis. Any other than the last costs a copy each of x and y (dy and dx).
    eps : float
        Finite, >= 0.
    elementwise_affine : bool
        Whether there is a weight (gamma); ``weight=`` says the same.
    bias : bool
        Whether there is a bias (beta) as well.
    partial : float or None
        p in (0, 1]: the mean square of the first ``floor(p d)`` of d values stands for that of all (pRMSNorm).
    activation : None or "relu"
        Applied in the same pass.
    dtype : float32 or float64

    Attributes
    ----------
    weight, bias : ndarray of shape normalized_shape, or None

    Notes
    -----
    Zhang & Sennrich 2019, arXiv 1910.07467. State dicts of PyTorch's RMSNorm load as they are; its eps, unless given,
    is the smallest of the dtype, ours 1e-6.
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        *,
        axis: int = -1,
        eps: float = 1e-6,
        elementwise_affine: bool = True,
        weight: bool | None = None,
        bias: bool = False,
        partial: float | None = None,
        activation: str | None = None,
        dtype: npt.DTypeLike = np.float32,
    ) -> None:
        affine = checks.boolean(elementwise_affine, "elementwise_affine")
        has_weight = affine if weight is None else checks.boolean(weight, "weight")
        has_bias = checks.boolean(bias, "bias")
        super().__init__(normalized_shape, axis, eps, has_weight, has_bias, activation, dtype)
        leading(partial, math.prod(self.normalized_shape))  # judges it
        self.partial = None if partial is None else float(partial)

    def forward(self, x: Array) -> Array:
        weight, bias = self.weight, self.bias
        try:
            if weight is None and bias is None:
                self._judge_shape(x)
            y, saved = rms_norm(
                x,
                weight,
                bias,
                axis=self._axes,
                eps=self.eps,
                partial=self.partial,
                activation=self.activation,
            )
        except (TypeError, ValueError) as error:
            self._explain(error, x)
            raise
        if self.keeps:
            self._saved = saved
        return y

    def backward(self, dy: Array) -> Array:
        saved = self.take_saved()
        dweight, dbias = self._gradient_targets()
        return rms_norm_backward(dy, saved, dweight=dweight, dbias=dbias)[0]

    def config(self) -> dict[str, Any]:
        return {**super().config(), "partial": self.partial}

    def describe(self) -> str:
        parts = [super().describe()]
        if self.weight is None:
            parts.append("weight=False")
        if self.bias is not None:
            parts.append("bias=True")
        if self.partial is not None:
            parts.append(f"partial={self.partial:g}")
        return ", ".join(parts)
