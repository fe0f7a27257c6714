"""Dropout in front of norms: which layers, and how much variance theory says they add in training.

Every value of every sample is carried through the net with its mean and variance over dropout
masks. Design: a dropout layer with keep probability q turns mean m and variance s into m and
(m² + s)/q - m²; weights w turn s into sum of w²·s, because masks are independent; an elementwise
function of a two-point value (kept or dropped) is exact, of anything else a Gaussian average. At
the norm the variance over samples of the means and the average of s add up, so that dropout
directly in front gives Li et al.'s v / ((c² + v)/q - c²) (2018, arXiv 1801.05134) to rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ... import functional as F
from ...layers import (
    GELU,
    AvgPool,
    BatchNorm,
    Conv1d,
    Conv2d,
    ConvTranspose2d,
    Dropout,
    Flatten,
    GlobalAvgPool,
    Layer,
    LeakyReLU,
    Linear,
    ReLU,
    Sigmoid,
    SiLU,
    Tanh,
)
from ..walk import Call, Walk, join, normalize_by
from .samples import Samples

__all__ = ["Prediction", "predict_dropout"]

Array = np.ndarray[Any, Any]
WEIGHTED = (Linear, Conv1d, Conv2d, ConvTranspose2d)
ELEMENTWISE = (ReLU, LeakyReLU, GELU, SiLU, Sigmoid, Tanh)
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(24)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()


@dataclass(frozen=True)
class _Noisy:
    """A value without dropout, and its mean and variance over masks where dropout came before.

    ``atoms`` is (value if dropped, value if kept, q) while that is all there is to it. ``why`` says
    why mean and variance are not known, if they are not.
    """

    x: Array
    layers: tuple[tuple[str, float], ...] = ()
    through: tuple[str, ...] = ()
    mean: Array | None = None
    var: Array | None = None
    atoms: tuple[Array, Array, float] | None = None
    why: str = ""

    def known(self) -> tuple[Array, Array] | None:
        """Mean and variance over masks, if known; of a value without dropout itself and 0."""
        if not self.layers:
            return self.x, np.zeros_like(self.x)
        return None if self.mean is None or self.var is None else (self.mean, self.var)


@dataclass
class Prediction:
    """What dropout in front of one norm means: which layers, through which others, and the variances."""

    layers: tuple[tuple[str, float], ...]
    through: tuple[str, ...]
    why: str
    evaluation: F.Statistics
    means: F.Statistics | None
    added: F.Statistics | None

    def merge(self, other: Prediction) -> Prediction:
        if self.means is None or other.means is None or self.added is None or other.added is None:
            return self
        return replace(
            self,
            evaluation=self.evaluation.merge(other.evaluation),
            means=self.means.merge(other.means),
            added=self.added.merge(other.added),
        )

    def ratio(self) -> Array | None:
        """Variance in evaluation over variance in training, per channel."""
        if self.means is None or self.added is None:
            return None
        training = self.means.var + self.added.mean
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(training > 0, self.evaluation.var / training, 1.0)


def predict_dropout(
    net: Layer, norms: dict[str, BatchNorm], samples: Samples, step: Callable[[int], None]
) -> dict[str, Prediction]:
    """Per norm with dropout in front; nothing is read where the net has no dropout.

    ``net`` is in evaluation mode; norms normalize by their batch.
    """
    if not any(isinstance(layer, Dropout) and layer.p > 0 for _, layer in net.named_layers()):
        return {}
    walk = _DropoutWalk(norms)
    for x in samples:
        walk.run(net, _Noisy(x))
        step(len(x))
    return walk.found


class _DropoutWalk(Walk[_Noisy]):
    def __init__(self, norms: dict[str, BatchNorm]) -> None:
        self.norms = norms
        self.found: dict[str, Prediction] = {}
        self._twins: dict[str, tuple[Layer, Layer]] = {}
        self._before: dict[str, _Noisy] = {}  # what stands in front of norms inside another layer

    def norm(self, path: str, norm: BatchNorm, x: _Noisy) -> _Noisy:
        if path not in self.norms:
            constants = norm.track_running_stats  # frozen: an elementwise function
            return self._carry(path, norm, x, _elementwise) if constants else _Noisy(norm(x.x))
        stats = F.statistics(x.x, axis=norm.axis)
        if x.layers and stats.count:
            self._record(path, norm, x, stats)
        return _Noisy(normalize_by(norm, x.x, stats))

    def _record(self, path: str, norm: BatchNorm, x: _Noisy, stats: F.Statistics) -> None:
        known = x.known()
        means = added = None
        if known is not None:
            means, added = (F.statistics(part, axis=norm.axis) for part in known)
        here = Prediction(x.layers, x.through, x.why, stats, means, added)
        self.found[path] = self.found[path].merge(here) if path in self.found else here

    def layer(self, path: str, layer: Layer, x: _Noisy) -> _Noisy:
        if isinstance(layer, Dropout):
            return _drop(path, layer, x) if layer.p else x
        if isinstance(layer, WEIGHTED):
            return self._carry(path, layer, x, self._weighted)
        if isinstance(layer, (AvgPool, GlobalAvgPool)):
            return self._carry(path, layer, x, _averaged)
        if isinstance(layer, Flatten):
            return self._carry(path, layer, x, _reshaped)
        if isinstance(layer, ELEMENTWISE):
            return self._carry(path, layer, x, _elementwise)
        y = self._carry(path, layer, x, None)
        inside = _droppers(path, layer)
        if not inside:
            return y
        return replace(y, layers=(*y.layers, *inside), why=y.why or _no_formula(path, layer))

    def _carry(self, path: str, layer: Any, x: _Noisy, rule: Any) -> _Noisy:
        """x through a layer, and what dropout did to it by ``rule``; without one that is unknown."""
        y = layer(x.x)
        if not x.layers:
            return _Noisy(y)
        passed = replace(x, x=y, through=(*x.through, f"{path} {layer.brief()}"))
        if x.known() is None:
            return passed
        if rule is None:
            why = _no_formula(path, layer)
            return replace(passed, mean=None, var=None, atoms=None, why=why)
        noise: _Noisy = rule(path, layer, x)
        return replace(passed, mean=noise.mean, var=noise.var, atoms=noise.atoms)

    def _weighted(self, path: str, layer: Any, x: _Noisy) -> _Noisy:
        """mean: as ever; variance: squared weights, no bias. A fused ReLU follows."""
        if path not in self._twins:
            plain, squared = layer.copy(), layer.copy()
            plain.activation = squared.activation = squared.bias = None
            squared.weight = layer.weight**2
            self._twins[path] = plain, squared
        plain, squared = self._twins[path]
        assert x.mean is not None and x.var is not None
        y = _Noisy(x.x, mean=plain(x.mean), var=squared(x.var))
        return y if layer.activation is None else _elementwise(path, ReLU().eval(), y)

    def through(self, path: str, layer: Any, x: _Noisy, call: Call) -> _Noisy | None:
        entered = replace(x, through=(*x.through, f"{path} {layer.brief()}"))
        before, passed = entered, False
        for name, child in layer.children():  # in the order of the forward pass
            if isinstance(child, Dropout) and child.p:
                before = replace(_Noisy(x.x) if passed else before, through=entered.through)
                before = replace(before, layers=(*before.layers, (join(path, name), child.p)))
                passed = False
            elif isinstance(child, BatchNorm):
                self._before[join(path, name)] = replace(before, why=_no_formula(path, layer))
                passed = True
        y = layer.forward_through(x.x, call)
        return None if y is None else _Noisy(y)

    def inner(self, path: str, norm: BatchNorm, rows: Array) -> Array:
        outside = replace(self._before[path], x=rows, mean=None, var=None, atoms=None)
        return self.norm(path, norm, outside).x

    def add(self, main: _Noisy, shortcut: _Noisy, activation: str | None) -> _Noisy:
        total = main.x + shortcut.x
        parts = main.known(), shortcut.known()
        mean = var = None
        if parts[0] is not None and parts[1] is not None:
            mean, var = parts[0][0] + parts[1][0], parts[0][1] + parts[1][1]
        joined = _joined(total, [main, shortcut], mean, var)
        if activation is None:
            return joined
        relu = ReLU().eval()
        if not joined.layers or joined.mean is None:
            return replace(joined, x=relu(total))
        return replace(_elementwise("", relu, joined), x=relu(total))

    def concat(self, parts: list[_Noisy], axis: int) -> _Noisy:
        known = [k for k in (part.known() for part in parts) if k is not None]
        mean = var = None
        if len(known) == len(parts):
            mean, var = (np.concatenate([k[i] for k in known], axis) for i in (0, 1))
        return _joined(np.concatenate([part.x for part in parts], axis), parts, mean, var)


def _droppers(path: str, layer: Layer) -> list[tuple[str, float]]:
    """Dropout inside a layer that is one step of the walk."""
    return [
        (name, inner.p)
        for name, inner in layer.named_layers(path)
        if isinstance(inner, Dropout) and inner.p
    ]


def _no_formula(path: str, layer: Layer) -> str:
    return f"no formula leads through {path} {layer.brief()}"


def _drop(path: str, layer: Dropout, x: _Noisy) -> _Noisy:
    """A first dropout leaves two possible values; a later one acts on mean and variance."""
    q = 1.0 - layer.p
    layers = (*x.layers, (path, layer.p))
    known = x.known()
    if known is None:
        return replace(x, layers=layers)
    mean, var = known
    atoms = None if x.layers else (np.zeros_like(x.x), x.x / q, q)
    return replace(x, layers=layers, mean=mean, var=(mean**2 + var) / q - mean**2, atoms=atoms)


def _joined(x: Array, parts: list[_Noisy], mean: Array | None, var: Array | None) -> _Noisy:
    """Several values made one; what is noise in one of them is independent of the others' noise."""
    layers = tuple(dict.fromkeys(layer for part in parts for layer in part.layers))
    if not layers:
        return _Noisy(x)
    through = tuple(dict.fromkeys(name for part in parts for name in part.through))
    why = next((part.why for part in parts if part.why), "")
    return _Noisy(x, layers, through, mean, var, None, why)


