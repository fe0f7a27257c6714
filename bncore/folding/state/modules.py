"""What the names and shapes in a state dict tell of its modules: norms with running statistics, and linear operations.

Judges single modules; which belong together is said in names.py and pairs.py.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ...support.tensors import TensorType
from .names import is_norm_name

__all__ = ["Linear", "Modules", "Norm", "find_modules"]

NORM_MEMBERS = {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}
NO_STATISTICS = "it has no running statistics: it normalizes by those of its input"


@dataclass(frozen=True)
class Linear:
    """A module with a weight of two axes or more.

    Attributes
    ----------
    path : str
    weight, bias : str
        Names of its tensors; bias is None where there is none.
    shape : tuple of int
        Of the weight.
    dtype : str
        Of the weight.
    bias_size : int
    others : tuple of str
        Members beside weight and bias, of which folding knows nothing.
    """

    path: str
    weight: str
    bias: str | None
    shape: tuple[int, ...]
    dtype: str
    bias_size: int = 0
    others: tuple[str, ...] = ()


@dataclass(frozen=True)
class Norm:
    """A module with running statistics; the attributes are names of its tensors, None where there is none."""

    path: str
    channels: int
    weight: str | None
    bias: str | None
    mean: str
    var: str
    counter: str | None

    @property
    def tensors(self) -> list[str]:
        names = (self.weight, self.bias, self.mean, self.var, self.counter)
        return [name for name in names if name is not None]


@dataclass
class Modules:
    """All modules of a state dict by path; `unusable` are norms that no pair can fold, with the reason."""

    linears: dict[str, Linear] = field(default_factory=dict)
    norms: dict[str, Norm] = field(default_factory=dict)
    unusable: dict[str, str] = field(default_factory=dict)


def find_modules(tensors: Mapping[str, TensorType]) -> Modules:
    """The norms and linear operations among named tensors, in the order of numbers and letters."""
    members: dict[str, set[str]] = {}
    for name in tensors:
        path, _, member = name.rpartition(".")
        members.setdefault(path, set()).add(member)
    found = Modules()
    for path in sorted(members, key=_natural):
        own = {m: tensors[_join(path, m)] for m in members[path]}
        if {"running_mean", "running_var"} & own.keys():
            _add_norm(found, path, own)
        elif "weight" in own and len(own["weight"].shape) >= 2:
            found.linears[path] = _linear(path, own)
        elif _is_norm_without_statistics(path, own):
            found.unusable[path] = NO_STATISTICS
    return found


def _linear(path: str, own: Mapping[str, TensorType]) -> Linear:
    weight, bias = own["weight"], own.get("bias")
    name = None if bias is None else _join(path, "bias")
    size = 0 if bias is None else math.prod(bias.shape)
    others = tuple(sorted(own.keys() - {"weight", "bias"}))
    return Linear(path, _join(path, "weight"), name, weight.shape, weight.dtype, size, others)


def _add_norm(found: Modules, path: str, own: Mapping[str, TensorType]) -> None:
    for needed in ("running_mean", "running_var"):
        if needed not in own:
            found.unusable[path] = f"{needed} is missing"
            return
    others = own.keys() - NORM_MEMBERS
    if others:
        found.unusable[path] = f"it has tensors of unknown use: {', '.join(sorted(others))}"
        return
    shapes = {
        m: own[m].shape for m in ("running_mean", "running_var", "weight", "bias") if m in own
    }
    if len(set(shapes.values())) > 1 or len(shapes["running_mean"]) != 1:
        told = ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items())
        found.unusable[path] = f"its tensors do not fit together: {told}"
        return
    weight, bias, counter = (
        _join(path, m) if m in own else None for m in ("weight", "bias", "num_batches_tracked")
    )
    mean, var = _join(path, "running_mean"), _join(path, "running_var")
    found.norms[path] = Norm(path, shapes["running_mean"][0], weight, bias, mean, var, counter)


def _is_norm_without_statistics(path: str, own: Mapping[str, TensorType]) -> bool:
    if "weight" not in own or len(own["weight"].shape) != 1:
        return False
    affine = "bias" in own and own["bias"].shape == own["weight"].shape
    return affine or is_norm_name(path)


def _natural(path: str) -> list[tuple[int, str]]:
    """Sorts layer10 behind layer2."""
    pieces = re.findall(r"\d+|[^\d.]+", path)
    return [(int(piece), "") if piece.isdecimal() else (-1, piece) for piece in pieces]


def _join(path: str, member: str) -> str:
    return f"{path}.{member}" if path else member
