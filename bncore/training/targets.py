"""Regression targets of any size: trained in units of their own spread, answered in their own.

The scale is not kept beside the net but absorbed, exactly, by its last Linear.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..layers import Layer, Linear

__all__ = ["TargetScale"]


@dataclass(frozen=True)
class TargetScale:
    """Mean and standard deviation of each column of the targets, in float64.

    A net learns prices of 300000 as badly as fractions of 1e-6 with rates made for numbers around
    one. So train on ``scale.standardize(y)`` and then ``scale.absorb(net)``:

    >>> scale = TargetScale.of(y)
    >>> fit(net, x, scale.standardize(y), loss="mse")       # losses as shares of the variance
    >>> scale.absorb(net)                                   # net(x) is like y again
    """

    mean: np.ndarray
    std: np.ndarray

    @classmethod
    def of(cls, y: np.ndarray) -> TargetScale:
        """From targets (n,) or (n, outputs); a column that is constant is only shifted."""
        if not isinstance(y, np.ndarray) or y.ndim not in (1, 2) or y.dtype.kind != "f":
            got = f"{y.dtype} {y.shape}" if isinstance(y, np.ndarray) else type(y).__name__
            raise TypeError(
                f"y must be an array of floats of shape (n,) or (n, outputs), got {got}"
            )
        columns = y.reshape(len(y), -1).astype(np.float64)
        std = columns.std(axis=0)
        return cls(columns.mean(axis=0), np.where(std > 0, std, 1.0))

    def standardize(self, y: np.ndarray) -> np.ndarray:
        """(y - mean) / std, in the shape and dtype of y."""
        columns = y.reshape(len(y), -1).astype(np.float64)
        return ((columns - self.mean) / self.std).reshape(y.shape).astype(y.dtype)

    def absorb(self, net: Layer) -> None:
        """Change the last Linear of ``net`` so that it answers in units of y: W·std, b·std + mean.

        Raises
        ------
        ValueError
            If the net does not end in a Linear with bias and one output for each column of y.
        """
        last = list(net.named_layers())[-1][1]
        if not isinstance(last, Linear) or last.bias is None or last.activation is not None:
            raise ValueError(f"net must end in a Linear with bias, got {last.brief()}")
        if last.bias.shape != self.mean.shape:
            raise ValueError(f"net must have {len(self.mean)} outputs, got {len(last.bias)}")
        last.weight[...] = last.weight * self.std[:, np.newaxis]
        last.bias[...] = last.bias * self.std + self.mean
