"""Does a folded net still compute the same? Runs both on given inputs, beside a float64 copy."""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..layers import Layer
from ..training.evaluation import predict

__all__ = ["Verification", "verify"]


@dataclass(frozen=True)
class Verification:
    """How far the outputs of two nets are apart.

    Attributes
    ----------
    max_abs_error : float
        Largest ``|folded - net|``.
    max_rel_error : float
        That over the largest ``|net|``.
    net_error, folded_error : float
        Largest distance of each from the net evaluated in float64: folding is as exact as can be
        asked if the second is not much larger than the first.
    """

    max_abs_error: float
    max_rel_error: float
    net_error: float
    folded_error: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"largest difference {self.max_abs_error:.3g} ({self.max_rel_error:.3g} of the largest output); "
            f"from the float64 net: unfolded {self.net_error:.3g}, folded {self.folded_error:.3g}"
        )


def verify(net: Layer, folded: Layer, x: np.ndarray, *, batch_size: int = 256) -> Verification:
    """Compare a net and its folded version in evaluation mode.

    Parameters
    ----------
    net, folded : Layer
        Left as they are.
    x : ndarray
        Inputs, samples first; real ones or random ones of the same size as real ones.
    batch_size : int
        Largest number of samples at a time.

    Returns
    -------
    Verification
        A NaN in one of the outputs gives NaN.

    Raises
    ------
    ValueError
        If the two nets' outputs differ in shape.
    """
    expected = predict(net, x, batch_size=batch_size)
    got = predict(folded, x, batch_size=batch_size)
    if got.shape != expected.shape:
        raise ValueError(f"folded must give outputs of shape {expected.shape}, got {got.shape}")
    exact = predict(_in_float64(net), x.astype(np.float64), batch_size=batch_size)
    error = _distance(got, expected)
    scale = float(np.abs(expected).max(initial=0.0))
    return Verification(
        error, error / scale if scale else error, _distance(expected, exact), _distance(got, exact)
    )


def _in_float64(net: Layer) -> Layer:
    twin = copy.deepcopy(net)
    for _, layer in twin.named_layers():
        for name in (*layer.parameter_names, *layer.buffer_names):
            value = getattr(layer, name)
            if isinstance(value, np.ndarray):
                setattr(layer, name, value.astype(np.float64))
        if hasattr(layer, "dtype"):
            layer.dtype = np.dtype(np.float64)
    return twin


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(np.float64) - b.astype(np.float64)).max(initial=0.0))
