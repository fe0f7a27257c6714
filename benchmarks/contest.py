"""One case after the other: results checked, contenders timed in turns, rows printed and written as JSON.

Knows no operation; see bench_*.py for those. A case has ``op``, ``shape``, ``layout``, ``dtype`` and ``least_bytes``.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits
from timing import interleaved, save

import bncore as bn

Array = np.ndarray[Any, Any]
Call = Callable[[], Any]
Row = dict[str, Any]


def with_numpy(make: Callable[[], Call]) -> Call:
    """What `make` returns, made and run on the NumPy twin."""
    with bn.use_backend("numpy"):
        inner = make()

    def call() -> Any:
        with bn.use_backend("numpy"):
            return inner()

    return call


def copy_calls(x: Array, torch: Any | None) -> dict[str, Call]:
    """Ways to copy x, NumPy's (one thread) and PyTorch's (all threads): the faster one is the yardstick."""
    target = np.empty_like(x)
    calls: dict[str, Call] = {"copy numpy": lambda: np.copyto(target, x)}
    if torch is not None:
        source, sink = torch.from_numpy(x), torch.empty_like(torch.from_numpy(x))
        calls["copy torch"] = lambda: sink.copy_(source)
    return calls


def measure(
    case: Any,
    x: Array,
    contenders: Mapping[str, Call],
    reference: Array,
    error_of: Callable[[Any, Array], float],
    torch: Any | None,
    seconds: float,
) -> Row:
    """The row of one case: a contender whose result is not the reference's is reported and not timed."""
    limit = 1e-4 if case.dtype == "float32" else 1e-12
    errors = {name: error_of(call(), reference) for name, call in contenders.items()}
    wrong = [name for name, error in errors.items() if not error < limit]
    right = {name: call for name, call in contenders.items() if name not in wrong}
    copies = copy_calls(x, torch)
    times = interleaved({**right, **copies}, seconds=seconds)
    copy_us = min(times[name]["median"] for name in copies)
    medians = {name: times[name]["median"] for name in right}
    return {
        "op": case.op,
        "shape": case.shape,
        "layout": case.layout,
        "dtype": case.dtype,
        "least_bytes": case.least_bytes,
        "median_us": medians,
        "min_us": {name: times[name]["min"] for name in right},
        "gb_per_s": {name: case.least_bytes / us / 1e3 for name, us in medians.items()},
        "copy_gb_per_s": 2 * x.nbytes / copy_us / 1e3,
        "error": errors,
        "wrong": wrong,
    }


def relative_error(result: Array, reference: Array) -> float:
    """Largest difference from the float64 result, relative to its largest magnitude."""
    return float(np.max(np.abs(result - reference)) / np.max(np.abs(reference)))


def show(row: Row) -> None:
    shown = "  ".join(f"{name} {us:9.1f}" for name, us in row["median_us"].items())
    gbs = row["gb_per_s"].get("bncore", float("nan"))
    print(
        f"{row['op']:22s} {row['layout']:9s} {row['shape']!s:19s} {row['dtype']:8s} {row['threads']} thr  us: {shown}"
        f"  | bncore {gbs:6.1f} GB/s, copy {row['copy_gb_per_s']:6.1f} GB/s"
        + ("  WRONG: " + ", ".join(row["wrong"]) if row["wrong"] else ""),
        flush=True,
    )


def main(
    description: str | None,
    cases: Callable[[bool], Iterable[Any]],
    run_case: Callable[[Any, Any | None, float], Row],
) -> int:
    """The command line of a benchmark; 1 when a contender's result was wrong."""
    parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
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
                row = run_case(case, torch, 0.02 if args.quick else args.seconds)
                rows.append({"threads": threads, **row})
                show(rows[-1])
    save(args.json, quick=args.quick, cases=rows)
    return int(any(row["wrong"] for row in rows))
