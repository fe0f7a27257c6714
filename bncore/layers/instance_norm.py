"""Instance normalization as a layer: owns gamma, beta and the running statistics. The arithmetic is functional's."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..functional import instance_norm, instance_norm_backward
from ..support import checks
from .base import Array, locate
from .channel_norm import ChannelNorm
from .registry import register

__all__ = ["InstanceNorm"]


@register
class InstanceNorm(ChannelNorm):
    """Instance normalization: every channel of every sample by itself, for input of any rank >= 3 with some space.

    ``y = act(weight · (x - mean) / sqrt(var + eps) + bias)``, mean and biased var being those of one channel of one
    sample. With running statistics evaluation uses these, like batch norm's; without, it is the same as training.

    Parameters
    ----------
    num_features : int
        Number of channels c.
    axis : int
        The channel axis, not 0, which counts samples: 1 is channels-first, -1 channels-last.
    eps : float
        Finite, >= 0.
    momentum : float or None
        Weight of the **new** batch: ``running = (1 - momentum)·running + momentum·batch``, the batch's mean and
        variance being the averages over its samples. None: cumulative average, every batch since the last
        `reset_running_stats` weighs the same (PyTorch's None leaves the running statistics alone).
    affine : bool
        Whether there are a weight (gamma) and a bias (beta); ``weight=`` and ``bias=`` say it separately.
    track_running_stats : bool
    unbiased : bool
        Running variance from ``var·m/(m-1)`` (as PyTorch) or from ``var``, m values an instance.
    activation : None or "relu"
        Applied in the same pass.
    dtype : float32 or float64

    Attributes
    ----------
    weight, bias, running_mean, running_var : ndarray of shape (c,), or None
    num_batches_tracked : int
        Updates of the running statistics (PyTorch's instance norm has the counter, but never moves it).

    Raises
    ------
    ValueError
        When there is only one value per instance, except in evaluation by running statistics.

    Notes
    -----
    Ulyanov, Vedaldi & Lempitsky 2016, arXiv 1607.08022.
    """

    channels_name = "num_features"
    num_features: int
    buffer_names: tuple[str, ...] = ("running_mean", "running_var", "num_batches_tracked")
    _gradients = instance_norm_backward

    def __init__(
        self,
        num_features: int,
        *,
        axis: int = 1,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = False,
        weight: bool | None = None,
        bias: bool | None = None,
        track_running_stats: bool = False,
        unbiased: bool = True,
        activation: str | None = None,
        dtype: npt.DTypeLike = np.float32,
    ) -> None:
        super().__init__(num_features, axis, eps, (affine, weight, bias), activation, dtype)
        self.momentum = None if momentum is None else checks.fraction(momentum, "momentum")
        self.unbiased = checks.boolean(unbiased, "unbiased")
        self.running_mean: Array | None = None
        self.running_var: Array | None = None
        self.num_batches_tracked = 0
        if checks.boolean(track_running_stats, "track_running_stats"):
            self.running_mean = np.zeros(self.num_features, self.dtype)
            self.running_var = np.ones(self.num_features, self.dtype)
        else:
            self.buffer_names = ()

    def forward(self, x: Array) -> Array:
        running_mean, momentum = self.running_mean, self.momentum
        own = self.training or running_mean is None
        if momentum is None:
            momentum = 1.0 / (self.num_batches_tracked + 1)
        try:
            if running_mean is None:  # there may be no array to tell how many channels
                self._judge_channels(x)
            y, saved = instance_norm(
                x,
                self.weight,
                self.bias,
                running_mean,
                self.running_var,
                training=own,
                momentum=momentum,
                eps=self.eps,
                axis=self.axis,
                activation=self.activation,
                unbiased=self.unbiased,
            )
        except (TypeError, ValueError) as error:
            locate(error, "", self)
            self._judge_channels(x)  # clearer than what functional says of the weight
            raise
        if own and running_mean is not None and y.size:
            self.num_batches_tracked += 1
        if self.keeps:
            self._saved = saved
        return y

    def reset_running_stats(self) -> None:
        """Back to mean 0, variance 1, no batch counted."""
        if self.running_mean is not None and self.running_var is not None:
            self.running_mean[...] = 0.0
            self.running_var[...] = 1.0
        self.num_batches_tracked = 0

    @property
    def track_running_stats(self) -> bool:
        return self.running_mean is not None

    def config(self) -> dict[str, Any]:
        return super().config() | {
            "momentum": self.momentum,
            "track_running_stats": self.track_running_stats,
            "unbiased": self.unbiased,
        }

    def brief(self) -> str:
        return f"InstanceNorm({self.num_features})"

    def _details(self) -> list[str]:
        details = super()._details()
        if self.track_running_stats:
            meaning = "cumulative average" if self.momentum is None else "weight of the new batch"
            details.append(f"momentum={self.momentum} ({meaning})")
            details.append("track_running_stats=True")
        if not self.unbiased:
            details.append("unbiased=False")
        return details
