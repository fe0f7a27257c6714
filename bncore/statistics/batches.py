"""A data set as batches that can be read as often as needed: checked, and the same at every pass.

Inputs only, no targets; nothing is shuffled.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np

from ..support import checks
from ..support.progress import Progress
from ..training.batches import batch_borders

__all__ = ["Batches"]

Array = np.ndarray[Any, Any]


class Batches:
    """Batches of an array (even, along axis 0) or of an iterable (as they come).

    Attributes
    ----------
    exhaustible : bool
        Whether the data can be read only once.
    samples, passes : int
        Size of the data set, known after the first pass, and how often it was read.
    """

    def __init__(
        self, x: Array | Iterable[Array], batch_size: int, progress: Progress | None = None
    ) -> None:
        self._source: Iterable[Array] = x
        self._progress = progress
        self.exhaustible = isinstance(x, Iterator)
        self.samples = 0
        self.passes = 0
        checks.positive_int(batch_size, "batch_size")
        if isinstance(x, np.ndarray):
            if x.ndim < 2:
                raise ValueError(
                    f"x must have samples along axis 0 and features after it, got shape {x.shape}"
                )
            borders = batch_borders(len(x), batch_size)
            self._source = [x[begin:end] for begin, end in pairwise(borders)]
        elif not isinstance(x, Iterable):
            raise TypeError(f"x must be an array or an iterable of arrays, got {type(x).__name__}")

    def read(self) -> Iterator[Array]:
        """All batches that hold anything, once."""
        samples = 0
        for number, batch in enumerate(self._source):
            if not isinstance(batch, np.ndarray):
                raise TypeError(
                    f"x must be batches that are arrays, got batch {number} as a {type(batch).__name__}"
                )
            if len(batch):
                yield batch
            samples += len(batch)
            if self._progress is not None:
                self._progress.step(samples=len(batch))
        if samples == 0:
            raise ValueError("x must hold at least one sample, got none")
        if self.passes and samples != self.samples:
            raise ValueError(
                f"x must give the same data every time, got {self.samples} samples, then {samples}"
            )
        self.passes += 1
        self.samples = samples
