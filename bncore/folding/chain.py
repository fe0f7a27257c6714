"""A net as chains of places: what stands where, what it will become, and from there back to a net.

Containers are seen through: a nested Sequential is part of its parent's chain, Residual and Concat
are blocks of branches. Every place has a copy of its layer, so that folding never touches the net
it was given, nor arrays that two layers share. No algebra and no rules here.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import layers as L
from .algebra import Array64, FoldRefused, rounded
from .recurrent import RECURRENT, input_parameters, set_input_parameters

__all__ = ["BATCH_NORMS", "Block", "Chain", "Change", "Net", "Place", "layout", "same_axis"]

# Exact types: a subclass may compute something else
CONVOLUTIONS = (L.Conv1d, L.Conv2d, L.ConvTranspose2d)
ACTIVATIONS = (L.ReLU, L.LeakyReLU, L.GELU, L.SiLU, L.Sigmoid, L.Tanh)
BATCH_NORMS = (L.BatchNorm, L.BatchRenorm)
# Linear maps with a weight, and what they call the number of their output's channels
OUTPUTS = (
    {L.Linear: "out_features"}
    | dict.fromkeys(BATCH_NORMS, "num_features")
    | dict.fromkeys(CONVOLUTIONS, "out_channels")
)
POOLS = (L.AvgPool, L.MaxPool, L.GlobalAvgPool, L.GlobalMaxPool)
# Norms whose statistics come from each sample itself; InstanceNorm's may be running ones
OF_SAMPLES = (L.LayerNorm, L.RMSNorm, L.GroupNorm, L.InstanceNorm)
KEEP_RANK = (
    *OF_SAMPLES,
    *CONVOLUTIONS,
    *ACTIVATIONS,
    *BATCH_NORMS,
    L.AvgPool,
    L.MaxPool,
    L.Linear,
    L.Dropout,
    L.Pad,
)
MAKE_ROWS = (L.Flatten, L.GlobalAvgPool, L.GlobalMaxPool)


@dataclass(eq=False)
class Place:
    """One layer of the net at one place.

    Attributes
    ----------
    path : str
        In the original net.
    layer : Layer
        A copy; a rule may replace it.
    ndim : int or None
        Rank of the layer's input; None where a layer of unknown kind is before it.
    weight, bias : ndarray or None
        In float64, once a rule has changed them; rounded into the layer at the very end.
    before : list of Layer
        What a rule put right before the layer.
    removed : bool
    """

    path: str
    layer: Any
    ndim: int | None = None
    weight: Array64 | None = None
    bias: Array64 | None = None
    before: list[L.Layer] = field(default_factory=list)
    removed: bool = False

    @property
    def kind(self) -> type:
        return type(self.layer)

    @property
    def name(self) -> str:
        return f"{self.path} {self.layer.brief()}".strip()

    @property
    def has_relu(self) -> bool:
        return getattr(self.layer, "activation", None) == "relu"

    @property
    def outputs(self) -> int:
        """Channels of the output, for a kind in `OUTPUTS`."""
        return int(getattr(self.layer, OUTPUTS[self.kind]))

    def parameters(self) -> tuple[Array64, Array64 | None]:
        """Weight and bias in float64, with what was absorbed so far; a norm without weight has
        ones.
        """
        if self.weight is not None:
            return self.weight, self.bias
        layer = self.layer
        if self.kind in RECURRENT:
            return input_parameters(layer, {})
        weight = (
            np.ones(layer.num_features) if layer.weight is None else layer.weight.astype(np.float64)
        )
        return weight, None if layer.bias is None else layer.bias.astype(np.float64)

    def finish(self) -> list[L.Layer]:
        """What stands here in the folded net."""
        if self.removed:
            return []
        if self.weight is not None and self.bias is not None:
            weight, bias = _rounded(self.weight, self.bias, self.layer.dtype)
            if self.kind in RECURRENT:
                set_input_parameters(self.layer, weight, bias)
            else:
                self.layer.weight, self.layer.bias = weight, bias
        return [*self.before, self.layer]


@dataclass(eq=False)
class Block:
    """Branches that read one input; their results are added (Residual) or concatenated (Concat).

    Attributes
    ----------
    layer : Residual or Concat
        Of the original net.
    branches : list of Chain
        A residual block has two: without a shortcut layer the second one is empty.
    """

    path: str
    layer: Any
    branches: list[Chain]

    @property
    def name(self) -> str:
        return f"{self.path} {type(self.layer).__name__}".strip()

    def channels(self) -> list[int | None]:
        """Of every branch's output."""
        return [branch.channels() for branch in self.branches]


@dataclass(eq=False)
class Chain:
    """Layers one after another.

    Attributes
    ----------
    begin, end : str
        What is before the first and after the last one, in a report's words.
    """

    begin: str
    end: str
    items: list[Place | Block] = field(default_factory=list)

    def places(self) -> Iterator[tuple[Chain, Place]]:
        """All places with their chain, blocks' included, in the order of the forward pass."""
        for item in self.items:
            if isinstance(item, Place):
                yield self, item
            else:
                for branch in item.branches:
                    yield from branch.places()

    def channels(self) -> int | None:
        """How many channels come out, where a layer of the chain tells."""
        for item in reversed(self.items):
            if isinstance(item, Block):
                sizes = item.channels()
                if isinstance(item.layer, L.Residual):
                    return sizes[0] or sizes[1]
                return None if None in sizes else sum(size or 0 for size in sizes)
            if item.kind in OUTPUTS:
                return item.outputs
            if item.kind not in (L.Dropout, *POOLS, *ACTIVATIONS):
                return None
        return None


