"""Mean and variance of every feature of a large float32 array: bncore, scikit-learn, NumPy, and a plain read as the roof.

Every contender's variance is checked against two passes in float64 first, at a mean of 1e4 deviations; the error is
reported beside the time, also where it is large. Run it with nothing else on the machine:

    python benchmarks/bench_population.py --json benchmarks/results/population.json
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits
from timing import interleaved, save

import bncore as bn

try:
    import torch
except ImportError:
    torch = None

Array = np.ndarray[Any, Any]
Call = Callable[[], Any]
WRONG = 1e-5  # relative error of the variance


def truth(x: Array) -> tuple[Array, Array]:
    """Two passes in float64, some rows at a time."""
    parts = [x[i : i + 65536].astype(np.float64) for i in range(0, len(x), 65536)]
    mean = sum(part.sum(axis=0) for part in parts) / len(x)
    return mean, sum(np.square(part - mean).sum(axis=0) for part in parts) / len(x)


def contenders(x: Array, path: Path, weights: Array) -> dict[str, Call]:
    """What gives the statistics of x; (mean, var) except for weights, which are random and have their own."""

    def ours(data: Any, **options: Any) -> Call:
        def call() -> tuple[Array, Array]:
            stats = bn.population(data, **options)
            return stats.mean, stats.var

        return call

    def mapped() -> tuple[Array, Array]:
        return ours(np.load(path, mmap_mode="r"))()

    calls: dict[str, Call] = {
        "bncore": ours(x),
        "bncore memmap": mapped,
        "bncore weighted": ours(x, weights=weights),
        "numpy float32": lambda: (x.mean(axis=0), x.var(axis=0)),
        "numpy float64": lambda: (
            x.mean(axis=0, dtype=np.float64),
            x.var(axis=0, dtype=np.float64),
        ),
    }
    try:
        from sklearn.preprocessing import StandardScaler
    except ImportError:
        print("scikit-learn is not installed: no StandardScaler", file=sys.stderr)
        return calls

    def scaler() -> tuple[Array, Array]:
        fitted = StandardScaler().fit(x)
        return fitted.mean_, fitted.var_

    return {**calls, "StandardScaler": scaler}


def roofs(x: Array) -> dict[str, Call]:
    """Reading x once and doing next to nothing: NumPy on one thread, PyTorch, if it is there, on all."""
    words = x.reshape(-1).view(np.uint64)
    calls: dict[str, Call] = {"read numpy": words.max}
    return calls if torch is None else {**calls, "read torch": torch.from_numpy(x.reshape(-1)).sum}


def errors_of(call: Call, mean: Array, var: Array) -> tuple[float, float]:
    """Largest error of the mean in deviations, and of the variance relative to it."""
    found_mean, found_var = call()
    return (
        float(np.max(np.abs(found_mean - mean) / np.sqrt(var))),
        float(np.max(np.abs(found_var - var) / var)),
    )


def run_case(shape: tuple[int, int], threads: int, folder: Path, seconds: float) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape, dtype=np.float32) + np.float32(1e4)
    path = folder / "x.npy"
    np.save(path, x)
    mean, var = truth(x)
    calls = contenders(x, path, rng.random(len(x)))
    checked = {
        name: errors_of(c, mean, var) for name, c in calls.items() if name != "bncore weighted"
    }
    times = interleaved({**calls, **roofs(x)}, seconds=seconds, rounds=5)
    medians = {name: value["median"] for name, value in times.items()}
    return {
        "shape": shape,
        "threads": threads,
        "bytes": x.nbytes,
        "median_us": medians,
        "min_us": {name: value["min"] for name, value in times.items()},
        "gb_per_s": {name: x.nbytes / us / 1e3 for name, us in medians.items()},
        "times_bncore": {name: us / medians["bncore"] for name, us in medians.items()},
        "mean_error": {name: error[0] for name, error in checked.items()},
        "var_error": {name: error[1] for name, error in checked.items()},
        "wrong": [name for name, error in checked.items() if not error[1] < WRONG],
    }


def show(row: dict[str, Any]) -> None:
    print(f"{row['shape']} float32 at mean 1e4, {row['threads']} threads")
    for name, us in sorted(row["median_us"].items(), key=lambda item: item[1]):
        error = row["var_error"].get(name)
        print(
            f"  {name:16s} {us / 1e3:9.2f} ms {row['gb_per_s'][name]:7.1f} GB/s {row['times_bncore'][name]:7.2f} x bncore"
            + (f"   error of the variance {error:.1e}" if error is not None else "")
            + ("  WRONG" if name in row["wrong"] else ""),
            flush=True,
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the results here")
    parser.add_argument("--threads", type=int, nargs="+", help="thread counts (default: 1 and all)")
    parser.add_argument(
        "--seconds", type=float, default=20.0, help="per case, at least five rounds"
    )
    parser.add_argument("--quick", action="store_true", help="a small array, short: does it run?")
    args = parser.parse_args()
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    shapes = [(2000, 64)] if args.quick else [(1_000_000, 64), (100_000, 512)]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for threads in args.threads or sorted({1, cpus}):
            if torch is not None:
                torch.set_num_threads(threads)
            with threadpool_limits(threads):
                for shape in shapes:
                    seconds = 0.02 if args.quick else args.seconds
                    rows.append(run_case(shape, threads, Path(folder), seconds))
                    show(rows[-1])
    save(args.json, quick=args.quick, cases=rows)
    return int(any("bncore" in name for row in rows for name in row["wrong"]))


if __name__ == "__main__":
    sys.exit(main())
