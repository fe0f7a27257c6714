"""The operations of a net in the order of its forward pass, as the plan sees them. Data only; rules.py makes them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..backend.geometry import ConvGeometry
from ..layers import BatchNorm
from .values import Value

__all__ = [
    "Activate",
    "Call",
    "Concatenate",
    "Convolve",
    "GlobalPool",
    "Node",
    "Normalize",
    "Pool",
    "Reshape",
    "Sum",
    "Turn",
]


@dataclass(eq=False, slots=True)
class Node:
    """One operation: ``y`` from ``x``."""

    path: str
    x: Value
    y: Value

    def inputs(self) -> list[Value]:
        """What it reads, parameters apart."""
        return [self.x]


@dataclass(eq=False, slots=True)
class Convolve(Node):
    """A convolution, or Linear, which is one of images of one pixel.

    ``reads`` and ``measures`` are set by fusion.py: the norm whose output it computes as it reads (and stores, if the norm
    says so), the norm behind it whose statistics it takes (or which it applies).
    """

    layer: Any
    geometry: ConvGeometry
    residual: Value | None
    relu: bool
    reads: Normalize | None = None
    measures: Normalize | None = None

    def inputs(self) -> list[Value]:
        return [self.x] if self.residual is None else [self.x, self.residual]

    @property
    def rows(self) -> bool:
        """Whether it is a product: images are single pixels."""
        return self.geometry.in_size == (1, 1)

    @property
    def through(self) -> Normalize | None:
        """The norm whose output is nowhere stored."""
        return None if self.reads is None or self.reads.stored else self.reads


@dataclass(eq=False, slots=True)
class Normalize(Node):
    """A batch norm; ``batch`` says whether its statistics are those of the batch.

    Set by fusion.py: ``measured`` by the convolution in front; ``by_reader``: the convolution behind computes y as it
    reads; not ``stored``: only as it reads; ``applied`` by the convolution in front. By backward.py: where its gradients
    are.
    """

    layer: BatchNorm
    residual: Value | None
    relu: bool
    batch: bool
    measured: bool = False
    by_reader: bool = False
    stored: bool = True
    applied: bool = False
    dy: Value | None = None
    dx: Value | None = None
    dresidual: Value | None = None

    def inputs(self) -> list[Value]:
        return [self.x] if self.residual is None else [self.x, self.residual]

    @property
    def rows(self) -> int:
        """Values of a channel."""
        return self.x.size // self.layer.num_features


@dataclass(eq=False, slots=True)
class Activate(Node):
    """An element-wise activation."""

    kind: str
    slope: float


@dataclass(eq=False, slots=True)
class Pool(Node):
    """Windows over images (n, h, w, c); ``kind`` is max or avg."""

    kind: str
    image: tuple[int, ...]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    count_include_pad: bool
    index: Value | None = None


@dataclass(eq=False, slots=True)
class GlobalPool(Node):
    """(n, pixels, c) to (n, c)."""

    kind: str
    pixels: int
    index: Value | None = None


@dataclass(eq=False, slots=True)
class Sum(Node):
    """``x + other``, then ReLU if wanted."""

    other: Value
    relu: bool

    def inputs(self) -> list[Value]:
        return [self.x, self.other]


@dataclass(eq=False, slots=True)
class Concatenate(Node):
    """All ``parts`` side by side in the last axis."""

    parts: list[Value] = field(default_factory=list)

    def inputs(self) -> list[Value]:
        return list(self.parts)


@dataclass(eq=False, slots=True)
class Turn(Node):
    """Channels from axis 1 to the last one, or back."""

    to_last: bool


@dataclass(eq=False, slots=True)
class Reshape(Node):
    """The same memory in another shape."""


@dataclass(eq=False, slots=True)
class Call(Node):
    """A layer of which nothing more is known: its forward and backward are called, with copies of what they read."""

    layer: Any
