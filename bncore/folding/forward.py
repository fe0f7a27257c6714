"""Rule: a norm before a linear operation goes into that operation's input.

Walks from the norm towards the net's output through what an affine map passes (dropout, pooling,
Flatten) to the layers that read the result, recurrent ones too; in a block every branch must take it. Any obstacle
ends the rule with its reason.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from .. import layers as L
from . import algebra
from .algebra import Affine, FoldRefused
from .backward import judge_pool
from .chain import CONVOLUTIONS, MAKE_ROWS, POOLS, Block, Chain, Change, Place, same_axis
from .recurrent import RECURRENT

__all__ = ["Signal", "absorb_after"]


@dataclass(frozen=True)
class Signal:
    """What was to be ``affine(x)`` and now comes as x.

    Attributes
    ----------
    axis : 1 or -1
        Where its channels are; after a Flatten, where they were.
    ndim : int or None
        Its rank.
    flat : bool
        Whether it went through a Flatten.
    """

    affine: Affine
    axis: int
    ndim: int | None
    flat: bool = False


def absorb_after(chain: Chain, index: int, signal: Signal) -> list[Change]:
    """Changes that make ``chain.items[index:]`` do with x what they now do with ``affine(x)``.

    Raises
    ------
    FoldRefused
        With the first obstacle.
    """
    for item in chain.items[index:]:
        if isinstance(item, Block):
            return _into_block(item, signal)
        if item.kind is L.Linear:
            return [_into_linear(item, signal)]
        if item.kind in CONVOLUTIONS:
            return [_into_convolution(item, signal)]
        if item.kind in RECURRENT:
            return [_into_recurrent(item, signal)]
        if item.kind in POOLS:
            _judge_axis(item, signal, item.layer.axis)
            judge_pool(item, signal.affine)
        elif item.kind not in (L.Dropout, L.Flatten):
            raise FoldRefused(f"{item.name} is after it, which is not linear")
        if item.kind in MAKE_ROWS:
            signal = replace(signal, ndim=2, flat=signal.flat or item.kind is L.Flatten)
    raise FoldRefused(f"nothing linear is between it and {chain.end}")


def _into_linear(place: Place, signal: Signal) -> Change:
    affine, features = signal.affine, place.layer.in_features
    if signal.flat and features % affine.channels == 0:
        # channels first: every channel's pixels in a row; channels last: every pixel's channels
        times = features // affine.channels
        affine = affine.repeat(times) if signal.axis == 1 else affine.tile(times)
    elif not signal.flat:
        _judge_axis(place, signal, -1)
    if affine.channels != features:
        raise FoldRefused(f"it has {affine.channels} channels where {place.name} has {features}")
    algebra.check_forward(affine, place.layer.dtype)
    return Change(place, *algebra.into_input(*place.parameters(), affine))


def _into_convolution(place: Place, signal: Signal) -> Change:
    layer, affine = place.layer, signal.affine
    _judge_axis(place, signal, layer.axis)
    if affine.channels != layer.in_channels:
        raise FoldRefused(
            f"it has {affine.channels} channels where {place.name} has {layer.in_channels}"
        )
    algebra.check_forward(affine, layer.dtype)
    weight, bias = place.parameters()
    if place.kind is L.ConvTranspose2d:
        pointwise = {*layer.kernel_size, *layer.stride} == {1} and not any(
            (*layer.padding, *layer.output_padding)
        )
        how = {"groups": layer.groups, "pointwise": pointwise}
        return Change(place, *algebra.into_transposed_input(weight, bias, affine, **how))
    if place.before:
        raise FoldRefused(f"{place.name} has a border of its own already")
    pairs = _zero_padding(layer)
    pad = None
    if pairs and affine.offset.any():
        # in place of zeros what the norm would have mapped to zero
        value = algebra.rounded(affine.zero_point, layer.dtype, "border", subnormal_share=1.0)
        pad = L.Pad(layer.in_channels, pairs, value, axis=layer.axis, dtype=layer.dtype)
    how = {"groups": layer.groups, "zero_padded": bool(pairs) and pad is None}
    return Change(place, *algebra.into_input(weight, bias, affine, **how), pad)


def _into_recurrent(place: Place, signal: Signal) -> Change:
    layer, affine = place.layer, signal.affine
    _judge_axis(place, signal, -1)
    if affine.channels != layer.input_size:
        raise FoldRefused(
            f"it has {affine.channels} channels where {place.name} has {layer.input_size}"
        )
    if layer.norm is not None:
        raise FoldRefused(f"a norm of the input products of {place.name} stays")
    algebra.check_forward(affine, layer.dtype)
    return Change(place, *algebra.into_input(*place.parameters(), affine))


def _zero_padding(layer: L.Conv1d | L.Conv2d) -> list[tuple[int, int]]:
    """Zeros before and behind every spatial axis; an empty list if there are none."""
    if isinstance(layer.padding, str):
        total = [d * (k - 1) for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
        pairs = [(size // 2, size - size // 2) for size in total]
    else:
        pairs = [(size, size) for size in layer.padding]
    return pairs if any(map(any, pairs)) else []


def _into_block(block: Block, signal: Signal) -> list[Change]:
    changes = []
    for branch in block.branches:
        try:
            changes += absorb_after(branch, 0, signal)
        except FoldRefused as reason:
            raise FoldRefused(f"a branch of {block.name} cannot take it ({reason})") from None
    return changes


def _judge_axis(place: Place, signal: Signal, axis: int) -> None:
    if signal.flat:
        raise FoldRefused(f"a Flatten is between it and {place.name}")
    if not same_axis(signal.axis, axis, signal.ndim):
        raise FoldRefused(f"its channels lie along another axis than those of {place.name}")
