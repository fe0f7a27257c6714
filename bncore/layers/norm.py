"""Batch normalization as a layer: owns gamma, beta and the running statistics. The arithmetic is functional's."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..functional import batch_norm, batch_norm_backward
from ..support import checks
from .base import Array, Layer, locate
from .init import float_dtype
from .registry import register

__all__ = ["BatchNorm"]


@register
class BatchNorm(Layer):
    """Batch normalization over every axis but the channel axis, for input of any rank >= 2.

    ``y = act(weight · (x - mean) / sqrt(var + eps) + bias)``, per channel. In training mean and (biased) var are
    those of the batch, and the running statistics move towards them; in evaluation they are the running statistics.

    Parameters
    ----------
    num_features : int
        Number of channels c.
    axis : int
        The channel axis: 1 is channels-first, -1 channels-last.
    eps : float
        Finite, >= 0.
    momentum : float or None
        Weight of the **new** batch: ``running = (1 - momentum)·running + momentum·batch``. None: cumulative average,
        every batch since the last `reset_running_stats` weighs the same.
    affine : bool
        Whether there are a weight (gamma) and a bias (beta); ``weight=`` and ``bias=`` say it separately.
    track_running_stats : bool
        False: no running statistics; evaluation too uses those of the batch.
    unbiased : bool
        Running variance from ``var·m/(m-1)`` (as PyTorch) or from ``var`` (as Keras, Flax, ONNX).
    activation : None or "relu"
        Applied in the same pass.
    frozen : bool
        Running statistics as constants in training as well; they are not updated, weight and bias train.
    zero_gamma : bool
        Start with weight 0, which makes a residual block the identity (Goyal 2017, arXiv 1706.02677).
    dtype : float32 or float64

    Attributes
    ----------
    weight, bias, running_mean, running_var : ndarray of shape (c,), or None
    num_batches_tracked : int

    Raises
    ------
    ValueError
        In training, when there is only one value per channel.

    Notes
    -----
    Ioffe & Szegedy 2015, arXiv 1502.03167.
    """

    parameter_names = ("weight", "bias")
    buffer_names: tuple[str, ...] = ("running_mean", "running_var", "num_batches_tracked")

    weight_grad: Array | None = None
    bias_grad: Array | None = None

    def __init__(
        self,
        num_features: int,
        *,
        axis: int = 1,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        weight: bool | None = None,
        bias: bool | None = None,
        track_running_stats: bool = True,
        unbiased: bool = True,
        activation: str | None = None,
        frozen: bool = False,
        zero_gamma: bool = False,
        dtype: npt.DTypeLike = np.float32,
    ) -> None:
        self.num_features = checks.positive_int(num_features, "num_features")
        self.axis = checks.integer(axis, "axis")
        self.eps = checks.non_negative(eps, "eps")
        self.momentum = None if momentum is None else checks.fraction(momentum, "momentum")
        self.unbiased = checks.boolean(unbiased, "unbiased")
        self.activation = checks.one_of(activation, "activation", (None, "relu"))
        self.frozen = checks.boolean(frozen, "frozen")
        self.dtype = float_dtype(dtype)
        affine = checks.boolean(affine, "affine")
        has_weight = affine if weight is None else checks.boolean(weight, "weight")
        has_bias = affine if bias is None else checks.boolean(bias, "bias")
        zero_gamma = checks.boolean(zero_gamma, "zero_gamma")
        if zero_gamma and not has_weight:
            raise ValueError("zero_gamma must be False without a weight, got True")
        # also on the instance, where forward finds them faster than on the class
        self.training, self.keeps, self._saved = True, True, None
        c = self.num_features
        self.weight: Array | None = (
            np.full(c, 0.0 if zero_gamma else 1.0, self.dtype) if has_weight else None
        )
        self.bias: Array | None = np.zeros(c, self.dtype) if has_bias else None
        self.running_mean: Array | None = None
        self.running_var: Array | None = None
        self.num_batches_tracked = 0
        if checks.boolean(track_running_stats, "track_running_stats"):
            self.running_mean = np.zeros(c, self.dtype)
            self.running_var = np.ones(c, self.dtype)
        elif self.frozen:
            raise ValueError("frozen must be False without running statistics, got True")
        else:
            self.buffer_names = ()

    def forward(
        self, x: Array, residual: Array | None = None, activation: str | None = None
    ) -> Array:
        """y, of the shape of x.

        Parameters
        ----------
        residual : ndarray of the shape of x
            Added before the activation. `backward` then returns (dx, dresidual).
        activation : None or "relu"
            Used where the layer has none of its own (a residual block's).
        """
        running_mean = self.running_mean
        batch = (self.training and not self.frozen) or running_mean is None
        momentum = self.momentum
        if momentum is None:
            momentum = 1.0 / (self.num_batches_tracked + 1)
        try:
            if running_mean is None:  # there may be no array to tell how many channels
                self._judge_channels(x)
            y, saved = batch_norm(
                x,
                self.weight,
                self.bias,
                running_mean,
                self.running_var,
                training=batch,
                momentum=momentum,
                eps=self.eps,
                axis=self.axis,
                activation=self.activation or activation,
                residual=residual,
                unbiased=self.unbiased,
            )
        except (TypeError, ValueError) as error:
            locate(error, "", self)
            self._judge_channels(x)  # clearer than what functional says of the weight
            raise
        if batch and running_mean is not None and y.size:
            self.num_batches_tracked += 1
        if self.keeps:
            self._saved = saved
        return y

    def backward(self, dy: Array) -> Array | tuple[Array, Array]:
        """dx, or (dx, dresidual) if forward was given a residual."""
        saved = self.take_saved()
        dweight, dbias = self.weight_grad, self.bias_grad
        if dweight is None and self.weight is not None:
            dweight = self._gradient("weight")
        if dbias is None and self.bias is not None:
            dbias = self._gradient("bias")
        gradients: tuple[Any, ...] = batch_norm_backward(dy, saved, dweight=dweight, dbias=dbias)
        return gradients[0] if len(gradients) == 3 else (gradients[0], gradients[3])

    def _judge_channels(self, x: Any) -> None:
        if not isinstance(x, np.ndarray):
            return
        shape, axis = x.shape, self.axis
        if -len(shape) <= axis < len(shape) and shape[axis] != self.num_features:
            error = ValueError(
                f"x must have {self.num_features} channels on axis {axis}, got shape {shape}"
            )
            locate(error, "", self)
            raise error from None

    def accepts_residual(self) -> bool:
        return self.activation is None

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
        return {
            "type": "BatchNorm",
            "num_features": self.num_features,
            "axis": self.axis,
            "eps": self.eps,
            "momentum": self.momentum,
            "weight": self.weight is not None,
            "bias": self.bias is not None,
            "track_running_stats": self.track_running_stats,
            "unbiased": self.unbiased,
            "activation": self.activation,
            "frozen": self.frozen,
            "dtype": self.dtype.name,
        }

    def brief(self) -> str:
        return f"BatchNorm({self.num_features})"

    def describe(self) -> str:
        meaning = "cumulative average" if self.momentum is None else "weight of the new batch"
        parts = [
            str(self.num_features),
            f"eps={self.eps:g}",
            f"momentum={self.momentum} ({meaning})",
        ]
        if self.axis != 1:
            parts.insert(1, f"axis={self.axis}")
        for name in ("weight", "bias"):
            if getattr(self, name) is None:
                parts.append(f"{name}=False")
        if not self.track_running_stats:
            parts.append("track_running_stats=False")
        if not self.unbiased:
            parts.append("unbiased=False")
        if self.activation is not None:
            parts.append(f"activation={self.activation!r}")
        if self.frozen:
            parts.append("frozen=True")
        return ", ".join(parts)
