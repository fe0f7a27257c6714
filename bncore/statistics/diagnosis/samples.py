"""What `diagnose` reads: arrays, a data set or an iterable of batches, as batches with targets.

Arrays are put into one random order, so that batches are as random as in training; an iterable's
batches are taken as they come, because how somebody mixes batches is part of what is diagnosed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Any

import numpy as np

from ...support import checks
from ...training.batches import batch_borders
from ...training.data import Dataset
from ...training.samples import check_samples

__all__ = ["Samples", "read_samples"]

Array = np.ndarray[Any, Any]
Pair = tuple[Array, Array | None]


class Samples:
    """Batches of (inputs, targets or None), the same at every pass."""

    random = False
    """Whether the batches were drawn at random, and not composed by somebody else."""

    def pairs(self) -> Iterator[Pair]:
        """All batches that hold anything."""
        raise NotImplementedError

    def __iter__(self) -> Iterator[Array]:
        """The inputs alone."""
        return (x for x, _ in self.pairs())

    def has_targets(self) -> bool:
        first = next(self.pairs(), None)
        return first is not None and first[1] is not None

    def size(self) -> int:
        return sum(map(len, self))


@dataclass(frozen=True)
class _Drawn(Samples):
    """Random batches of arrays; ``order`` says which samples, ``borders`` how many in which."""

    x: Array
    y: Array | None
    order: Array
    borders: list[int]
    random = True

    def pairs(self) -> Iterator[Pair]:
        for begin, end in pairwise(self.borders):
            chosen = self.order[begin:end]
            yield self.x[chosen], None if self.y is None else self.y[chosen]


@dataclass(frozen=True)
class _Given(Samples):
    """The first ``batches`` batches of an iterable."""

    source: Iterable[Any]
    batches: int | None

    def pairs(self) -> Iterator[Pair]:
        for number, item in enumerate(islice(self.source, self.batches)):
            x, y = item if isinstance(item, (tuple, list)) and len(item) == 2 else (item, None)
            for name, array in (("inputs", x), ("targets", y)):
                if not isinstance(array, np.ndarray) and (name == "inputs" or array is not None):
                    raise TypeError(
                        "data must be batches that are arrays x or pairs (x, y) of arrays, "
                        f"got {name} of batch {number} as a {type(array).__name__}"
                    )
            if y is not None and len(x) != len(y):
                raise ValueError(
                    f"data must have as many targets as inputs, got {len(y)} for {len(x)} in batch {number}"
                )
            if len(x):
                yield x, y


def read_samples(
    data: Any, target: Any, batch_size: int, batches: int | None, seed: int
) -> tuple[Samples, Samples]:
    """(what to measure statistics on, what to measure answers on): two things for a `Dataset` only."""
    rng = np.random.default_rng(seed)
    if isinstance(data, Dataset):
        if target is not None:
            raise TypeError("target must be None for a data set, which has its own")
        return (
            _draw(data.x_train, data.y_train, batch_size, batches, rng),
            _draw(data.x_test, data.y_test, batch_size, batches, rng),
        )
    if isinstance(data, tuple) and len(data) == 2 and target is None:
        data, target = data
    if isinstance(data, np.ndarray):
        drawn = _draw(data, target, batch_size, batches, rng)
        return drawn, drawn
    if target is not None:
        raise TypeError("target must be None unless data is one array: give batches (x, y)")
    if isinstance(data, Iterator):
        raise ValueError(
            "data is read several times, and this iterator ends after one: pass an array, a list "
            "or an object that can be iterated again"
        )
    if isinstance(data, (str, bytes)) or not isinstance(data, Iterable):
        raise TypeError(
            "data must be an array, a pair (x, y), a data set or an iterable of batches, "
            f"got {type(data).__name__}"
        )
    given = _Given(data, batches)
    if next(given.pairs(), None) is None:
        raise ValueError("data must hold at least one sample, got none")
    return given, given


def _draw(
    x: Array, y: Any, batch_size: int, batches: int | None, rng: np.random.Generator
) -> Samples:
    """Random batches of at most ``batch_size``, at most ``batches`` of them."""
    check_samples("data", x, "target", x if y is None else y)
    if x.ndim < 2:
        raise ValueError(
            f"data must have samples along axis 0 and features after it, got shape {x.shape}"
        )
    size = checks.positive_int(batch_size, "batch_size")
    n = len(x) if batches is None else min(len(x), batches * size)
    return _Drawn(x, y, rng.permutation(len(x))[:n], batch_borders(n, size))
