"""Batch renormalization as a layer: batch norm whose batches are corrected towards the running statistics.

Owns the running standard deviation and the place in the schedule. The arithmetic is functional's.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from ..functional import batch_renorm
from ..support import checks
from .base import Array
from .norm import BatchNorm, floating
from .norm_options import updates_of
from .registry import register
from .renorm_schedule import Steps, judged, limits

__all__ = ["BatchRenorm"]

UNTOLD = (
    "BatchRenorm does not know how long this run is and follows the steps of the paper (5000, 40000, 25000): call "
    "net.begin_run(steps) before training (fit and Trainer(total_steps=...) do), or pass schedule='paper'"
)


@register
class BatchRenorm(BatchNorm):
    """Batch renormalization, for small batches and batches of samples that resemble each other.

    In training, with running mean mu and running standard deviation sigma as they are before the batch::

        s = sqrt(var + eps)    r = clip(s/sigma, 1/r_max, r_max)    d = clip((mean - mu)/sigma, -d_max, d_max)
        y = act(weight · ((x - mean)/s · r + d) + bias)

    r and d are constants for the gradient; mu and sigma then move towards mean and s. In evaluation
    ``y = act(weight · (x - mu)/sigma + bias)``, which is what training computes while nothing is clipped.
    With limits r_max = 1, d_max = 0, as at the start of the default schedule, it is exactly batch norm.

    With a batch of one value per channel the output is right, and the gradient with respect to x is exactly 0:
    only weight and bias, and what follows, learn from it. Its standard deviation is sqrt(eps), and that is what sigma
    moves towards: with many such batches take ``frozen=True`` or another norm.

    Parameters
    ----------
    num_features, axis, eps, affine, weight, bias, activation, frozen, zero_gamma, dtype
        As for `BatchNorm`.
    momentum : float or None
        Weight of the **new** batch, 0.01 by default: the averages have to be better than a batch.
    zero_debias : bool
        Take the start (mu 0, sigma 1) out of the averages, as for `BatchNorm`.
    r_max : float
        >= 1, the limit of r in the end.
    d_max : float
        >= 0, the limit of d in the end.
    schedule : str or sequence of three int
        How the limits grow from (1, 0). ``"fractions"``: they stay there for the first eighth of the run, then d grows
        linearly up to five eighths, r up to the end of the run (`begin_run` tells how long that is; `fit` does).
        ``"paper"``: the paper's steps, 5000, 25000 and 40000, for the same. ``(start, r_end, d_end)``: your steps.
        ``"constant"``: r_max and d_max from the first step on.

    Attributes
    ----------
    weight, bias, running_mean, running_std : ndarray of shape (c,), or None
    running_var : ndarray of shape (c,), float64
        ``running_std**2 - eps``, computed when asked for: what a plain batch norm would have.
    num_batches_tracked : int
        The place in the schedule.
    run_length : int
        Steps of the whole run, 0 if nobody told. Part of the state, like the counter: a run that was saved and loaded
        continues its schedule.
    r_max_now, d_max_now : float
        The limits of the next training step.

    Warns
    -----
    RuntimeWarning
        Once, in training with ``schedule="fractions"`` when nobody told how long the run is; the paper's steps are used.

    Notes
    -----
    Ioffe 2017, arXiv 1702.03275. The state loads into a `BatchNorm` and that of a BatchNorm into this layer.
    """

    buffer_names = ("running_mean", "running_std", "num_batches_tracked", "run_length")

    def __init__(
        self,
        num_features: int,
        *,
        axis: int = 1,
        eps: float = 1e-5,
        momentum: float | None = 0.01,
        affine: bool = True,
        weight: bool | None = None,
        bias: bool | None = None,
        activation: str | None = None,
        frozen: bool = False,
        zero_gamma: bool = False,
        zero_debias: bool = False,
        r_max: float = 3.0,
        d_max: float = 5.0,
        schedule: str | tuple[int, int, int] = "fractions",
        dtype: npt.DTypeLike = np.float32,
    ) -> None:
        super().__init__(
            num_features,
            axis=axis,
            eps=eps,
            momentum=momentum,
            affine=affine,
            weight=weight,
            bias=bias,
            unbiased=False,
            activation=activation,
            frozen=frozen,
            zero_gamma=zero_gamma,
            zero_debias=zero_debias,
            dtype=dtype,
        )
        self.r_max = checks.finite(r_max, "r_max")
        if self.r_max < 1.0:
            raise ValueError(f"r_max must be a finite number >= 1, got {r_max}")
        self.d_max = checks.non_negative(d_max, "d_max")
        self.schedule: str | Steps = judged(schedule)
        self._plain = False  # `_run` does it all
        self._warned = False

    def _make_running(self) -> None:
        self.running_mean = np.zeros(self.num_features, self.dtype)
        self.running_std = np.ones(self.num_features, self.dtype)
        self.num_batches_tracked = self.run_length = 0

    @property
    def running_var(self) -> Array:  # type: ignore[override]
        std = self.running_std.astype(np.float64)
        var = np.maximum(std * std - self.eps, 0.0)  # below 0 by the rounding of std at most
        var.flags.writeable = False  # writing into it would be without effect: see set_running
        return var

    def set_running(self, mean: npt.ArrayLike, var: npt.ArrayLike) -> None:
        """Write into the running statistics, in place: ``running_std = sqrt(var + eps)``. See `BatchNorm`."""
        mean, var = self._judge_running(mean, var)
        assert self.running_mean is not None
        with np.errstate(over="ignore"):
            self.running_mean[...], self.running_std[...] = mean, np.sqrt(var + self.eps)

    def reset_running_stats(self) -> None:
        """Back to mean 0, standard deviation 1, no batch counted: at the start of the schedule."""
        assert self.running_mean is not None
        self.running_mean[...], self.running_std[...] = 0.0, 1.0
        self.num_batches_tracked = 0

    # ---- the schedule

    def _begin_run(self, steps: int) -> None:
        self.run_length = self.num_batches_tracked + steps

    def limits(self) -> tuple[float, float]:
        """(r_max, d_max) of the next training step."""
        return limits(
            self.schedule, self.num_batches_tracked, self.run_length, self.r_max, self.d_max
        )

    @property
    def r_max_now(self) -> float:
        return self.limits()[0]

    @property
    def d_max_now(self) -> float:
        return self.limits()[1]

    @property
    def compares_samples(self) -> bool:
        return False

    def _run(
        self,
        x: Array,
        batch: bool,
        activation: str | None,
        residual: Array | None,
        mask: Array | None,
    ) -> tuple[Array, Any, int]:
        r_max, d_max = 1.0, 0.0
        if batch:
            if not (self.run_length or self._warned or self.schedule != "fractions"):
                self._warned = True
                warnings.warn(UNTOLD, RuntimeWarning, stacklevel=3)
            r_max, d_max = self.limits()
        y, saved = batch_renorm(
            x,
            self.weight,
            self.bias,
            self.running_mean,
            self.running_std,
            training=batch,
            r_max=r_max,
            d_max=d_max,
            momentum=self.rate(self.num_batches_tracked),
            eps=self.eps,
            axis=self.axis,
            activation=activation,
            residual=residual,
            mask=mask,
        )
        return y, saved, 1 if mask is None else updates_of(saved)

    # ---- state and text

    def adapt_state(self, state: dict[str, Any], prefix: str) -> None:
        """Take the state of a `BatchNorm`: ``running_std = sqrt(running_var + eps)``."""
        var = floating(state.get(prefix + "running_var"))
        if var is None or prefix + "running_std" in state:
            return
        with np.errstate(invalid="ignore"):
            std = np.sqrt(var.astype(np.float64) + self.eps)
        state[prefix + "running_std"] = std.astype(var.dtype)
        del state[prefix + "running_var"]
        state.setdefault(prefix + "run_length", self.run_length)

    def config(self) -> dict[str, Any]:
        config = super().config() | {
            "type": "BatchRenorm",
            "r_max": self.r_max,
            "d_max": self.d_max,
            "schedule": self.schedule if isinstance(self.schedule, str) else list(self.schedule),
        }
        for name in ("track_running_stats", "unbiased", "statistics", "ghost_batch_size"):
            del config[name]
        return config

    def brief(self) -> str:
        return f"BatchRenorm({self.num_features})"

    def _details(self) -> list[str]:
        schedule = self.schedule if isinstance(self.schedule, str) else tuple(self.schedule)
        return [f"r_max={self.r_max:g}", f"d_max={self.d_max:g}", f"schedule={schedule!r}"]
