"""Batch normalization as a layer: owns gamma, beta and the running statistics. The arithmetic is functional's."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..backend.fronts import fronted
from ..functional import batch_norm, batch_norm_backward, ghost_batch_norm_backward
from ..functional.ghost import GhostSaved
from ..support import checks
from .base import Array, Layer, locate
from .init import float_dtype
from .norm_options import judge_options, run_other, update_rate, updates_of
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
    statistics : "batch" or "moving"
        What normalizes the training batch. ``"moving"``: the running statistics as constants for the gradient, updated
        from the batch after use. **Warning:** training with it is known to diverge, as both papers on
        batch normalization say; it is here to be shown. For fixed statistics use ``frozen``, for small batches
        `BatchRenorm`.
    ghost_batch_size : int or None
        Training statistics over consecutive groups of so many samples (axis 0), each of which updates the running
        statistics once. The last group takes what remains, which must be more than one value per channel.
    zero_debias : bool
        Take the start (mean 0, variance 1) out of the running statistics: at update k, from 1 on, the weight
        of the new batch is ``momentum / (1 - (1 - momentum)**k)``, k being ``num_batches_tracked``.
    dtype : float32 or float64

    Attributes
    ----------
    weight, bias, running_mean, running_var : ndarray of shape (c,), or None
    num_batches_tracked : int
        Updates of the running statistics: one per batch, or per group of a batch.

    Raises
    ------
    ValueError
        In training, when there is only one value per channel.

    Notes
    -----
    Ioffe & Szegedy 2015, arXiv 1502.03167; ghost batches: Hoffer 2017, arXiv 1705.08741.
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
        statistics: str = "batch",
        ghost_batch_size: int | None = None,
        zero_debias: bool = False,
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
        # also on the instance: its compiled front looks nowhere else
        self.training, self.keeps, self._saved = True, True, None
        c = self.num_features
        self.weight: Array | None = (
            np.full(c, 0.0 if zero_gamma else 1.0, self.dtype) if has_weight else None
        )
        self.bias: Array | None = np.zeros(c, self.dtype) if has_bias else None
        self.statistics = checks.one_of(statistics, "statistics", ("batch", "moving"))
        self.ghost_batch_size: int | None = None
        if ghost_batch_size is not None:
            self.ghost_batch_size = checks.positive_int(ghost_batch_size, "ghost_batch_size")
        self.zero_debias = checks.boolean(zero_debias, "zero_debias")
        self.track_running_stats = checks.boolean(track_running_stats, "track_running_stats")
        judge_options(self)
        self._plain = statistics == "batch" and ghost_batch_size is None
        self._make_running()

    def _make_running(self) -> None:
        """The arrays of the running statistics, at their start."""
        self.running_mean: Array | None = None
        self.running_var: Array | None = None
        self.num_batches_tracked = 0
        if self.track_running_stats:
            self.running_mean = np.zeros(self.num_features, self.dtype)
            self.running_var = np.ones(self.num_features, self.dtype)
        else:
            self.buffer_names = ()

    @fronted
    def forward(
        self,
        x: Array,
        residual: Array | None = None,
        activation: str | None = None,
        mask: Array | None = None,
    ) -> Array:
        """y, of the shape of x.

        Parameters
        ----------
        residual : ndarray of the shape of x
            Added before the activation. `backward` then returns (dx, dresidual).
        activation : None or "relu"
            Used where the layer has none of its own (a residual block's).
        mask : ndarray or None
            Which positions hold values: a bool array over the axes in front of the channels (or the first few of
            them), or lengths (N,). Masked ones have no part in the statistics and give 0, with gradient 0.
        """
        running_mean = self.running_mean
        batch = (self.training and not self.frozen) or running_mean is None
        try:
            if running_mean is None:  # there may be no array to tell how many channels
                self._judge_channels(x)
            if not self._plain:
                activation = self.activation or activation
                y, saved, updates = self._run(x, batch, activation, residual, mask)
            else:
                momentum = self.momentum
                if momentum is None or self.zero_debias:
                    momentum = self.rate(self.num_batches_tracked)
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
                    mask=mask,
                )
                updates = 1 if mask is None else updates_of(saved)
        except (TypeError, ValueError) as error:
            locate(error, "", self)
            self._judge_channels(x)  # clearer than what functional says of the weight
            raise
        if batch and running_mean is not None and y.size:
            self.num_batches_tracked += updates
        if self.keeps:
            self._saved = saved
        return y

    def _run(
        self,
        x: Array,
        batch: bool,
        activation: str | None,
        residual: Array | None,
        mask: Array | None,
    ) -> tuple[Array, Any, int]:
        """(y, saved, updates of the running statistics) of everything but plain batch norm."""
        how = {"activation": activation, "residual": residual, "mask": mask}
        return run_other(self, x, batch, how)

    def rate(self, before: int) -> float:
        """Weight of the new batch in the running statistics, after so many updates."""
        return update_rate(self.momentum, self.zero_debias, before)

    def backward(self, dy: Array) -> Array | tuple[Array, Array]:
        """dx, or (dx, dresidual) if forward was given a residual."""
        saved = self.take_saved()
        dweight, dbias = self.weight_grad, self.bias_grad
        if dweight is None and self.weight is not None:
            dweight = self._gradient("weight")
        if dbias is None and self.bias is not None:
            dbias = self._gradient("bias")
        run = ghost_batch_norm_backward if type(saved) is GhostSaved else batch_norm_backward
        gradients: tuple[Any, ...] = run(dy, saved, dweight=dweight, dbias=dbias)
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

    @property
    def compares_samples(self) -> bool:
        """Whether training needs more than one sample (or one with several values per channel)."""
        return not self.frozen

    def reset_running_stats(self) -> None:
        """Back to mean 0, variance 1, no batch counted."""
        if self.running_mean is not None:
            self.set_running(np.zeros(self.num_features), np.ones(self.num_features))
        self.num_batches_tracked = 0

    def set_running(self, mean: npt.ArrayLike, var: npt.ArrayLike) -> None:
        """Write into the running statistics, in place.

        Parameters
        ----------
        mean, var : array_like of shape (c,)
            In float64 at best; var is unbiased or not as the layer's ``unbiased`` says. Rounded to the layer's dtype.

        Raises
        ------
        ValueError
            If the layer has no running statistics, for another shape, or a variance below 0.
        """
        mean, var = self._judge_running(mean, var)
        assert self.running_mean is not None and self.running_var is not None
        with np.errstate(over="ignore"):
            self.running_mean[...], self.running_var[...] = mean, var

    def _judge_running(self, *given: npt.ArrayLike) -> list[Array]:
        """Mean and variance in float64, if the layer can take them."""
        if self.running_mean is None:
            raise ValueError(f"{self.brief()} must have running statistics to set, got none")
        arrays = [np.asarray(values, np.float64) for values in given]
        for name, array in zip(("mean", "var"), arrays):
            if array.shape != (self.num_features,):
                raise ValueError(
                    f"{name} must have shape ({self.num_features},), got {array.shape}"
                )
        if (arrays[1] < 0).any():
            raise ValueError(f"var must be >= 0, got {arrays[1].min()}")
        return arrays

    def adapt_state(self, state: dict[str, Any], prefix: str) -> None:
        """Take the state of a `BatchRenorm`: ``running_var = running_std**2 - eps``; its schedule is dropped."""
        std = floating(state.get(prefix + "running_std"))
        if std is None or prefix + "running_var" in state:
            return
        var = np.maximum(std.astype(np.float64) ** 2 - self.eps, 0.0)
        with np.errstate(over="ignore"):
            state[prefix + "running_var"] = var.astype(std.dtype)
        for name in ("running_std", "run_length"):
            state.pop(prefix + name, None)

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
            "statistics": self.statistics,
            "ghost_batch_size": self.ghost_batch_size,
            "zero_debias": self.zero_debias,
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
        parts += self._details()
        usual = {"activation": None, "zero_debias": False, "frozen": False}
        return ", ".join(parts + self._unusual(usual))

    def _details(self) -> list[str]:
        """What `describe` says of options that not all kinds of batch norm have."""
        return self._unusual(
            {
                "track_running_stats": True,
                "unbiased": True,
                "statistics": "batch",
                "ghost_batch_size": None,
            }
        )

    def _unusual(self, usual: dict[str, Any]) -> list[str]:
        values = {name: getattr(self, name) for name in usual}
        return [f"{name}={value!r}" for name, value in values.items() if value != usual[name]]


def floating(value: Any) -> Array | None:
    """An entry of a state dict if it is a floating array, else None."""
    array = None if value is None else np.asarray(value)
    return array if array is not None and array.dtype.kind == "f" else None
