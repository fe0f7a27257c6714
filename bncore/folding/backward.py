"""Rule: a norm after a linear operation goes into that operation's output.

Walks from the norm towards the net's input through what an affine map passes (dropout, pooling,
Flatten of single pixels) and into the branches of blocks, to everything that can take the map.
Any obstacle ends the rule with its reason.
"""

from __future__ import annotations

import numpy as np

from .. import layers as L
from . import algebra
from .algebra import Affine, FoldRefused
from .chain import OUTPUTS, POOLS, Block, Chain, Change, Place, layout, same_axis

__all__ = ["absorb_before", "judge_pool", "relu_home"]

# What a ReLU may cross towards the input: maxima commute with it, dropout scales by nothing
# negative
COMMUTE_WITH_RELU = (L.Dropout, L.Flatten, L.MaxPool, L.GlobalMaxPool)


def absorb_before(
    chain: Chain, index: int, affine: Affine, axis: int | None, ndim: int | None
) -> list[Change]:
    """Changes that make ``chain.items[:index]`` produce ``affine(what they produce now)``.

    Parameters
    ----------
    axis : 1, -1 or None
        Where the map's channels are in that output; None after a Flatten of single pixels.
    ndim : int or None
        Rank of that output.

    Raises
    ------
    FoldRefused
        With the first obstacle.
    """
    for item in reversed(chain.items[:index]):
        if isinstance(item, Block):
            return _into_block(item, affine, axis, ndim)
        if item.has_relu:
            raise FoldRefused(f"the ReLU of {item.name} is before it")
        if item.kind in OUTPUTS:
            return [_into_layer(item, affine, axis, ndim)]
        if item.kind is L.Flatten:
            axis = None
        elif item.kind in POOLS:
            _judge_axis(item, axis, item.layer.axis, ndim)
            judge_pool(item, affine)
            axis = item.layer.axis
        elif item.kind is not L.Dropout:
            raise FoldRefused(f"{item.name} is before it, which is not linear")
        ndim = item.ndim
    raise FoldRefused(f"nothing linear is between it and {chain.begin}")


def judge_pool(place: Place, affine: Affine) -> None:
    """Refuse unless the map commutes with the pool."""
    layer = place.layer
    if place.kind in (L.MaxPool, L.GlobalMaxPool) and (affine.scale < 0).any():
        raise FoldRefused(f"{place.name} does not let a negative scale pass")
    counts_zeros = place.kind is L.AvgPool and layer.count_include_pad and np.any(layer.padding)
    if counts_zeros and affine.offset.any():
        raise FoldRefused(f"{place.name} counts its padding as zeros and does not let a shift pass")


def relu_home(chain: Chain, index: int, changes: list[Change]) -> Place | None:
    """The one changed layer, if it can take over the ReLU of the norm at `index`; else None."""
    for item in reversed(chain.items[:index]):
        if isinstance(item, Block):
            return None
        if len(changes) == 1 and item is changes[0].place:
            return item
        if item.kind not in COMMUTE_WITH_RELU:
            return None
    return None


def _into_layer(place: Place, affine: Affine, axis: int | None, ndim: int | None) -> Change:
    layer = place.layer
    own_axis = -1 if place.kind is L.Linear else layout(layer.axis, place.ndim)
    _judge_axis(place, axis, own_axis, ndim)
    if place.outputs != affine.channels:
        raise FoldRefused(
            f"it has {affine.channels} channels where {place.name} has {place.outputs}"
        )
    weight, bias = place.parameters()
    if place.kind is L.ConvTranspose2d:
        new = algebra.into_transposed_output(weight, bias, affine, groups=layer.groups)
    else:
        new = algebra.into_output(weight, bias, affine)
    return Change(place, *new)


def _into_block(block: Block, affine: Affine, axis: int | None, ndim: int | None) -> list[Change]:
    """A sum takes the scale in both summands and the shift in one; a concatenation takes its parts."""
    if isinstance(block.layer, L.Residual):
        if block.layer.activation is not None:
            raise FoldRefused(f"the ReLU of {block.name} is before it")
        parts = [affine, affine.without_offset()]
    else:
        _judge_axis(block, axis, block.layer.axis, ndim)
        axis = block.layer.axis
        sizes = [size for size in block.channels() if size is not None]
        if len(sizes) < len(block.branches) or sum(sizes) != affine.channels:
            raise FoldRefused(f"the branches of {block.name} do not tell their numbers of channels")
        parts = affine.split(sizes)
    changes = []
    for branch, part in zip(block.branches, parts, strict=True):
        try:
            changes += absorb_before(branch, len(branch.items), part, axis, ndim)
        except FoldRefused as reason:
            raise FoldRefused(f"a branch of {block.name} cannot take it ({reason})") from None
    return changes


def _judge_axis(item: Place | Block, axis: int | None, own_axis: int, ndim: int | None) -> None:
    if not same_axis(axis, own_axis, ndim):
        raise FoldRefused(f"its channels lie along another axis than those of {item.name}")
