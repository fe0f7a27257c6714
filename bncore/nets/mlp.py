"""The fully connected reference net."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..layers import Flatten, Sequential
from ..support import checks
from .maker import ACTIVATIONS, Maker

__all__ = ["mlp"]


def mlp(
    in_features: int,
    classes: int,
    hidden: Sequence[int] = (128, 128),
    *,
    activation: str = "relu",
    placement: str = "before",
    norm: str | None = "batch",
    norm_options: Mapping[str, Any] | None = None,
    standardize: bool = True,
    dropout: float = 0.0,
    init: str | float = "kaiming_uniform",
    dtype: npt.DTypeLike = np.float32,
    rng: np.random.Generator | int | None = None,
) -> Sequential:
    """Fully connected net: Flatten, then Linear - norm - activation per entry of ``hidden``, then Linear.

    Parameters
    ----------
    in_features : int
        Values per sample; samples of any shape are flattened.
    classes : int
        Size of the output (1 for a regression).
    hidden : sequence of int
        Widths of the hidden layers; may be empty.
    activation : "relu", "sigmoid" or "tanh"
    placement : "before" or "after"
        Where a norm stands: before the activation (Ioffe & Szegedy 2015, arXiv 1502.03167, section 3.2) or behind it,
        where the Linear keeps its bias and the norm folds into the next Linear.
    norm : one of `bncore.nets.NORMS`
        But not ``"instance"``: a channel of a sample has one value here.
    norm_options : mapping, optional
        Further arguments of every norm's constructor, ``{"momentum": 0.01}`` say.
    standardize : bool
        Whether a first BatchNorm without weight and bias standardizes the raw features, also with ``norm="none"``, so
        that both nets see the same input. It folds into the first Linear.
    dropout : float
        Probability of a Dropout before the last Linear, where it disturbs no norm; 0 for none.
    init, dtype, rng
        As for `Linear`.

    Raises
    ------
    ValueError
        For another norm, options it does not take, another activation or placement, or sizes below 1.
    """
    if norm == "instance":
        raise ValueError(
            "norm must normalize samples without positions in an mlp, got 'instance': use 'layer', 'group' or 'batch'"
        )
    checks.one_of(activation, "activation", tuple(ACTIVATIONS))
    checks.one_of(placement, "placement", ("before", "after"))
    make = Maker(norm, norm_options, 1, init, dtype, rng)
    width = checks.positive_int(in_features, "in_features")
    layers = [Flatten(), *make.standardize(in_features, standardize)]
    for size in hidden:
        layers += make.linear(width, checks.positive_int(size, "hidden"), activation, placement)
        width = size
    return Sequential(*layers, *make.head(width, classes, dropout))
