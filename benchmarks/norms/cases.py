"""Which operations on which shapes bench_norm.py times: the named ones and those drawn at random.

Knows no contender and makes no arrays (data.py does).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

EPS = 1e-5
MOMENTUM = 0.1
# how many arrays of x's size an operation must read or write at least
ARRAYS = {
    "statistics": 1,
    "forward": 2,
    "forward+relu": 2,
    "forward+add+relu": 3,
    "evaluation": 2,
    "backward": 3,
    "backward+relu": 3,
    "layer forward": 2,
    "layer backward": 3,
    "rms forward": 2,
    "rms backward": 3,
}
LAYOUTS = {(3, 1): "NCL", (4, 1): "NCHW", (5, 1): "NCDHW"}
LAYOUTS |= {(3, -1): "NLC", (4, -1): "NHWC", (5, -1): "NDHWC"}


@dataclass(frozen=True)
class Case:
    """One operation on one shape; ``axis`` is the channel axis, 1 or -1."""

    op: str  # one of ARRAYS
    shape: tuple[int, ...]
    axis: int = 1
    dtype: str = "float32"
    section: str = "named"
    compiled: bool = False  # whether torch.compile takes part, which takes long to compile

    @property
    def norm(self) -> str:
        """ "batch", "layer" or "rms"; the latter two normalize the rows of a matrix."""
        first = self.op.partition(" ")[0]
        return first if first in ("layer", "rms") else "batch"

    @property
    def direction(self) -> str:
        """The operation without the name of its norm."""
        return self.op.rpartition(" ")[2]

    @property
    def layout(self) -> str:
        if self.norm != "batch":
            return "rows"
        return "(N, C)" if len(self.shape) == 2 else LAYOUTS[len(self.shape), self.axis]

    @property
    def channels(self) -> int:
        return self.shape[self.axis]

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def nbytes(self) -> int:
        """Bytes of x."""
        return self.size * np.dtype(self.dtype).itemsize

    @property
    def least_bytes(self) -> int:
        """The traffic nobody can avoid: every array read or written once."""
        return ARRAYS[self.op] * self.nbytes

    @property
    def view(self) -> tuple[int, int, int]:
        """x seen as (n, channels, s): s is what lies behind the channel axis."""
        c = self.channels
        if self.axis == -1 or len(self.shape) == 2:
            return self.size // c, c, 1
        return self.shape[0], c, self.size // (self.shape[0] * c)

    @property
    def label(self) -> str:
        """What --only searches in: ``forward 32x512x7x7 axis 1 float32 NCHW named``."""
        shape = "x".join(map(str, self.shape))
        return f"{self.op} {shape} axis {self.axis} {self.dtype} {self.layout} {self.section}"

    def describe(self) -> dict[str, Any]:
        """The fields, for JSON; ``Case.of`` is the way back."""
        return asdict(self)

    @staticmethod
    def of(fields: dict[str, Any]) -> Case:
        return Case(**{**fields, "shape": tuple(fields["shape"])})


TINY = ((4, 4), (2, 4, 2, 2))
MATRICES = ((32, 64), (128, 256), (1024, 1024), (65536, 64), (4096, 4096))
IMAGES = (
    (1, 16, 8, 8),
    (32, 16, 28, 28),
    (64, 64, 56, 56),
    (64, 256, 14, 14),
    (32, 512, 7, 7),
    (128, 32, 32, 32),
    (8, 64, 224, 224),
)
SEQUENCES = ((64, 64, 1000), (16, 256, 4096))
ROWS = ((32, 64), (128, 64), (4096, 64), (4096, 768), (16384, 1024), (512, 50000))
PLAIN = ("forward", "evaluation", "backward")
FUSED = ("forward+relu", "forward+add+relu", "backward+relu")
# where torch.compile is PyTorch's best path and the ratio to it is a goal
COMPILED = {
    ("forward", (32, 16, 28, 28), 1),
    ("forward", (64, 256, 14, 14), 1),
    ("forward+relu", (64, 256, 14, 14), 1),
    ("rms forward", (4096, 768), -1),
    ("rms backward", (4096, 768), -1),
}


def last(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A channels-first shape in channels-last order."""
    return (shape[0], *shape[2:], shape[1])


