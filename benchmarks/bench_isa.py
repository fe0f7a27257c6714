"""The norms with the kernels of every instruction set this build and machine have, against each other.

Targets: AVX2 at most 10 % slower than AVX-512 where arrays exceed the last-level cache, generic (SSE2 on x86-64) at most
twice as slow as AVX2 everywhere. Not a contest with other libraries; that is bench_norm.py.

    python benchmarks/bench_isa.py --json benchmarks/results/isa.json
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits
from timing import interleaved, save

import bncore as bn
from bncore import functional as F
from bncore.backend import native

Array = np.ndarray[Any, Any]
Call = Callable[[], Array]
Row = dict[str, Any]

# (slower, faster, at most so many times as long, only where arrays exceed the last-level cache)
TARGETS = (("avx2", "avx512", 1.1, True), ("generic", "avx2", 2.0, False))
AGREE = {"float32": 1e-5, "float64": 1e-13}  # relative to the largest value; tests know the truth
# (shape of x in float32, axis); float64 has half of n: as many bytes
IMAGES = {
    "L2": ((8, 16, 28, 28), (8, 64, 14, 14)),
    "L3": ((64, 64, 14, 14), (32, 32, 28, 28)),
    "memory": ((64, 64, 56, 56), (32, 64, 112, 112)),
}
ROWS = {
    "L2": ((256, 256), (1024, 64)),
    "L3": ((1024, 1024), (16384, 64)),
    "memory": ((16384, 1024), (262144, 64)),
}


@dataclass(frozen=True)
class Case:
    op: str  # statistics, evaluation, forward, backward, backward+relu, layer norm forward or backward
    layout: str  # "NCHW", "NHWC", "(N, C)"
    size: str  # "L2", "L3", "memory"
    shape: tuple[int, ...]
    dtype: str

    @property
    def axis(self) -> int:
        return 1 if self.layout == "NCHW" else -1


def cases(quick: bool, sizes: list[str], dtypes: list[str]) -> Iterator[Case]:
    batch = ("forward", "evaluation", "backward", "backward+relu", "statistics")
    rows = (*batch, "layer norm forward", "layer norm backward")
    for dtype in dtypes:
        for size in sizes:
            for layout, shapes in (("NCHW", IMAGES), ("NHWC", IMAGES), ("(N, C)", ROWS)):
                for n, *rest in shapes[size][: 1 if quick else None]:
                    if layout == "NHWC":  # the same images, channels last
                        rest = [*rest[1:], rest[0]]
                    shape = (max(1, n // 2) if dtype == "float64" else n, *rest)
                    for op in rows if layout == "(N, C)" else batch:
                        yield Case(op, layout, size, shape, dtype)


def make_call(case: Case) -> Call:
    """The operation on preallocated outputs, with the kernels in force when it is called."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal(case.shape, dtype=case.dtype)
    x *= 2
    x += 1
    c = case.shape[case.axis]
    weight, bias, mean = rng.standard_normal((3, c)).astype(case.dtype)
    var = np.ones(c, case.dtype)
    if case.op == "statistics":
        return lambda: F.statistics(x, axis=case.axis).mean
    out = np.empty_like(x)
    if case.op == "evaluation":
        options: dict[str, Any] = {"training": False, "axis": case.axis, "out": out}
        return lambda: F.batch_norm(x, weight, bias, mean, var, **options)[0]
    layer = case.op.startswith("layer norm")
    axis = {} if layer else {"axis": case.axis}
    norm: Callable[..., Any] = F.layer_norm if layer else F.batch_norm
    if case.op.endswith("forward"):
        return lambda: norm(x, weight, bias, out=out, **axis)[0]
    gradient: Callable[..., Any] = F.layer_norm_backward if layer else F.batch_norm_backward
    activation = "relu" if case.op.endswith("relu") else None
    saved = norm(x, weight, bias, activation=activation, **axis)[1]
    dy = rng.standard_normal(case.shape, dtype=case.dtype)
    dweight, dbias = np.empty_like(weight), np.empty_like(bias)
    return lambda: gradient(dy, saved, dweight=dweight, dbias=dbias, out=out)[0]


def with_isa(name: str, call: Call) -> Call:
    def run() -> Array:
        native.use_isa(name)
        return call()

    return run


