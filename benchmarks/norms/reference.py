"""What a case must give, in float64, by the formulas as they stand, a block at a time so that memory stays small.

The results go into files in memory, where every worker compares its own with them.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np

from .cases import EPS, Case
from .data import Array, Data

BLOCK = 1 << 17  # values at a time: their float64 copies stay in cache
NEAR_ZERO = 1e-4
NAMES = {"backward": ("dx", "dweight", "dbias"), "statistics": ("mean", "var")}


def names(case: Case) -> tuple[str, ...]:
    """How the results of a case are called; RMS norm has no bias."""
    if "backward" in case.op:
        return NAMES["backward"][: 2 if case.norm == "rms" else 3]
    return NAMES.get(case.op, ("y",))


def blocks(n: int, c: int, s: int) -> Iterator[tuple[slice, slice, slice]]:
    """Cuts (n, c, s) into pieces of about BLOCK values, all channels in each."""
    rows = max(1, BLOCK // (c * s))
    width = s if c * s <= BLOCK else max(1, BLOCK // c)
    for i in range(0, n, rows):
        for k in range(0, s, width):
            yield slice(i, i + rows), slice(None), slice(k, k + width)


class MemoryFile:
    """A file that other processes open by its path while this one lives, and that nobody needs to delete."""

    def __init__(self) -> None:
        if hasattr(os, "memfd_create"):
            self.file: Any = os.fdopen(os.memfd_create("expected"), "w+b")
            self.path = f"/proc/{os.getpid()}/fd/{self.file.fileno()}"
        else:
            self.file = tempfile.NamedTemporaryFile()  # noqa: SIM115
            self.path = self.file.name


class Files:
    """Where a Reference leaves its results: the one of x's size, and the rest."""

    def __init__(self) -> None:
        self.main, self.rest = MemoryFile(), MemoryFile()

    @property
    def paths(self) -> dict[str, str]:
        return {"main": self.main.path, "rest": self.rest.path}


