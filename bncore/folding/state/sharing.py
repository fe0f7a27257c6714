"""Tensors that several names of a state dict stand for: changing one would change, or fail to change, the others.

A file does not say so outright: .safetensors may note dropped names in its metadata, and elsewhere a shared weight is
there twice, bit for bit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np

from ...support.tensors import StateDict
from ..algebra import FoldRefused

__all__ = ["Sharing"]

FEWEST = 4  # so many equal numbers are no coincidence, unless they are all the same


class Sharing:
    """Answers whether a tensor has other names.

    Parameters
    ----------
    state : StateDict
    names : iterable of str
        All tensors that may be shared; only those of equal types and shapes are read.
    """

    def __init__(self, state: StateDict, names: Iterable[str]) -> None:
        self._state = state
        self._dropped = {
            kept: name for name, kept in state.metadata.items() if kept in state.tensors
        }
        self._alike: dict[object, list[str]] = {}
        for name in names:
            self._alike.setdefault(state.tensors[name], []).append(name)
        self._digests: dict[str, bytes | None] = {}

    def judge(self, *names: str | None) -> None:
        """Raise FoldRefused if one of these tensors has another name."""
        for name in names:
            if name in self._dropped:
                raise FoldRefused(f"{name} is shared with {self._dropped[name]}, says the metadata")
            other = None if name is None else self._twin(name)
            if other is not None:
                raise FoldRefused(f"{name} is equal to {other}, bit for bit: it may be shared")

    def _twin(self, name: str) -> str | None:
        alike = self._alike.get(self._state.tensors[name], [])
        if len(alike) < 2 or name not in alike or self._digest(name) is None:
            return None
        twins = (other for other in alike if other != name)
        return next((other for other in twins if self._digest(other) == self._digest(name)), None)

    def _digest(self, name: str) -> bytes | None:
        """None for what may be equal by chance: few numbers, or all the same."""
        if name not in self._digests:
            values = np.ascontiguousarray(self._state.read(name)).reshape(-1)
            chance = values.size < FEWEST or bool((values == values[0]).all())
            self._digests[name] = None if chance else hashlib.blake2b(values.data).digest()
        return self._digests[name]
