"""State dicts: all parameters and buffers of a net by name, names and layouts as in PyTorch.

Arrays in, arrays out; files are the business of `bncore.io`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from .base import Layer

__all__ = ["LoadReport", "load_state", "save_state"]

Array = npt.NDArray[Any]
MAY_BE_ABSENT = "num_batches_tracked"
_INTEGER = (int, np.integer)


class LoadReport(NamedTuple):
    """What a state dict did not have, and what it had too much."""

    missing: list[str]
    unexpected: list[str]


class _Entry(NamedTuple):
    layer: Layer
    name: str
    value: Any  # an array, or an int


def _entries(net: Layer, prefix: str) -> dict[str, _Entry]:
    """Everything that belongs to the state, in PyTorch's order: a layer's parameters, its buffers, its children."""
    entries = {}
    for path, layer in net.named_layers():
        for name in (*layer.parameter_names, *layer.buffer_names):
            value = getattr(layer, name)
            if value is not None:
                key = f"{path}.{name}" if path else name
                entries[prefix + key] = _Entry(layer, name, value)
    return entries


def save_state(net: Layer, prefix: str) -> dict[str, Array]:
    return {
        name: np.array(entry.value, np.int64)
        if isinstance(entry.value, _INTEGER)
        else entry.value.copy()
        for name, entry in _entries(net, prefix).items()
    }


def load_state(net: Layer, state: Mapping[str, Any], strict: bool, cast: bool) -> LoadReport:
    if not isinstance(state, Mapping):
        raise TypeError(f"state must be a mapping of names to arrays, got {type(state).__name__}")
    entries = _entries(net, "")
    state = dict(state)
    for path, layer in net.named_layers():
        layer.adapt_state(state, f"{path}." if path else "")
    unexpected = [str(name) for name in state if name not in entries]
    missing = [n for n in entries if n not in state and n.rpartition(".")[2] != MAY_BE_ABSENT]
    problems: list[str] = []
    if strict:
        problems += [f"missing: {name}" for name in missing]
        problems += [f"unexpected: {name}" for name in unexpected]
    new: list[tuple[_Entry, Any]] = []
    for name, entry in entries.items():
        if name not in state:
            continue
        try:
            new.append((entry, _converted(state[name], entry.value, cast)))
        except (TypeError, ValueError) as error:
            problems.append(f"{name}: {error}")
    if problems:
        raise ValueError(
            f"the state does not fit {net.brief()}; nothing was loaded:\n  " + "\n  ".join(problems)
        )
    # nothing below can fail: all is loaded, or nothing was
    for entry, value in new:
        if isinstance(entry.value, _INTEGER):
            setattr(entry.layer, entry.name, value)
        else:
            entry.value[...] = value  # in place: views of the flat vector stay views
    return LoadReport(missing, unexpected)


def _converted(given: Any, current: Any, cast: bool) -> Any:
    """The value as the net stores it, or an error that says what is wrong with it."""
    array = np.asarray(given)
    if isinstance(current, _INTEGER):
        return _counter(array)
    if array.shape != current.shape:
        raise ValueError(f"expected shape {current.shape}, got {array.shape}")
    if array.dtype == current.dtype:
        return array
    dtype = array.dtype.newbyteorder("=")
    if dtype not in (np.float32, np.float64):
        raise TypeError(f"expected {current.dtype}, got {array.dtype}")
    if dtype == current.dtype or current.dtype == np.float64:
        return array.astype(current.dtype)
    if not cast:
        raise TypeError("expected float32, got float64; cast=True rounds it")
    with np.errstate(over="ignore"):
        rounded = array.astype(np.float32)
    if not np.array_equal(np.isfinite(rounded), np.isfinite(array)):
        raise ValueError("finite float64 values would become infinite in float32")
    return rounded


def _counter(array: Array) -> int:
    if array.size != 1 or array.dtype.kind not in "iuf":
        raise ValueError(f"expected one integer, got {array.dtype} of shape {array.shape}")
    number = array.item()
    if not math.isfinite(number) or number < 0 or number != int(number):
        raise ValueError(f"expected an integer >= 0, got {number}")
    return int(number)
