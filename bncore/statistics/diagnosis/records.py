"""What a diagnosis holds of each norm, ready for tables, JSON and pictures. Numbers, no measuring."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Distance", "DropoutEffect", "Noise", "NormRecord"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Distance:
    """How far running statistics are from others, channel by channel.

    Attributes
    ----------
    mean : ndarray, shape (c,)
        ``|running mean - mean| / sqrt(var + eps)``: in standard deviations.
    variance : ndarray, shape (c,)
        ``(running var + eps) / (var + eps)``.
    constant : tuple of int
        Channels that do not vary, so that eps alone is their unit: left out of everything below, unless all are.
    """

    mean: Array
    variance: Array
    constant: tuple[int, ...] = ()

    @classmethod
    def between(
        cls,
        running: tuple[Array, Array],
        other: tuple[Array, Array],
        eps: float,
        scale: Array | None = None,
        constant: tuple[int, ...] = (),
    ) -> Distance:
        """Of two pairs (mean, variance); ``scale`` is a variance to measure means by in place of the other's."""
        with np.errstate(divide="ignore", invalid="ignore"):
            unit = np.sqrt((other[1] if scale is None else scale) + eps)
            mean = np.abs(running[0] - other[0]) / unit
            variance = (running[1] + eps) / (other[1] + eps)
        return cls(
            np.where(running[0] == other[0], 0.0, mean),
            np.where(running[1] == other[1], 1.0, variance),
            constant if len(constant) < len(mean) else (),
        )

    @property
    def size(self) -> float:
        """Both in one number: root mean square over channels of the mean's distance and half the log of the
        variance ratio (so a standard deviation off by a factor 1.1 weighs as much as a mean off by 0.1).
        Infinite where a channel, constant ones too, is not finite.
        """
        return self._size(self._varying())

    @property
    def whole(self) -> float:
        """`size` with the constant channels."""
        return self._size(np.arange(len(self.mean)))

    def _size(self, channels: Array) -> float:
        with np.errstate(all="ignore"):
            squares = self.mean**2 + (0.5 * np.log(self.variance)) ** 2
        if not np.isfinite(squares).all():
            return float("inf")
        return float(np.sqrt(squares[channels].mean()))

    def _varying(self) -> Array:
        """Numbers of the channels that count."""
        return np.setdiff1d(np.arange(len(self.mean)), self.constant)

    def to_dict(self) -> dict[str, Any]:
        channels = self._varying()
        mean, variance = self.mean[channels], self.variance[channels]
        return {
            "mean_max": float(mean.max()),
            "mean_median": float(np.median(mean)),
            "worst_channel": int(channels[mean.argmax()]),
            "variance_min": float(variance.min()),
            "variance_median": float(np.median(variance)),
            "variance_max": float(variance.max()),
            "left_out": len(self.constant),
            "size": self.size,
        }


@dataclass(frozen=True)
class Noise:
    """How far statistics of single batches scatter.

    Attributes
    ----------
    values : float
        Values per channel in a batch, m. Neighbouring positions of an image are not independent,
        so the scatter is that of a smaller number.
    mean : ndarray, shape (c,)
        Standard deviation of the batches' means, in standard deviations of the channel.
    variance : ndarray, shape (c,)
        Standard deviation of the batches' variances, in their mean.
    expected : ndarray, shape (c,), or None
        What ``mean`` would be if every batch were drawn at random, from the spread of the samples'
        own means.
    """

    values: float
    mean: Array
    variance: Array
    expected: Array | None

    @property
    def independent_mean(self) -> float:
        """``mean`` for m independent values: 1/sqrt(m)."""
        return float(1.0 / np.sqrt(self.values))

    @property
    def independent_variance(self) -> float:
        """``variance`` for m independent normal values: sqrt(2/(m-1))."""
        return float(np.sqrt(2.0 / max(self.values - 1.0, 1.0)))

    @property
    def typical(self) -> float:
        """Median over channels of ``mean``, those that scatter at all."""
        return _median(self.mean[self.mean > 0])

    @property
    def excess(self) -> float | None:
        """How many times more the means scatter than random batches' would."""
        if self.expected is None:
            return None
        moving = self.expected > 0
        return _median(self.mean[moving] / self.expected[moving]) if moving.any() else None

    def to_dict(self) -> dict[str, Any]:
        return {
            "values_per_batch": self.values,
            "mean": self.typical,
            "mean_max": float(self.mean.max()),
            "mean_if_independent": self.independent_mean,
            "mean_if_random": None if self.expected is None else _median(self.expected),
            "effective_values": 1.0 / self.typical**2 if self.typical else None,
            "variance": _median(self.variance[self.variance > 0]),
            "variance_if_independent": self.independent_variance,
        }