@dataclass(eq=False)
class Change:
    """What a rule wants one layer to become; nothing happens before `apply`.

    Attributes
    ----------
    pad : Pad or None
        A border of its own in place of the convolution's zero padding.
    """

    place: Place
    weight: Array64
    bias: Array64
    pad: L.Pad | None = None

    def judge(self) -> None:
        """Refuse if the layer's dtype cannot hold the result."""
        _rounded(self.weight, self.bias, self.place.layer.dtype)

    def apply(self) -> None:
        self.place.weight, self.place.bias = self.weight, self.bias
        if self.pad is not None:
            self.place.before = [self.pad]
            self.place.layer.padding = (0,) * self.place.layer.spatial


class Net:
    """The chains of a net, and the way back.

    Parameters
    ----------
    net : Layer
        Only read.
    input_ndim : int or None
        Rank of the net's input; None: what its first convolution takes, 2 without one.

    Attributes
    ----------
    chain : Chain
    hidden : list of (path, container)
        Norms inside containers of unknown kind, which are left as they are.
    """

    def __init__(self, net: L.Layer, input_ndim: int | None) -> None:
        self._root = net
        self._places: dict[str, Place] = {}
        self.hidden: list[tuple[str, str]] = []
        self.chain = Chain("the net's input", "the net's output")
        self._read(net, "", self.chain)
        if input_ndim is None:
            spatial = (p.layer.spatial for _, p in self.chain.places() if p.kind in CONVOLUTIONS)
            input_ndim = 2 + next(spatial, 0)
        _note_ranks(self.chain, input_ndim)

    def norms(self) -> list[tuple[Chain, Place]]:
        """The norms that may fold and are still there, in the order of the forward pass."""
        return [(c, place) for c, place in self.chain.places() if _has_constants(place.layer)]

    def sample_norms(self) -> list[Place]:
        """The norms that never fold, in the same order."""
        return [
            place
            for _, place in self.chain.places()
            if isinstance(place.layer, OF_SAMPLES) and not _has_constants(place.layer)
        ]

    def finish(self) -> L.Layer:
        """A new net of what the places have become, in evaluation mode."""
        return _one(self._write(self._root, "")).eval()

    def _read(self, layer: L.Layer, path: str, chain: Chain) -> None:
        if type(layer) is L.Sequential:
            for name, child in layer.children():
                self._read(child, _join(path, name), chain)
        elif type(layer) in (L.Residual, L.Concat):
            block = Block(path, layer, [])
            result = "sum" if isinstance(layer, L.Residual) else "concatenation"
            branches = dict(layer.children())
            if isinstance(layer, L.Residual):
                branches.setdefault("shortcut", L.Sequential())
            for name, child in branches.items():
                shared = f"the input of {block.name}, which its other branches read too"
                branch = Chain(shared, f"the {result} of {block.name}")
                self._read(child, _join(path, name), branch)
                block.branches.append(branch)
            chain.items.append(block)
        else:
            self._places[path] = Place(path, copy.deepcopy(layer))
            chain.items.append(self._places[path])
            if type(layer) in RECURRENT:
                return
            inside = [p for p, inner in layer.named_layers(path) if isinstance(inner, L.BatchNorm)]
            self.hidden += [(p, type(layer).__name__) for p in inside if p != path]

    def _write(self, layer: L.Layer, path: str) -> list[L.Layer]:
        if path in self._places:
            return self._places[path].finish()
        parts = {name: self._write(child, _join(path, name)) for name, child in layer.children()}
        if isinstance(layer, L.Sequential):
            return [L.Sequential(*(new for part in parts.values() for new in part))]
        branches = {name: _one(part) for name, part in parts.items()}
        if isinstance(layer, L.Residual):
            return [L.Residual(**branches, activation=layer.activation)]
        assert isinstance(layer, L.Concat)
        return [L.Concat(*branches.values(), axis=layer.axis)]


def _has_constants(layer: L.Layer) -> bool:
    """Whether a layer is a norm with statistics that do not come from the sample, in evaluation."""
    if isinstance(layer, L.InstanceNorm):
        return layer.running_mean is not None
    return isinstance(layer, L.BatchNorm)


def layout(axis: int, ndim: int | None) -> int:
    """A norm's channel axis as 1 (channels first) or -1 (channels last)."""
    if axis in (1, -1):
        return axis
    if ndim is not None and axis % ndim in (1, ndim - 1):
        return 1 if axis % ndim == 1 else -1
    raise FoldRefused(f"it normalizes axis {axis}, folding knows 1 and -1")


def same_axis(a: int | None, b: int, ndim: int | None) -> bool:
    """Whether two channel axes (1 or -1) are one; None fits any."""
    return a is None or a == b or ndim == 2


def _note_ranks(chain: Chain, ndim: int | None) -> int | None:
    """Note every place's input rank; returns the rank of the output."""
    for item in chain.items:
        if isinstance(item, Block):
            ranks = [_note_ranks(branch, ndim) for branch in item.branches]
            ndim = ranks[0]
            continue
        if item.kind in RECURRENT:
            item.ndim, ndim = 3, 2 if item.layer.output == "last" else 3
            continue
        item.ndim = 2 + item.layer.spatial if item.kind in CONVOLUTIONS else ndim
        if item.kind in MAKE_ROWS:
            ndim = 2
        else:
            ndim = item.ndim if item.kind in KEEP_RANK else None
    return ndim


def _rounded(weight: Array64, bias: Array64, dtype: np.dtype[Any]) -> tuple[Any, Any]:
    return rounded(weight, dtype, "weight"), rounded(bias, dtype, "bias", subnormal_share=1.0)


def _one(layers: list[L.Layer]) -> L.Layer:
    return layers[0] if len(layers) == 1 else L.Sequential(*layers)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
