"""Batch norm against PyTorch and NumPy: forward, backward and evaluation, several layouts and sizes.

Every contender's result is checked against float64 first; one that is wrong is reported and not timed. Run it with
nothing else on the machine:

    python benchmarks/bench_norm.py --json benchmarks/results/norm.json     then     python benchmarks/table.py
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits
from timing import interleaved, machine

import bncore as bn
from bncore import functional as F

Array = np.ndarray[Any, Any]
Call = Callable[[], Any]
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


def numpy_call(data: Data) -> Call:
    """The NumPy twin: plain whole-array formulas, as one would write them by hand."""
    with bn.use_backend("numpy"):
        inner = bncore_call(data)

    def call() -> Any:
        with bn.use_backend("numpy"):
            return inner()

    return call


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


def copy_calls(data: Data, torch: Any | None) -> dict[str, Call]:
    """Ways to copy x, NumPy's (one thread) and PyTorch's (all threads): the faster one is the yardstick."""
    target = np.empty_like(data.x)
    calls: dict[str, Call] = {"copy numpy": lambda: np.copyto(target, data.x)}
    if torch is not None:
        source, sink = torch.from_numpy(data.x), torch.empty_like(torch.from_numpy(data.x))
        calls["copy torch"] = lambda: sink.copy_(source)
    return calls


def error_of(result: Any, reference: Array, case: Case) -> float:
    """Largest difference from the float64 result, relative to its largest magnitude."""
    if not isinstance(result, np.ndarray):
        result = (
            result.permute(0, 2, 3, 1).numpy()
            if case.axis == -1 and result.ndim == 4
            else result.numpy()
        )
    return float(np.max(np.abs(result - reference)) / np.max(np.abs(reference)))


def run_case(case: Case, torch: Any | None, seconds: float) -> dict[str, Any]:
    data = Data(case)
    contenders: dict[str, Call] = {"bncore": bncore_call(data), "numpy": numpy_call(data)}
    if torch is not None:
        contenders["torch"] = torch_call(data, torch)
    with bn.use_backend("numpy"):
        reference = bncore_call(data, "float64")()
    limit = 1e-4 if case.dtype == "float32" else 1e-12
    errors = {name: error_of(call(), reference, case) for name, call in contenders.items()}
    wrong = [name for name, error in errors.items() if not error < limit]
    for name in wrong:
        del contenders[name]
    copies = copy_calls(data, torch)
    times = interleaved({**contenders, **copies}, seconds=seconds)
    copy_us = min(times[name]["median"] for name in copies)
    medians = {name: times[name]["median"] for name in contenders}
    return {
        "op": case.op,
        "shape": case.shape,
        "layout": case.layout,
        "dtype": case.dtype,
        "least_bytes": case.least_bytes,
        "median_us": medians,
        "min_us": {name: times[name]["min"] for name in contenders},
        "gb_per_s": {name: case.least_bytes / us / 1e3 for name, us in medians.items()},
        "copy_gb_per_s": 2 * data.x.nbytes / copy_us / 1e3,
        "error": errors,
        "wrong": wrong,
    }


def show(row: dict[str, Any]) -> None:
    shown = "  ".join(f"{name} {us:9.1f}" for name, us in row["median_us"].items())
    gbs = row["gb_per_s"].get("bncore", float("nan"))
    print(
        f"{row['op']:13s} {row['layout']:7s} {row['shape']!s:19s} {row['dtype']:8s} {row['threads']} thr  us: {shown}"
        f"  | bncore {gbs:6.1f} GB/s, copy {row['copy_gb_per_s']:6.1f} GB/s"
        + ("  WRONG: " + ", ".join(row["wrong"]) if row["wrong"] else ""),
        flush=True,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the results here")
    parser.add_argument("--threads", type=int, nargs="+", help="thread counts (default: 1 and all)")
    parser.add_argument("--seconds", type=float, default=1.0, help="per case")
    parser.add_argument("--quick", action="store_true", help="small shapes, short: does it run?")
    args = parser.parse_args()
    try:
        import torch
    except ImportError:
        torch = None
        print(
            "PyTorch is not installed (pip install 'bncore[bench]'): its column stays empty",
            file=sys.stderr,
        )
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    rows = []
    for threads in args.threads or sorted({1, cpus}):
        if torch is not None:
            torch.set_num_threads(threads)
        with threadpool_limits(threads):
            for case in cases(args.quick):
                row = {
                    "threads": threads,
                    **run_case(case, torch, 0.02 if args.quick else args.seconds),
                }
                rows.append(row)
                show(row)
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(
            json.dumps({"machine": machine(), "quick": args.quick, "cases": rows}, indent=1) + "\n"
        )
    return int(any(row["wrong"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
