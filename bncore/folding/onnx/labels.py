"""Labels: affine maps on the values of a graph, one pair (scale, shift) per place of a box.

A box has the value's rank; each of its dimensions is 1 or the value's. A batch norm's box is (1, C,
1, 1), a bias of rows (1, F), a map over positions (1, C, H, W). The numbers are an `Affine` of the
flattened box, so the algebra stays where it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..algebra import Affine, Array64, FoldRefused

__all__ = ["Label"]

LARGEST = 2**20  # places of a box that is made out of smaller ones


@dataclass(frozen=True, eq=False)
class Label:
    """The map ``y = scale·(x - center) + shift`` with the affine's entries laid out as `shape`."""

    affine: Affine
    shape: tuple[int, ...]

    @classmethod
    def of(cls, scale: Array64, center: Array64, shift: Array64) -> Label:
        """From arrays of a box's rank, which are broadcast to each other."""
        parts = np.broadcast_arrays(scale, center, shift)
        flat = (np.array(part, np.float64).reshape(-1) for part in parts)
        return cls(Affine(*flat), parts[0].shape)

    @classmethod
    def vector(cls, affine: Affine, axis: int, rank: int) -> Label:
        """One entry per place of an axis."""
        return cls(affine, tuple(affine.channels if i == axis else 1 for i in range(rank)))

    @classmethod
    def identity(cls, rank: int) -> Label:
        return cls(Affine.identity(1), (1,) * rank)

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def axes(self) -> tuple[int, ...]:
        """Where the map differs from place to place."""
        return tuple(axis for axis, size in enumerate(self.shape) if size > 1)

    @property
    def scale(self) -> Array64:
        return self.affine.scale.reshape(self.shape)

    @property
    def offset(self) -> Array64:
        return self.affine.offset.reshape(self.shape)

    @property
    def only_scales(self) -> bool:
        return not self.affine.offset.any()

    @property
    def only_shifts(self) -> bool:
        return bool((self.affine.scale == 1).all())

    @property
    def is_identity(self) -> bool:
        return self.only_shifts and self.only_scales

    def mapped(self, change: Callable[[Array64], Array64]) -> Label:
        """The same change of layout for scale, center and shift."""
        return Label.of(*(change(part) for part in self.arrays()))

    def arrays(self) -> tuple[Array64, Array64, Array64]:
        a = self.affine
        return (
            a.scale.reshape(self.shape),
            a.center.reshape(self.shape),
            a.shift.reshape(self.shape),
        )

    def expanded(self, shape: Sequence[int]) -> Label:
        if math.prod(shape) > LARGEST:
            raise FoldRefused(f"a map of shape {tuple(shape)} would be too large to keep")
        return self.mapped(lambda part: np.broadcast_to(part, tuple(shape)))

    def compact(self) -> Label:
        """Without axes along which nothing differs."""
        label = self
        for axis in self.axes:
            first = label.mapped(lambda part, axis=axis: part.take([0], axis))  # type: ignore[misc]
            pairs = zip(label.arrays(), first.arrays(), strict=True)
            if all((part == one).all() for part, one in pairs):
                label = first
        return label

    def along(self, axis: int, size: int) -> Affine:
        """The map as one entry per place of `axis`; refused if it differs along another one."""
        axis %= self.rank
        if any(other != axis for other in self.axes):
            raise FoldRefused("its channels lie along another axis")
        if self.shape[axis] == size:
            return self.affine
        if self.shape[axis] != 1:
            raise FoldRefused(f"it has {self.shape[axis]} channels where {size} are needed")
        if size > LARGEST:
            raise FoldRefused(f"a map of {size} channels would be too large to keep")
        return self.affine.repeat(size)

    def constant_over(self, axes: Sequence[int], what: str) -> None:
        """Refuse unless the map is one and the same all along these axes."""
        if set(self.axes) & {axis % self.rank for axis in axes}:
            raise FoldRefused(f"it differs along an axis of {what}")

    def then(self, outer: Label) -> Label:
        """``outer(self(x))`` as one map."""
        shape = np.broadcast_shapes(self.shape, outer.shape)
        if shape not in (self.shape, outer.shape) and math.prod(shape) > 2 * (
            math.prod(self.shape) + math.prod(outer.shape)
        ):
            raise FoldRefused("two maps over different axes would become one large one")
        return Label(self.expanded(shape).affine.then(outer.expanded(shape).affine), tuple(shape))

    def scales(self) -> Label:
        """The map without its shift."""
        return Label(self.affine.without_offset(), self.shape)

    def shifts(self) -> Label:
        """``x + t``: what is left to do after `scales`."""
        ones = np.ones_like(self.scale)
        return Label.of(ones, np.zeros_like(ones), self.offset)

    def split_shift(self) -> tuple[Label, Label]:
        """(x + u, outer) with ``outer(x + u)`` the map and outer free of shifts, but for places of
        scale 0, which are constants.
        """
        constant = self.affine.scale == 0
        inner = np.where(
            constant, 0.0, self.offset.reshape(-1) / np.where(constant, 1.0, self.affine.scale)
        )
        ones, zeros = np.ones_like(inner), np.zeros_like(inner)
        first = Affine(ones, zeros, inner)
        outer = Affine(self.affine.scale, zeros, np.where(constant, self.affine.shift, 0.0))
        return Label(first, self.shape), Label(outer, self.shape)

    def inverse(self) -> Label:
        if (self.affine.scale == 0).any():
            raise FoldRefused("a channel has scale 0")
        a = self.affine
        return Label(Affine(1.0 / a.scale, a.shift, a.center), self.shape)

    def single(self) -> tuple[float, float]:
        """(scale, offset) if they are the same everywhere."""
        label = self.compact()
        if label.axes:
            raise FoldRefused("its channels differ, where one number for all is needed")
        return float(label.scale.reshape(-1)[0]), float(label.offset.reshape(-1)[0])

    def fitted(self, shape: Sequence[int | str | None]) -> Label:
        """The same map for an operand that is broadcast to this rank; refused if it would have to
        grow.
        """
        extra = self.rank - len(shape)
        label = self
        if extra < 0:
            raise FoldRefused("it has fewer axes than an operand")
        if any(size > 1 for size in self.shape[:extra]):
            raise FoldRefused("an operand is broadcast along its channels")
        label = self.mapped(lambda part: part.reshape(self.shape[extra:]))
        for axis in label.axes:
            if shape[axis] != label.shape[axis]:
                raise FoldRefused("an operand is broadcast along its channels")
        return label
