"""oneDNN at its best: primitives made before, into arrays made before; in the case's layout ("plain") and, for
channels-first cases with a multiple of 16 channels, in its own blocks of 16 ("16c"). No RMS norm, no fused addition, float32 only.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from norms.cases import EPS, LARGE, Case
from norms.data import Array, Data

from . import Contender, dnnl
from .dnnl import EPSILON, GLOBAL_STATS, RELU, SCALE, SHIFT, Library, Primitive

BLOCK = 16


class Peer:
    digests = False

    def __init__(self, threads: int) -> None:  # they follow OMP_NUM_THREADS
        self.library = Library()
        self.version = self.library.version
        self.primitives: list[Primitive] = []

    def contenders(self, data: Data) -> dict[str, Callable[[], Contender]]:
        case = data.case
        if case.norm == "rms" or case.op == "statistics" or "add" in case.op:
            return {}
        found = {"onednn plain": lambda: self._contender(Setup(self.library, data, False))}
        image = case.norm == "batch" and case.axis == 1 and len(case.shape) > 2
        if image and case.channels % BLOCK == 0:
            if case.nbytes > LARGE:
                del found["onednn plain"]
            found["onednn 16c"] = lambda: self._contender(Setup(self.library, data, True))
        return found

    def forget(self) -> None:
        for primitive in self.primitives:
            primitive.close()
        self.primitives.clear()

    def _contender(self, setup: Setup) -> Contender:
        forward = setup.forward()
        self.primitives.append(forward)
        primitive, wanted = forward, ["dst"]
        if "backward" in setup.case.op:
            primitive = setup.backward(forward)
            self.primitives.append(primitive)
            wanted = ["diff_src", "diff_scale", "diff_shift"]

        def arrays(_: Any) -> tuple[Array, ...]:
            main, *others = (primitive.arrays[name] for name in wanted)
            return setup.back(main), *others

        return Contender(primitive.run, arrays)


class Setup:
    """Layouts and arrays of one case."""

    def __init__(self, library: Library, data: Data, blocked: bool) -> None:
        self.library, self.data, self.case, self.blocked = library, data, data.case, blocked
        self.layout = library.layout(*dimensions(data.case, blocked))
        self.row = library.layout((data.case.channels,), (1,))
        per_row = data.case.norm == "layer"
        count = data.case.shape[0] if per_row else data.case.channels
        self.stats = library.layout((count,), (1,))
        self.mean, self.var = (data.fresh((count,)) for _ in range(2))
        self.norm = data.case.norm
        self.flags = SCALE | SHIFT
        if "relu" in data.case.op:
            self.flags |= RELU

    def given(self, array: Array) -> tuple[Any, Array]:
        """An array of x's shape in this layout, and the layout."""
        if self.blocked:
            n, c, s = self.case.view
            out = self.data.fresh((n, c // BLOCK, s, BLOCK))
            out[...] = array.reshape(n, c // BLOCK, BLOCK, s).swapaxes(2, 3)
            array = out
        return self.layout, array

    def back(self, array: Array) -> Array:
        """An array in this layout in the case's."""
        return array.swapaxes(2, 3).reshape(self.case.shape) if self.blocked else array

    def fresh(self) -> tuple[Any, Array]:
        n, c, s = self.case.view
        return self.layout, self.data.fresh((n, c // BLOCK, s, BLOCK) if self.blocked else None)

    def forward_desc(self) -> Any:
        layouts = [self.layout, self.layout, *([self.stats] if self.norm == "layer" else [])]
        kind, flags = dnnl.TRAINING, self.flags
        if self.case.op == "evaluation":
            kind, flags = dnnl.INFERENCE, flags | GLOBAL_STATS
        return self.library.describe(self.norm, "forward", kind, *layouts, EPSILON(EPS), flags)

    def forward(self) -> Primitive:
        desc = self.forward_desc()
        if self.case.op == "evaluation":
            self.mean[...], self.var[...] = self.data.mean, self.data.var
        arrays = {
            "src": self.given(self.data.x),
            "dst": self.fresh(),
            "mean": (self.stats, self.mean),
            "var": (self.stats, self.var),
            "scale": (self.row, self.data.weight),
            "shift": (self.row, self.data.bias),
        }
        return Primitive(self.library, desc, arrays)

    def backward(self, forward: Primitive) -> Primitive:
        """With the statistics, and the workspace of ReLU, that ``forward`` left."""
        layouts = [self.layout] * 3 + ([self.stats] if self.norm == "layer" else [])
        make = partial(self.library.describe, self.norm, "backward", dnnl.BACKWARD)
        desc = make(*layouts, EPSILON(EPS), self.flags, self.forward_desc())
        parameter = lambda: self.data.fresh((self.case.channels,))  # noqa: E731
        arrays = {
            "src": (self.layout, forward.arrays["src"]),
            "mean": (self.stats, self.mean),
            "var": (self.stats, self.var),
            "scale": (self.row, self.data.weight),
            "diff_dst": self.given(self.data.dy),
            "diff_src": self.fresh(),
            "diff_scale": (self.row, parameter()),
            "diff_shift": (self.row, parameter()),
        }
        if self.norm == "layer":
            arrays["shift"] = self.row, self.data.bias
        if "workspace" in forward.arrays:
            arrays["workspace"] = (None, forward.arrays["workspace"])
        return Primitive(self.library, desc, arrays)


def dimensions(case: Case, blocked: bool) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
    """Dimensions as oneDNN counts them, channels at 1, and their strides in memory; none for its own blocks."""
    strides = [1] * len(case.shape)
    for i in range(len(case.shape) - 2, -1, -1):
        strides[i] = strides[i + 1] * case.shape[i + 1]
    dims = list(case.shape)
    if case.axis == -1 and case.norm == "batch":
        dims.insert(1, dims.pop())
        strides.insert(1, strides.pop())
    return tuple(dims), None if blocked else tuple(strides)