def _elementwise(path: str, layer: Layer, x: _Noisy) -> _Noisy:
    assert x.mean is not None and x.var is not None
    if x.atoms is not None:
        dropped, kept, q = layer(x.atoms[0]), layer(x.atoms[1]), x.atoms[2]
        mean, var = kept * q + dropped * (1 - q), q * (1 - q) * (kept - dropped) ** 2
        return replace(x, mean=mean, var=var, atoms=(dropped, kept, q))
    std = np.sqrt(x.var)
    mean, square = np.zeros_like(x.mean), np.zeros_like(x.mean)
    for node, weight in zip(_NODES.tolist(), _WEIGHTS.tolist()):
        y = layer(x.mean + node * std)
        mean += weight * y
        square += weight * y**2
    return replace(x, mean=mean, var=np.maximum(square - mean**2, 0), atoms=None)


def _reshaped(path: str, layer: Layer, x: _Noisy) -> _Noisy:
    assert x.mean is not None and x.var is not None
    atoms = None if x.atoms is None else (layer(x.atoms[0]), layer(x.atoms[1]), x.atoms[2])
    return replace(x, mean=layer(x.mean), var=layer(x.var), atoms=atoms)


def _averaged(path: str, layer: Any, x: _Noisy) -> _Noisy:
    """The mean of k independent values has 1/k of their mean variance; k is smaller where padding does not count."""
    assert x.mean is not None and x.var is not None
    if isinstance(layer, GlobalAvgPool):
        mean = layer(x.mean)
        return replace(x, mean=mean, var=layer(x.var) * (mean.size / x.mean.size), atoms=None)
    counted = layer.copy()
    counted.count_include_pad = True
    spatial = x.mean.ndim - 2
    size = layer.kernel_size
    k = float(np.prod(size)) if isinstance(size, tuple) else float(size) ** spatial
    share = 1.0 if layer.count_include_pad else counted(np.ones_like(x.mean))
    return replace(x, mean=layer(x.mean), var=counted(x.var) / (k * share**2), atoms=None)
