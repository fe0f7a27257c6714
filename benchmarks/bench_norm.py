"""Batch norm against PyTorch and NumPy: forward, backward and evaluation, several layouts and sizes.

Every contender's result is checked against float64 first; one that is wrong is reported and not timed. Run it with
nothing else on the machine:

    python benchmarks/bench_norm.py --json benchmarks/results/norm.json     then     python benchmarks/table.py
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from contest import Array, Call, Row, main, measure, relative_error, with_numpy

from bncore import functional as F

EPS = 1e-5
MOMENTUM = 0.1


@dataclass(frozen=True)
class Case:
    """One operation on one shape; ``axis`` is the channel axis."""

    op: str  # "forward", "forward+relu", "backward", "evaluation"
    shape: tuple[int, ...]
    axis: int = 1
    dtype: str = "float32"

    @property
    def layout(self) -> str:
        if len(self.shape) == 2:
            return "(N, C)"
        return "NCHW" if self.axis == 1 else "NHWC"

    @property
    def least_bytes(self) -> int:
        """The traffic nobody can avoid: forward reads x and writes y, backward reads x and dy and writes dx."""
        return (
            (3 if self.op == "backward" else 2)
            * int(np.prod(self.shape))
            * np.dtype(self.dtype).itemsize
        )


OPS = ("forward", "forward+relu", "backward", "evaluation")
SHAPES: tuple[tuple[tuple[int, ...], int], ...] = (
    ((32, 64), 1),
    ((128, 256), 1),
    ((4096, 512), 1),
    ((1, 16, 8, 8), 1),
    ((32, 64, 28, 28), 1),
    ((64, 256, 14, 14), 1),
    ((64, 64, 56, 56), 1),
    ((32, 28, 28, 64), -1),
    ((64, 56, 56, 64), -1),
)


def cases(quick: bool) -> Iterator[Case]:
    shapes = (((32, 64), 1), ((4, 8, 6, 6), 1), ((4, 6, 6, 8), -1)) if quick else SHAPES
    for shape, axis in shapes:
        for op in OPS:
            yield Case(op, shape, axis)
    yield Case("forward", shapes[-2][0], shapes[-2][1], "float64")


class Data:
    """The arrays of a case, equal for every contender."""

    def __init__(self, case: Case) -> None:
        rng = np.random.default_rng(0)
        c = case.shape[case.axis]
        make: Callable[..., Array] = lambda *shape: rng.standard_normal(shape).astype(case.dtype)  # noqa: E731
        self.case = case
        self.x = make(*case.shape) * 2 + 1
        self.dy = make(*case.shape)
        self.weight = 1 + 0.1 * make(c)
        self.bias = 0.1 * make(c)
        self.mean = 0.1 * make(c)
        self.var = np.abs(make(c)) + 0.5


def bncore_call(data: Data, dtype: str | None = None) -> Call:
    """Through `bncore.functional`, on whatever backend is in force; ``dtype`` casts everything first (the reference)."""
    x, dy, weight, bias, mean, var = (
        np.array(a, dtype=dtype or a.dtype)  # copies: running statistics are written to
        for a in (data.x, data.dy, data.weight, data.bias, data.mean, data.var)
    )
    options: dict[str, Any] = {"eps": EPS, "axis": data.case.axis}
    if data.case.op == "evaluation":
        return lambda: F.batch_norm(x, weight, bias, mean, var, training=False, **options)[0]
    if data.case.op == "backward":
        saved = F.batch_norm(x, weight, bias, **options)[1]
        return lambda: F.batch_norm_backward(dy, saved)[0]
    options["activation"] = "relu" if data.case.op == "forward+relu" else None
    return lambda: F.batch_norm(x, weight, bias, mean, var, momentum=MOMENTUM, **options)[0]


def torch_call(data: Data, torch: Any) -> Call:
    """PyTorch's own kernels without autograd's bookkeeping: its best case."""
    case = data.case

    def tensor(a: Array) -> Any:
        t = torch.from_numpy(a.copy())
        if a.ndim == 4 and case.axis == -1:  # the same bytes, seen as NCHW in channels-last order
            t = t.permute(0, 3, 1, 2)
        return t

    x, dy = tensor(data.x), tensor(data.dy)
    weight, bias, mean, var = (
        torch.from_numpy(a.copy()) for a in (data.weight, data.bias, data.mean, data.var)
    )
    forward = torch.ops.aten.native_batch_norm.default
    if case.op == "evaluation":
        return lambda: forward(x, weight, bias, mean, var, False, MOMENTUM, EPS)[0]
    if case.op == "backward":
        _, m, inv_std = forward(x, weight, bias, None, None, True, MOMENTUM, EPS)
        backward = torch.ops.aten.native_batch_norm_backward.default
        wanted = [True, True, True]
        return lambda: backward(dy, x, weight, None, None, m, inv_std, True, EPS, wanted)[0]
    if case.op == "forward+relu":
        return lambda: forward(x, weight, bias, mean, var, True, MOMENTUM, EPS)[0].relu_()
    return lambda: forward(x, weight, bias, mean, var, True, MOMENTUM, EPS)[0]


def error_of(result: Any, reference: Array, case: Case) -> float:
    """The error of an array or a tensor, which may be a channels-last image seen as NCHW."""
    if not isinstance(result, np.ndarray):
        turn = case.axis == -1 and result.ndim == 4
        result = (result.permute(0, 2, 3, 1) if turn else result).numpy()
    return relative_error(result, reference)


def run_case(case: Case, torch: Any | None, seconds: float) -> Row:
    data = Data(case)
    # the NumPy twin: plain whole-array formulas, as one would write them by hand
    contenders = {"bncore": bncore_call(data), "numpy": with_numpy(lambda: bncore_call(data))}
    if torch is not None:
        contenders["torch"] = torch_call(data, torch)
    reference = with_numpy(lambda: bncore_call(data, "float64"))()
    error = lambda result, wanted: error_of(result, wanted, case)  # noqa: E731
    return measure(case, data.x, contenders, reference, error, torch, seconds)


if __name__ == "__main__":
    sys.exit(main(__doc__, cases, run_case))
