"""Batches of sequences of different lengths: from padded arrays to the rows of valid steps, and back; their states.

Recurrent layers compute on those rows only, one sequence after the other, so padding costs nothing and never changes
a result. Nothing here computes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..functional.recurrent import judge_lengths
from .base import Array

__all__ = ["Sequences", "State", "join_states", "split_state"]

State = Any  # an array, or for an LSTM a pair (h, c) of them


@dataclass(frozen=True, slots=True, eq=False)
class Sequences:
    """How n sequences lie in a padded array of ``steps`` steps.

    Attributes
    ----------
    lengths : ndarray of int64, shape (n,)
    steps : int
    valid : ndarray of bool, shape (n, steps), or None
        None: every sequence has all steps.
    batch_first : bool
        Whether padded arrays are (n, steps, features) or (steps, n, features).
    """

    lengths: Array
    steps: int
    valid: Array | None
    batch_first: bool

    @classmethod
    def of(cls, x: Any, lengths: Any, features: int, batch_first: bool) -> Sequences:
        """How sequences lie in ``x``.

        Raises
        ------
        TypeError, ValueError
            If x is no array of that many features, or lengths do not fit it.
        """
        wanted = f"({'N, L' if batch_first else 'L, N'}, {features})"
        if not isinstance(x, np.ndarray):
            raise TypeError(f"x must be an array of shape {wanted}, got {type(x).__name__}")
        if x.ndim != 3 or x.shape[2] != features:
            raise ValueError(f"x must have shape {wanted}, got {x.shape}")
        n, steps = x.shape[:2] if batch_first else x.shape[1::-1]
        if lengths is None:
            return cls(np.full(n, steps, np.int64), steps, None, batch_first)
        lengths = judge_lengths(lengths, n, steps)
        if (lengths == steps).all():
            return cls(lengths, steps, None, batch_first)
        return cls(lengths, steps, np.arange(steps) < lengths[:, None], batch_first)

    def pack(self, x: Array) -> Array:
        """The rows (m, features) of valid steps; x itself, reshaped, where it has no others and batches first."""
        if not self.batch_first:
            x = x.swapaxes(0, 1)
        return x.reshape(-1, x.shape[2]) if self.valid is None else x[self.valid]

    def unpack(self, rows: Array) -> Array:
        """The way back: a padded array, zeros where no step is valid."""
        n, steps, features = len(self.lengths), self.steps, rows.shape[1]
        if self.valid is None:
            padded = rows.reshape(n, steps, features)
        else:
            padded = np.zeros((n, steps, features), rows.dtype)
            padded[self.valid] = rows
        return padded if self.batch_first else np.ascontiguousarray(padded.swapaxes(0, 1))


def split_state(state: State, name: str, shape: tuple[int, int, int], paired: bool) -> list[State]:
    """The state of each direction, from arrays of ``shape``: directions of all layers first; None for None."""
    if state is None:
        return [None] * shape[0]
    if paired and (not isinstance(state, (tuple, list)) or len(state) != 2):
        raise TypeError(f"{name} must be a pair (h, c) of arrays, got {type(state).__name__}")
    for part in state if paired else (state,):
        if not isinstance(part, np.ndarray):
            raise TypeError(f"{name} must hold arrays, got {type(part).__name__}")
        if part.shape != shape:
            raise ValueError(f"{name} must have shape {shape}, got {part.shape}")
    return list(zip(*state)) if paired else list(state)


def join_states(states: list[State]) -> State:
    """The way back."""
    if type(states[0]) is tuple:
        return tuple(np.stack(parts) for parts in zip(*states))
    return np.stack(states)
