"""Layer normalization as a layer: owns gamma and beta. The arithmetic is functional's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..functional import layer_norm, layer_norm_backward
from ..support import checks
from .base import Array
from .registry import register
from .row_norm import RowNorm

__all__ = ["LayerNorm"]


@register
class LayerNorm(RowNorm):
    """Layer normalization: every position by the mean and variance of its own features, whatever the batch.

    ``y = act(weight · (x - mean) / sqrt(var + eps) + bias)``, mean and (biased) var over the normalized axes.
    Training and evaluation do the same; a batch of one is a batch like any other.

    Parameters
    ----------
    normalized_shape : int or tuple of int
        Size of the normalized axis, or sizes of several, which are the last ones of the input.
    axis : int
        The one normalized axis. Any other than the last, such as 1 for the channels of channels-first images, costs
        a copy each of x and y (dy and dx).
    eps : float
        Finite, >= 0.
    elementwise_affine : bool
        Whether there are a weight (gamma) and a bias (beta); ``weight=`` and ``bias=`` say it separately.
    activation : None or "relu"
        Applied in the same pass.
    dtype : float32 or float64

    Attributes
    ----------
    weight, bias : ndarray of shape normalized_shape, or None

    Notes
    -----
    Ba, Kiros & Hinton 2016, arXiv 1607.06450. State dicts of PyTorch's LayerNorm load as they are.
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        *,
        axis: int = -1,
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        weight: bool | None = None,
        bias: bool | None = None,
        activation: str | None = None,
        dtype: npt.DTypeLike = np.float32,
    ) -> None:
        affine = checks.boolean(elementwise_affine, "elementwise_affine")
        has_weight = affine if weight is None else checks.boolean(weight, "weight")
        has_bias = affine if bias is None else checks.boolean(bias, "bias")
        super().__init__(normalized_shape, axis, eps, has_weight, has_bias, activation, dtype)

    def forward(self, x: Array) -> Array:
        weight, bias = self.weight, self.bias
        try:
            if weight is None and bias is None:
                self._judge_shape(x)
            y, saved = layer_norm(
                x, weight, bias, axis=self._axes, eps=self.eps, activation=self.activation
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
        return layer_norm_backward(dy, saved, dweight=dweight, dbias=dbias)[0]

    def describe(self) -> str:
        absent = [f"{name}=False" for name in ("weight", "bias") if getattr(self, name) is None]
        return ", ".join([super().describe(), *absent])
