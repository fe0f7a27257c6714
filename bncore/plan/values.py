"""What a plan is made of: values, which are arrays, and steps, which make them. Data only."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Array", "Step", "Unsupported", "Value"]

Array = npt.NDArray[Any]


class Unsupported(Exception):
    """A net, or a use of one, that no plan is made for; its layers are called one by one."""


@dataclass(eq=False, slots=True)
class Value:
    """An array of a plan: one step makes it, later ones read it.

    Attributes
    ----------
    name : str
    shape : tuple of int
        As it lies in memory.
    dtype : dtype
    turned : bool
        Channels, which the net has on axis 1, lie on the last one.
    base : Value or None
        The value whose memory it is, in another shape.
    learns : bool
        Whether its gradient is of use: it depends on parameters.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    turned: bool = False
    base: Value | None = None
    learns: bool = False

    @property
    def size(self) -> int:
        """How many numbers."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return self.size * self.dtype.itemsize

    @property
    def channels_first_shape(self) -> tuple[int, ...]:
        """Shape as the net sees it: channels on axis 1 where they are turned."""
        if not self.turned:
            return self.shape
        return (self.shape[0], self.shape[-1], *self.shape[1:-1])

    def owner(self) -> Value:
        """The value that has the memory."""
        return self if self.base is None else self.base.owner()


@dataclass(eq=False, slots=True)
class Step:
    """One operation: what it reads and writes, and how it is called once these have memory.

    Attributes
    ----------
    op : str
        A kind of `bncore._native.Steps`, or "call": a layer of which the plan knows nothing more.
    path : str
        Of the layer in the net.
    reads, writes : lists of Value
    make : callable
        From the binding of values to arrays to the arguments in C; of a call, to a function without arguments.
    notes : list of str
        What is done beside the operation, for people.
    work : int
        Multiplications.
    backward : bool
    again : bool
        What it writes was there before, and not kept.
    """

    op: str
    path: str
    reads: Sequence[Value]
    writes: Sequence[Value]
    make: Callable[[Any], Any]
    notes: list[str] = field(default_factory=list)
    work: int = 0
    backward: bool = False
    again: bool = False
