"""What every experiment is given: seeds, the data, and a way to say how far it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np

from ..support.progress import Progress
from ..training.data import Dataset
from .digits import digits

__all__ = ["Lab"]

T = TypeVar("T")


@dataclass
class Lab:
    """The conditions of one experiment.

    Attributes
    ----------
    seeds : tuple of int
    quick : bool
    """

    seeds: tuple[int, ...]
    quick: bool
    progress: Progress

    def either(self, full: T, quick: T) -> T:
        """The first, or with ``quick`` the second."""
        return quick if self.quick else full

    def plan(self, *counts: int) -> None:
        """How many times `done` will be called: the product of the counts and of the number of seeds."""
        self.progress.total = int(np.prod(counts)) * len(self.seeds)

    def done(self) -> None:
        """One of the planned parts is finished."""
        self.progress.step()

    def each_seed(self) -> Iterator[int]:
        """The seeds; every one counts as a part when it is finished."""
        for seed in self.seeds:
            yield seed
            self.done()

    @cached_property
    def digits(self) -> Dataset:
        """1297 images of handwritten digits to train on and 500 to test with, (n, 1, 8, 8), from 0 to 1."""
        return digits()