def named() -> Iterator[Case]:
    """Every shape of interest: tiny ones, matrices, images both ways, sequences, rows; some in float64."""
    shapes = [(s, 1) for s in TINY + MATRICES + IMAGES + SEQUENCES]
    shapes += [(last(s), -1) for s in IMAGES]
    for shape, axis in shapes:
        images = len(shape) == 4 and shape[0] != 2
        for op in PLAIN + FUSED * (images or shape == (1024, 1024)):
            yield Case(op, shape, axis, compiled=(op, shape, axis) in COMPILED)
    for shape, axis in (((1024, 1024), 1), ((64, 64, 56, 56), 1), ((64, 56, 56, 64), -1)):
        yield Case("statistics", shape, axis)
    for norm in ("layer", "rms"):
        for shape in ROWS:
            for way in ("forward", "backward"):
                op = f"{norm} {way}"
                yield Case(op, shape, -1, compiled=(op, shape, -1) in COMPILED)
    for shape, axis in (((1024, 1024), 1), ((64, 256, 14, 14), 1), ((64, 14, 14, 256), -1)):
        for op in PLAIN:
            yield Case(op, shape, axis, "float64")
    for op in ("layer forward", "layer backward", "rms forward", "rms backward"):
        yield Case(op, (4096, 768), -1, "float64")


# Bytes of x beyond which all ways of every library would need too much memory at a time: only its better one takes part.
LARGE = 256_000_000
RANDOM_OPS = (*PLAIN, "forward+relu", "backward+relu")
LEAST, MOST = 1_000, 500_000_000  # bytes of x


def drawn(count: int = 100, seed: int = 4, most: int = MOST) -> Iterator[Case]:
    """Shapes at random, log-uniform in bytes: ranks 2 to 5, odd sizes, channels-first and -last, any batch norm operation."""
    rng = np.random.default_rng(seed)
    found = 0
    while found < count:
        case = _draw(rng)
        if LEAST <= case.nbytes <= most and case.size > case.channels:
            found += 1
            yield case


def _draw(rng: np.random.Generator) -> Case:
    rank = int(rng.integers(2, 6))
    size = np.exp(rng.uniform(np.log(LEAST / 4), np.log(MOST / 4)))
    c = int(np.exp(rng.uniform(0, np.log(min(4096, size / 2)))))
    if c > 16 and rng.random() < 0.5:  # widths of nets; the other half is odd
        c -= c % 16
    shares = rng.dirichlet(np.ones(rank - 1))
    others = [max(1, round(float((size / c) ** share))) for share in shares]
    axis = 1 if rank == 2 else int(rng.choice([1, -1]))
    others.insert(1 if axis == 1 else rank - 1, c)
    return Case(str(rng.choice(RANDOM_OPS)), tuple(others), axis, section="random")


def quick() -> Iterator[Case]:
    """Every operation on small shapes: does it run?"""
    for shape, axis in (((32, 64), 1), ((4, 16, 6, 6), 1), ((4, 6, 6, 8), -1)):
        for op in (*PLAIN, *FUSED, "statistics"):
            yield Case(op, shape, axis)
    for op in ("layer forward", "layer backward", "rms forward", "rms backward"):
        yield Case(op, (32, 64), -1)
    yield Case("forward", (4, 16, 6, 6), 1, "float64")
    yield from drawn(3, seed=1, most=100_000)


def random() -> Iterator[Case]:
    """The drawn ones, the largest first: what memory they need serves the others after them."""
    return iter(sorted(drawn(), key=lambda case: -case.nbytes))


SECTIONS = {"named": named, "random": random, "quick": quick}
