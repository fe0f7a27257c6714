"""Rule: a norm of a recurrent layer's input products goes into the weight and bias of these products.

The products of one direction are a linear operation with the norm right behind it, so the algebra is that of any
Linear. A layer has norms everywhere or nowhere: all go, or none. Also here: what the first layer of the stack reads
its input with, both directions as one matrix, for a norm in front of it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import layers as L
from . import algebra
from .algebra import Affine, Array64, FoldRefused
from .report import Folded, Kept

__all__ = ["RECURRENT", "fold_inside", "input_parameters", "set_input_parameters"]

RECURRENT = (L.RNN, L.GRU, L.LSTM)  # exact types: a subclass may compute something else


def fold_inside(
    layer: Any, path: str, affine_of: Callable[[L.Layer], Affine]
) -> tuple[Any, dict[str, tuple[Array64, Array64]], list[Folded | Kept]]:
    """A copy of a recurrent layer without its norms, its input products in float64, and what became of each norm.

    The layer itself and no products if a norm has to stay. ``affine_of`` says what a norm computes in evaluation, or
    raises FoldRefused.
    """
    products: dict[str, tuple[Array64, Array64]] = {}
    why: dict[str, str] = {}
    norms = [d for d in layer.directions() if getattr(layer, d.norm) is not None]
    for d in norms:
        try:
            affine = affine_of(getattr(layer, d.norm))
            products[d.norm] = algebra.into_output(getattr(layer, d.weight_ih), None, affine)
            _rounded(*products[d.norm], layer.dtype)
        except FoldRefused as reason:
            why[d.norm] = str(reason)
    if why:
        other = f"{next(iter(why))} stays, and a layer has all of its norms or none"
        kept = [Kept(_join(path, d.norm), why.get(d.norm, other), "kept") for d in norms]
        return layer, {}, list(kept)
    folded = copy.deepcopy(layer)
    folded.take_products({name: _rounded(*pair, layer.dtype) for name, pair in products.items()})
    entries: list[Folded | Kept] = []
    for d in norms:
        rule = f"{type(layer).__name__} input → {type(getattr(layer, d.norm)).__name__}"
        entries.append(Folded(_join(path, d.norm), _join(path, d.weight_ih), rule))
    return folded, products, entries


def input_parameters(
    layer: Any, products: dict[str, tuple[Array64, Array64]]
) -> tuple[Array64, Array64 | None]:
    """Weight (directions · g · hidden, input_size) and bias of the first layer's products in float64: those given by
    the name of the norm they absorbed, else the layer's.
    """
    weights, biases = [], []
    for d in layer.stack[0]:
        bias = getattr(layer, d.bias_ih)
        own = (getattr(layer, d.weight_ih), np.zeros(0) if bias is None else bias)
        weight, bias = products.get(d.norm, own)
        weights.append(np.asarray(weight, np.float64))
        biases.append(np.asarray(bias, np.float64))
    bias = np.concatenate(biases)
    return np.concatenate(weights), bias if bias.size else None


def set_input_parameters(layer: Any, weight: np.ndarray, bias: np.ndarray) -> None:
    """The way back, in the layer's dtype."""
    directions = layer.stack[0]
    weights, biases = (np.split(a, len(directions)) for a in (weight, bias))
    layer.take_products(
        {d.norm: pair for d, pair in zip(directions, zip(weights, biases), strict=True)}
    )


def _rounded(weight: Array64, bias: Array64, dtype: np.dtype[Any]) -> tuple[Any, Any]:
    return algebra.rounded(weight, dtype, "weight"), algebra.rounded(
        bias, dtype, "bias", subnormal_share=1.0
    )


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