def disagreement(results: dict[str, Array]) -> float:
    """Largest difference of any two variants, relative to the largest value."""
    first, *others = results.values()
    scale = float(np.max(np.abs(first)))
    return max((float(np.max(np.abs(r - first))) / scale for r in others), default=0.0)


def run_case(case: Case, isas: list[str], seconds: float, cache: int) -> Row:
    call = make_call(case)
    variants = {name: with_isa(name, call) for name in isas}
    differ = disagreement({name: run().copy() for name, run in variants.items()})
    times = interleaved(variants, seconds=seconds)
    medians = {name: t["median"] for name, t in times.items()}
    beyond_cache = math.prod(case.shape) * np.dtype(case.dtype).itemsize > cache
    ratios, missed = {}, []
    for slow, fast, most, memory_only in TARGETS:
        if slow in medians and fast in medians:
            name = f"{slow}/{fast}"
            ratios[name] = medians[slow] / medians[fast]
            if ratios[name] > most and (beyond_cache or not memory_only):
                missed.append(name)
    return {
        **asdict(case),
        "beyond_cache": beyond_cache,
        "median_us": medians,
        "min_us": {name: t["min"] for name, t in times.items()},
        "ratios": ratios,
        "missed": missed,
        "disagreement": differ,
        "wrong": not differ < AGREE[case.dtype],
    }


def show(row: Row) -> None:
    times = "  ".join(f"{name} {us:9.1f}" for name, us in row["median_us"].items())
    ratios = "  ".join(f"{name} {ratio:5.2f}" for name, ratio in row["ratios"].items())
    print(
        f"{row['op']:19s} {row['layout']:6s} {row['size']:6s} {row['shape']!s:18s} {row['dtype']} "
        f"{row['threads']} thr  us: {times}  | {ratios}"
        + ("  DIFFER" if row["wrong"] else "")
        + "".join(f"  MISSED {name}" for name in row["missed"]),
        flush=True,
    )


def summarize(rows: list[Row]) -> None:
    """Per target: how many cases hold it, the geometric mean and the worst."""
    for slow, fast, most, memory_only in TARGETS:
        name = f"{slow}/{fast}"
        ratios = [
            row["ratios"][name]
            for row in rows
            if name in row["ratios"] and (row["beyond_cache"] or not memory_only)
        ]
        if ratios:
            where = " beyond the cache" if memory_only else ""
            mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
            held = sum(ratio <= most for ratio in ratios)
            print(
                f"{name}{where}: at most {most} in {held} of {len(ratios)} cases; "
                f"geometric mean {mean:.2f}, worst {max(ratios):.2f}"
            )


def last_level_cache() -> int:
    """Bytes, as Linux knows them; 32 MiB where nobody does. (sysconf is wrong on some virtual machines.)"""
    caches = Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size")
    sizes = [path.read_text().strip() for path in caches]
    units = {"K": 1 << 10, "M": 1 << 20}
    return max(
        (int(size[:-1]) * units[size[-1]] for size in sizes if size[-1] in units), default=32 << 20
    )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the results here")
    parser.add_argument("--threads", type=int, nargs="+", help="thread counts (default: 1 and all)")
    parser.add_argument("--seconds", type=float, default=0.3, help="per case")
    parser.add_argument("--sizes", nargs="+", choices=list(IMAGES), default=list(IMAGES))
    parser.add_argument("--dtypes", nargs="+", choices=list(AGREE), default=list(AGREE))
    parser.add_argument("--op", help="only operations with this in their name")
    parser.add_argument("--quick", action="store_true", help="few, small, short: does it run?")
    return parser.parse_args()


def main() -> int:
    args = arguments()
    isas = list(native._native.available_isas())
    before, cache, rows = native.isa, last_level_cache(), []
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    sizes = ["L2"] if args.quick else args.sizes
    try:
        for threads in args.threads or sorted({1, cpus}):
            with threadpool_limits(threads), bn.use_backend("native"):
                for case in cases(args.quick, sizes, args.dtypes):
                    if args.op and args.op not in case.op:
                        continue
                    row = run_case(case, isas, 0.02 if args.quick else args.seconds, cache)
                    rows.append({"threads": threads, **row})
                    show(rows[-1])
    finally:
        native.use_isa(before)
    summarize(rows)
    save(args.json, last_level_cache=cache, quick=args.quick, cases=rows)
    return int(any(row["wrong"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
