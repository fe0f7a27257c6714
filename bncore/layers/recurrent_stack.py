"""What a recurrent layer owns: parameters of stacked layers in one or both directions, norms, dropouts; its config.

What it computes with them is in recurrent.py.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..support import checks
from .base import Array, Layer
from .dropout import Dropout
from .init import float_dtype, generator
from .layer_norm import LayerNorm
from .norm import BatchNorm
from .registry import build
from .renorm import BatchRenorm
from .rms_norm import RMSNorm

__all__ = ["NORMS", "Direction", "RecurrentStack"]

NORMS: dict[str, Callable[..., Layer]] = {
    "batch": BatchNorm,
    "renorm": BatchRenorm,
    "layer": LayerNorm,
    "rms": RMSNorm,
}
"""Norms of the input products by name; each takes the number of features first."""

DECIDED = ("num_features", "normalized_shape", "axis", "activation", "dtype")
"""Arguments of a norm that the layer sets."""

IDLE = (
    "dropout={:g} does nothing with num_layers=1: it stands between the layers of a stack. Put a Dropout behind this "
    "layer instead"
)


class Direction(NamedTuple):
    """One direction of one layer of the stack: the names of what it owns."""

    weight_ih: str
    weight_hh: str
    bias_ih: str
    bias_hh: str
    norm: str
    reverse: bool


class RecurrentStack(Layer):
    """Base class of `Recurrent`; subclasses set `gates` and `kind`."""

    gates: int = 1  # blocks of hidden_size in a row of input products
    kind: str = ""  # as functional names the recurrence

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        bidirectional: bool,
        dropout: float,
        norm: str | None,
        norm_options: Mapping[str, Any] | None,
        batch_first: bool,
        output: str,
        bias: bool,
        dtype: npt.DTypeLike,
        rng: np.random.Generator | int | None,
    ) -> None:
        self.input_size = checks.positive_int(input_size, "input_size")
        self.hidden_size = checks.positive_int(hidden_size, "hidden_size")
        self.num_layers = checks.positive_int(num_layers, "num_layers")
        self.bidirectional = checks.boolean(bidirectional, "bidirectional")
        self.dropout = checks.fraction(dropout, "dropout", below_one=True)
        if self.dropout and self.num_layers == 1:
            warnings.warn(IDLE.format(self.dropout), UserWarning, stacklevel=3)
        self.norm = checks.one_of(norm, "norm", (None, "none", *NORMS))
        if self.norm == "none":
            self.norm = None
        self.norm_options = _judge_options(norm_options, self.norm)
        self.batch_first = checks.boolean(batch_first, "batch_first")
        self.output = checks.one_of(output, "output", ("sequence", "last"))
        self.has_bias = checks.boolean(bias, "bias")
        self.dtype = float_dtype(dtype)
        suffixes = ("", "_reverse") if self.bidirectional else ("",)
        self.stack = [
            [_direction(f"l{number}{suffix}") for suffix in suffixes]
            for number in range(self.num_layers)
        ]
        source = generator(rng)
        self._make_parameters(source)
        self._make_children(source)

    def _make_parameters(self, rng: np.random.Generator) -> None:
        """U(-b, b) with b = 1/sqrt(hidden_size), as PyTorch; drawn in float64, so that both dtypes start alike."""
        bound = 1.0 / math.sqrt(self.hidden_size)
        for number, directions in enumerate(self.stack):
            inputs = self.hidden_size * len(directions) if number else self.input_size
            for d in directions:
                width = self.gates * self.hidden_size
                shapes: dict[str, tuple[int, ...] | None] = {
                    d.weight_ih: (width, inputs),
                    d.weight_hh: (width, self.hidden_size),
                    d.bias_ih: (width,) if self.has_bias and self.norm is None else None,
                    d.bias_hh: (width,) if self.has_bias else None,
                }
                for name, shape in shapes.items():
                    value = None if shape is None else rng.uniform(-bound, bound, shape)
                    setattr(self, name, None if value is None else value.astype(self.dtype))
        self._name_parameters()

    def _name_parameters(self) -> None:
        """In PyTorch's order."""
        names = [name for d in self.directions() for name in d[:4]]
        self.parameter_names = tuple(name for name in names if getattr(self, name) is not None)
        self.decayed_names = tuple(n for n in self.parameter_names if n.startswith("weight"))

    def _make_children(self, rng: np.random.Generator) -> None:
        """A norm for the products of each direction, a dropout between layers."""
        self.dropouts = {
            f"dropout_l{number}": Dropout(self.dropout, rng=rng)
            for number in range(self.num_layers - 1 if self.dropout else 0)
        }
        for directions in self.stack:
            for d in directions:
                setattr(self, d.norm, self._make_norm())

    def _make_norm(self) -> Layer | None:
        if self.norm is None:
            return None
        features = self.gates * self.hidden_size
        try:
            return NORMS[self.norm](features, dtype=self.dtype, **self.norm_options)
        except TypeError as error:
            raise TypeError(f"norm_options: {error}") from None

    # ---- children, configuration, text

    def children(self) -> Iterable[tuple[str, Layer]]:
        found: list[tuple[str, Layer]] = []
        for number, directions in enumerate(self.stack):
            dropout = f"dropout_l{number - 1}"
            if dropout in self.dropouts:
                found.append((dropout, self.dropouts[dropout]))
            if self.norm is not None:
                found += [(d.norm, getattr(self, d.norm)) for d in directions]
        return found

    def config(self) -> dict[str, Any]:
        return {
            "type": type(self).__name__,
            "input_size": self.input_size,
            "hidden_size": self.hidden_size,
            "num_layers": self.num_layers,
            "bidirectional": self.bidirectional,
            "dropout": self.dropout,
            "norm": self.norm,
            "norm_options": self.norm_options,
            "batch_first": self.batch_first,
            "output": self.output,
            "bias": self.has_bias,
            "dtype": self.dtype.name,
            # as they are now: options may have been changed on the norms themselves
            "norms": {d.norm: getattr(self, d.norm).config() for d in self.directions()}
            if self.norm is not None
            else {},
        }

    @classmethod
    def from_config(cls, arguments: dict[str, Any]) -> Layer:
        arguments = dict(arguments)
        norms = arguments.pop("norms", {})
        layer = cls(**arguments)
        known = {d.norm for d in layer.directions()}
        for name, config in norms.items():
            if name not in known:
                raise ValueError(f"config: {layer.brief()} has no norm {name!r}")
            setattr(layer, name, build(config))
        return layer

    def directions(self) -> list[Direction]:
        """All directions of all layers of the stack, in the order of the forward pass."""
        return [d for directions in self.stack for d in directions]

    def take_products(self, products: Mapping[str, tuple[Array, Array]]) -> None:
        """New weights and biases of input products, by the name of the direction's norm; all norms are gone.

        For folding: every direction has both biases afterwards.
        """
        width = self.gates * self.hidden_size
        for d in self.directions():
            if d.norm in products:
                weight, bias = products[d.norm]
                setattr(self, d.weight_ih, weight.copy())
                setattr(self, d.bias_ih, bias.copy())
            for name in (d.bias_ih, d.bias_hh):
                if getattr(self, name) is None:
                    setattr(self, name, np.zeros(width, self.dtype))
            setattr(self, d.norm, None)
        self.norm, self.norm_options, self.has_bias = None, {}, True
        self._name_parameters()

    def brief(self) -> str:
        return f"{type(self).__name__}({self.input_size}, {self.hidden_size})"

    def describe(self) -> str:
        parts = [str(self.input_size), str(self.hidden_size)]
        defaults = {
            "num_layers": 1,
            "bidirectional": False,
            "dropout": 0.0,
            "norm": None,
            "batch_first": True,
            "output": "sequence",
        }
        for name, usual in defaults.items():
            if getattr(self, name) != usual:
                parts.append(f"{name}={getattr(self, name)!r}")
        return ", ".join(parts if self.has_bias else [*parts, "bias=False"])


def _direction(suffix: str) -> Direction:
    return Direction(
        f"weight_ih_{suffix}",
        f"weight_hh_{suffix}",
        f"bias_ih_{suffix}",
        f"bias_hh_{suffix}",
        f"norm_{suffix}",
        reverse=suffix.endswith("_reverse"),
    )


def _judge_options(options: Mapping[str, Any] | None, norm: str | None) -> dict[str, Any]:
    if options is None:
        return {}
    if not isinstance(options, Mapping):
        raise TypeError(
            f"norm_options must be a mapping of names to values, got {type(options).__name__}"
        )
    found = dict(options)
    if norm is None and found:
        raise ValueError(f"norm_options must be empty without a norm, got {found}")
    for name in DECIDED:
        if name in found:
            raise ValueError(f"norm_options must not have {name!r}, which the layer decides")
    return found