@dataclass(frozen=True)
class DropoutEffect:
    """What dropout in front of a norm does to the variance that the norm receives.

    Attributes
    ----------
    layers : tuple of (path, p)
        The dropout layers between this norm and the norms before it.
    through : tuple of str
        The layers in between.
    measured : ndarray, shape (c,)
        Variance without dropout, as in evaluation, over variance with it, as in training: of all dropout in the net,
        for noise from in front of an earlier norm passes that norm.
    predicted : ndarray, shape (c,), or None
        The ratio that theory gives for ``layers`` alone; None where there is none, for the reason in ``why``.
    """

    layers: tuple[tuple[str, float], ...]
    through: tuple[str, ...]
    measured: Array
    predicted: Array | None
    why: str = ""

    @property
    def ratio(self) -> float:
        """Median of the measured ratios."""
        return _median(self.measured)

    @property
    def strength(self) -> float:
        """How far the ratio is from 1, either way: the size of its logarithm."""
        return abs(math.log(self.ratio)) if self.ratio > 0 else math.inf

    def to_dict(self) -> dict[str, Any]:
        return {
            "layers": [{"path": path, "p": p} for path, p in self.layers],
            "through": list(self.through),
            "measured": self.ratio,
            "measured_range": [float(self.measured.min()), float(self.measured.max())],
            "predicted": None if self.predicted is None else _median(self.predicted),
            "why_not_predicted": self.why or None,
        }


@dataclass(frozen=True)
class NormRecord:
    """Everything measured about one norm.

    Attributes
    ----------
    path, kind : str
        Where it stands, and its class with sizes.
    channels : int
    momentum : float or None
    updates : int
        Batches that training counted.
    start_weight : float
        Weight that the start (mean 0, variance 1) still has after these.
    from_batch, from_population : Distance
        Of the running statistics from the average over training batches (dropout on) and from
        population statistics (dropout off).
    from_start : float
        `Distance.size` from batches mixed with the start by its weight, in the batches' units.
    noise : Noise or None
        None with fewer than two batches.
    dead, constant : tuple of int
        Channels with a weight near zero, and those whose variance is nothing beside eps.
    constant_eps : bool
        Whether the constant channels do vary, but far below eps.
    dropout : DropoutEffect or None
        None without dropout in front.
    closes, opens : float or None
        Share of the gap in the net's output that disappears with population statistics in this norm
        alone, and that appears with running statistics in this norm alone; None where there is no
        gap.
    """

    path: str
    kind: str
    channels: int
    momentum: float | None
    updates: int
    start_weight: float
    from_batch: Distance
    from_population: Distance
    from_start: float
    noise: Noise | None
    dead: tuple[int, ...] = ()
    constant: tuple[int, ...] = ()
    constant_eps: bool = False
    dropout: DropoutEffect | None = None
    closes: float | None = None
    opens: float | None = None

    @property
    def renormalizes(self) -> bool:
        """Whether training already normalizes by the running statistics, as far as its limits let it."""
        return self.kind.startswith("BatchRenorm")

    @property
    def scatter(self) -> float:
        """How far a moving average at rest scatters because its batches do, in units of `Distance.size`.

        An average with rate a over independent values has a/(2-a) of their variance.
        """
        if self.noise is None or not self.momentum:
            return 0.0
        share = self.momentum / (2.0 - self.momentum)
        both = (self.noise.mean**2 + (0.5 * self.noise.variance) ** 2).mean()
        return float(np.sqrt(share * both))

    def to_dict(self) -> dict[str, Any]:
        return {
            "path": self.path,
            "kind": self.kind,
            "channels": self.channels,
            "momentum": self.momentum,
            "updates": self.updates,
            "start_weight": self.start_weight,
            "from_batch": self.from_batch.to_dict(),
            "from_population": self.from_population.to_dict(),
            "noise": None if self.noise is None else self.noise.to_dict(),
            "dead": list(self.dead),
            "constant": list(self.constant),
            "dropout": None if self.dropout is None else self.dropout.to_dict(),
            "closes": self.closes,
            "opens": self.opens,
        }


def _median(values: Array) -> float:
    return float(np.median(values)) if values.size else 0.0