class Reference:
    """float64 results for arrays of ``data``; statistics are kept for further operations on them."""

    def __init__(self, data: Data) -> None:
        self.data = data
        self.view = data.case.view
        column = lambda a: a.astype(np.float64).reshape(1, -1, 1)  # noqa: E731
        self.weight, self.bias, self.mean, self.var = map(
            column, (data.weight, data.bias, data.mean, data.var)
        )

    def write(self, case: Case, files: Files) -> None:
        """Writes the results of a case on these data; the main file only grows."""
        rest: dict[str, Any] = {}
        if case.op == "backward+relu":
            rest["silent"] = self._near_zero()
            self.data.silence(rest["silent"])
        if case.op == "statistics":
            mean, var = self.moments
            rest |= {"mean": mean.reshape(-1), "var": var.reshape(-1)}
        else:
            name, *others = names(case)
            path = files.main.path
            if os.path.getsize(path) < 8 * case.size:
                os.truncate(path, 8 * case.size)
            main = np.memmap(path, np.float64, "r+", shape=case.view)
            largest, sums = self._fill(case, main)
            rest |= {f"largest {name}": largest, **dict(zip(others, sums, strict=False))}
        files.rest.file.seek(0)
        files.rest.file.truncate()
        np.savez(files.rest.file, **rest)
        files.rest.file.flush()

    def _fill(self, case: Case, main: Array) -> tuple[float, tuple[Array, ...]]:
        if case.norm != "batch":
            pieces = self._rows(case)
        elif "backward" in case.op:
            pieces = self._backward(case.op == "backward+relu")
        else:
            pieces = self._forward(case)
        largest, last = 0.0, ()
        for where, values, sums in pieces:
            main[where], last = values, sums
            largest = max(largest, float(np.max(np.abs(values))))
        return largest, last

    def _part(self, array: Array, where: tuple[slice, ...]) -> Array:
        return array.reshape(self.view)[where].astype(np.float64)

    @cached_property
    def moments(self) -> tuple[Array, Array]:
        """Mean and biased variance of every channel, (1, c, 1), in two passes."""
        x, (n, c, s) = self.data.x, self.view
        total = sum(self._part(x, w).sum((0, 2), keepdims=True) for w in blocks(n, c, s))
        mean = total / (n * s)
        squares = sum(
            np.square(self._part(x, w) - mean).sum((0, 2), keepdims=True) for w in blocks(n, c, s)
        )
        return mean, squares / (n * s)

    def _forward(self, case: Case) -> Iterator[tuple[Any, Array, tuple[Array, ...]]]:
        mean, var = (self.mean, self.var) if case.op == "evaluation" else self.moments
        scale = self.weight / np.sqrt(var + EPS)
        for where in blocks(*self.view):
            y = (self._part(self.data.x, where) - mean) * scale + self.bias
            if "add" in case.op:
                y += self._part(self.data.residual, where)
            if "relu" in case.op:
                np.maximum(y, 0, out=y)
            yield where, y, ()

    def _near_zero(self) -> Array:
        """Where y is so near 0 that rounding may decide about ReLU's gradient: dy shall be 0 there."""
        mean, var = self.moments
        near = np.zeros(self.view, bool)
        for where in blocks(*self.view):
            y = (self._part(self.data.x, where) - mean) / np.sqrt(var + EPS)
            near[where] = np.abs(y * self.weight + self.bias) < NEAR_ZERO
        return np.flatnonzero(near)

    def _backward(self, relu: bool) -> Iterator[tuple[Any, Array, tuple[Array, ...]]]:
        mean, var = self.moments
        inv_std = 1 / np.sqrt(var + EPS)
        (n, c, s), m = self.view, self.view[0] * self.view[2]

        def parts(where: tuple[slice, ...]) -> tuple[Array, Array]:
            x_hat = (self._part(self.data.x, where) - mean) * inv_std
            dy = self._part(self.data.dy, where)
            return x_hat, dy * (x_hat * self.weight + self.bias > 0) if relu else dy

        dweight = dbias = np.zeros((1, c, 1))
        for where in blocks(n, c, s):
            x_hat, dy = parts(where)
            dbias = dbias + dy.sum((0, 2), keepdims=True)
            dweight = dweight + (dy * x_hat).sum((0, 2), keepdims=True)
        for where in blocks(n, c, s):
            x_hat, dy = parts(where)
            dx = self.weight * inv_std * (dy - dbias / m - x_hat * (dweight / m))
            yield where, dx, (dweight.reshape(-1), dbias.reshape(-1))

    def _rows(self, case: Case) -> Iterator[tuple[Any, Array, tuple[Array, ...]]]:
        """Layer and RMS norm: one mean and deviation a row, gradients of parameters over all rows."""
        dweight = dbias = np.zeros(self.view[1])
        for where in blocks(*self.view):
            x = self._part(self.data.x, where)
            if case.norm == "layer":
                x -= x.mean(1, keepdims=True)
            inv_std = 1 / np.sqrt(np.square(x).mean(1, keepdims=True) + EPS)
            x_hat = x * inv_std
            if case.direction == "forward":
                bias = self.bias if case.norm == "layer" else 0
                yield where, x_hat * self.weight + bias, ()
                continue
            dy = self._part(self.data.dy, where)
            dbias = dbias + dy.sum((0, 2))
            dweight = dweight + (dy * x_hat).sum((0, 2))
            w = dy * self.weight
            dx = w - x_hat * (w * x_hat).mean(1, keepdims=True)
            if case.norm == "layer":
                dx -= w.mean(1, keepdims=True)
            yield where, dx * inv_std, (dweight, dbias)


class Expected:
    """The other side: reads what a Reference wrote and says how far results are from it."""

    def __init__(self, case: Case, main: str, rest: str) -> None:
        self.case = case
        with np.load(rest) as arrays:
            self.rest = dict(arrays)
        self.main: Array | None = None
        if case.op != "statistics":
            self.main = np.memmap(main, np.float64, "r", shape=(case.size,))

    @property
    def silent(self) -> Array | None:
        return self.rest.get("silent")

    def errors(self, results: tuple[Array, ...]) -> dict[str, float]:
        """Largest difference of each result, relative to the largest magnitude of the right one."""
        found = {}
        for name, result in zip(names(self.case), results, strict=True):
            flat = result.reshape(-1)
            if name in self.rest:
                right = self.rest[name]
                error = float(np.max(np.abs(flat - right))) / float(np.max(np.abs(right)))
            else:
                error = self._of_main(flat) / float(self.rest[f"largest {name}"])
            found[name] = error
        return found

    def _of_main(self, flat: Array) -> float:
        assert self.main is not None and self.main.size == flat.size
        worst = [
            np.max(np.abs(self.main[i : i + BLOCK] - flat[i : i + BLOCK]))
            for i in range(0, flat.size, BLOCK)
        ]
        return float(np.max(worst))  # NaN if there is any
