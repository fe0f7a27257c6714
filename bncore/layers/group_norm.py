"""Group normalization as a layer: owns gamma and beta. The arithmetic is functional's."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..functional import group_norm, group_norm_backward
from ..support import checks
from .base import Array, locate
from .channel_norm import ChannelNorm
from .registry import register

__all__ = ["GroupNorm"]


@register
class GroupNorm(ChannelNorm):
    """Group normalization of every sample by itself, for input of any rank >= 2.

    ``y = act(weight · (x - mean) / sqrt(var + eps) + bias)``, mean and biased var being those of a sample's group of
    ``num_channels / num_groups`` neighbouring channels, over all of space. Training and evaluation are the same.

    Parameters
    ----------
    num_groups : int
        Must divide `num_channels`. 1 is layer norm over channels and space, `num_channels` instance norm.
    num_channels : int
    axis : int
        The channel axis, not 0, which counts samples: 1 is channels-first, -1 channels-last.
    eps : float
        Finite, >= 0.
    affine : bool
        Whether there are a weight (gamma) and a bias (beta); ``weight=`` and ``bias=`` say it separately.
    activation : None or "relu"
        Applied in the same pass.
    dtype : float32 or float64

    Attributes
    ----------
    weight, bias : ndarray of shape (num_channels,), or None

    Notes
    -----
    Wu & He 2018, arXiv 1803.08494. A group of one value gives the bias.
    """

    channels_name = "num_channels"
    num_channels: int
    _gradients = group_norm_backward

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        *,
        axis: int = 1,
        eps: float = 1e-5,
        affine: bool = True,
        weight: bool | None = None,
        bias: bool | None = None,
        activation: str | None = None,
        dtype: npt.DTypeLike = np.float32,
    ) -> None:
        self.num_groups = checks.positive_int(num_groups, "num_groups")
        super().__init__(num_channels, axis, eps, (affine, weight, bias), activation, dtype)
        if self.num_channels % self.num_groups:
            raise ValueError(
                f"num_groups must divide num_channels, got {num_groups} for {num_channels} channels"
            )

    def forward(self, x: Array) -> Array:
        weight, bias = self.weight, self.bias
        try:
            if weight is None and bias is None:  # no array tells how many channels
                self._judge_channels(x)
            y, saved = group_norm(
                x,
                self.num_groups,
                weight,
                bias,
                axis=self.axis,
                eps=self.eps,
                activation=self.activation,
            )
        except (TypeError, ValueError) as error:
            locate(error, "", self)
            self._judge_channels(x)  # clearer than what functional says of the weight
            raise
        if self.keeps:
            self._saved = saved
        return y

    def config(self) -> dict[str, Any]:
        return super().config() | {"num_groups": self.num_groups}

    def brief(self) -> str:
        return f"GroupNorm({self.num_groups}, {self.num_channels})"
