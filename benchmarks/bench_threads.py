"""Two threads against one where a second thread is hard to get: after idling, beside a busy process, beside other pools.

The same call on two threads and on one, in turns, so that both meet the same conditions. A row holds if two threads
are at most 1.2 times slower than one at the median and 2 times on the mean. Every situation has a process of its own.
With ``--break-even`` instead: from which size two threads pay, hot and cold. Run it with nothing else on the machine:

    python benchmarks/bench_threads.py --json benchmarks/results/threads.json
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from timing import machine

Call = Callable[[], Any]
Row = dict[str, Any]

MEDIAN, MEAN = 1.2, 2.0  # what a call on two threads may cost, in calls on one
SIZES = (0.25, 1.0, 4.0, 16.0)  # MB of the input
LEAST_CALLS = 50
BLOCK = 0.02  # seconds on one number of threads before it is the other's turn


@dataclass(frozen=True)
class Situation:
    """What happens around the calls."""

    name: str
    gap: float = 0.0  # seconds of sleep before every call
    busy: str = ""  # a busy process beside: on processor "0", on "1", or on "any"
    between: str = ""  # another library's pool used before every call: "torch", "blas"
    wait_policy: str = ""  # OMP_WAIT_POLICY of the process


def _situations() -> Iterator[Situation]:
    gaps = {"back to back": 0.0, "2 ms gaps": 2e-3, "20 ms idle": 20e-3}
    for name, gap in gaps.items():
        yield Situation(name, gap)
    for busy in ("0", "1", "any"):
        for name, gap in gaps.items():
            yield Situation(f"{name}, busy process on {busy}", gap, busy)
    for between in ("torch", "blas"):
        yield Situation(f"{between} between calls", between=between)
        yield Situation(f"{between} between calls, 2 ms gaps", 2e-3, between=between)
    yield Situation("torch between calls, active", between="torch", wait_policy="active")
    yield Situation("torch between calls, active, 2 ms gaps", 2e-3, "", "torch", "active")


SITUATIONS = {s.name: s for s in _situations()}


def operations(megabytes: float) -> dict[str, Call]:
    """Channels-first batch norm of that much float32."""
    from bncore import functional as F

    n = max(1, round(megabytes * 2**20 / (64 * 28 * 28 * 4)))
    x = np.random.default_rng(0).standard_normal((n, 64, 28, 28)).astype(np.float32)
    weight, bias, mean, var = (np.full(64, v, np.float32) for v in (1.5, 0.5, 0.0, 1.0))
    _, saved = F.batch_norm(x, weight, bias, mean, var)
    return {
        "forward": lambda: F.batch_norm(x, weight, bias, mean, var),
        "backward": lambda: F.batch_norm_backward(x, saved),
        "evaluation": lambda: F.batch_norm(x, weight, bias, mean, var, training=False),
    }


def neighbour(between: str) -> Call:
    """Something on two threads of another library, which go on spinning for a while."""
    a = np.random.default_rng(1).standard_normal((768, 768)).astype(np.float32)
    if between == "torch":
        import torch

        source = torch.from_numpy(a)
        sink = torch.empty_like(source)
        assert torch.get_num_threads() == 2
        return lambda: torch.tanh(source, out=sink)
    if between == "blas":
        product = np.empty_like(a)
        return lambda: np.matmul(a, a, out=product)
    return lambda: None


@contextlib.contextmanager
def busy_process(where: str) -> Iterator[None]:
    """A process that wants all of one processor for as long as the block runs."""
    if not where:
        yield
        return
    hog = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        if where != "any":
            os.sched_setaffinity(hog.pid, {int(where)})
        time.sleep(0.3)
        yield
    finally:
        hog.kill()
        hog.wait()


def durations(call: Call, situation: Situation, other: Call, calls: int) -> list[float]:
    """Seconds of each of so many calls."""
    found = []
    for _ in range(calls):
        other()
        if situation.gap:
            time.sleep(situation.gap)
        begin = time.perf_counter()
        call()
        found.append(time.perf_counter() - begin)
    return found


def compare(call: Call, situation: Situation, other: Call, seconds: float, many: int = 0) -> Row:
    """Microseconds on two threads (`many`: forced, 0: as bncore decides) and on one, in turns of blocks."""
    from bncore import _native

    times: dict[int, list[float]] = {many: [], 1: []}
    end = time.perf_counter() + seconds
    calls = 3  # of the first blocks, which are thrown away
    warm = False
    while not warm or len(times[1]) < LEAST_CALLS or time.perf_counter() < end:
        begin = time.perf_counter()
        for threads, found in times.items():
            # not bn.threads: it would limit the other libraries as well
            _native.force_threads(threads)
            block = durations(call, situation, other, calls)
            if warm:
                found += block
        if not warm:
            one = (time.perf_counter() - begin) / (2 * calls)
            calls, warm = max(2, min(1000, int(BLOCK / one))), True
    _native.force_threads(0)
    two, one_thread = summary(times[many]), summary(times[1])
    ratios = {f"ratio_{k}": two[k] / one_thread[k] for k in ("median", "mean", "p99")}
    holds = ratios["ratio_median"] <= MEDIAN and ratios["ratio_mean"] <= MEAN
    return {"two": two, "one": one_thread, **ratios, "holds": holds}


def summary(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(1e6 * s for s in seconds)
    return {
        "median": statistics.median(ordered),
        "mean": statistics.fmean(ordered),
        "p99": ordered[len(ordered) * 99 // 100],
        "max": ordered[-1],
        "calls": len(ordered),
    }


def rows_of(situation: Situation, seconds: float) -> Iterator[Row]:
    """All sizes and operations in one situation; to be run in a process of its own."""
    other = neighbour(situation.between)
    with busy_process(situation.busy):
        for size in SIZES:
            for op, call in operations(size).items():
                row = compare(call, situation, other, seconds)
                yield {"situation": situation.name, "op": op, "megabytes": size, **row}


def break_even(seconds: float) -> Iterator[Row]:
    """Two threads forced on small arrays."""
    hot, cold = SITUATIONS["back to back"], SITUATIONS["2 ms gaps"]
    for size in (0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.6, 2.0):
        for op, call in operations(size).items():
            for situation in (hot, cold):
                row = compare(call, situation, neighbour(""), seconds, many=2)
                yield {"situation": situation.name, "op": op, "megabytes": size, **row}


def show(row: Row) -> str:
    two, one = row["two"], row["one"]
    return (
        f"{row['situation']:38} {row['op']:10} {row['megabytes']:5} MB"
        f"  1: {one['median']:7.0f} {one['mean']:7.0f} {one['p99']:7.0f}"
        f"  2: {two['median']:7.0f} {two['mean']:7.0f} {two['p99']:7.0f} us"
        f"  ratio {row['ratio_median']:.2f} {row['ratio_mean']:.2f} {row['ratio_p99']:.2f}"
        f"{'' if row['holds'] else '  MISSED'}"
    )


def run_child(what: list[str], wait_policy: str) -> Iterator[Row]:
    """This file in a new process on two threads; its rows, as they come."""
    limits = {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}
    policy = {"OMP_WAIT_POLICY": wait_policy} if wait_policy else {}
    command = [sys.executable, __file__, *what]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=os.environ | limits | policy
    ) as child:
        assert child.stdout is not None
        for line in child.stdout:
            yield json.loads(line)
    if child.returncode:
        raise SystemExit(child.returncode)


def save(path: Path, rows: list[Row]) -> None:
    """Writes the rows; those of situations that were not measured now stay as they are in the file."""
    new = {row["situation"] for row in rows}
    old = json.loads(path.read_text())["rows"] if path.exists() else []
    rows = [row for row in old if row["situation"] not in new] + rows
    path.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--json", type=Path, help="write the rows here")
    parser.add_argument("--only", help="situations whose name contains this")
    parser.add_argument("--exactly", action="store_true", help="... or is this")
    parser.add_argument("--seconds", type=float, default=0.8, help="per operation and size")
    parser.add_argument("--break-even", action="store_true", help="from which size threads pay")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child is not None:
        situation = SITUATIONS.get(args.child)
        found = rows_of(situation, args.seconds) if situation else break_even(args.seconds)
        for row in found:
            print(json.dumps(row), flush=True)
        return
    chosen = [
        s
        for s in SITUATIONS.values()
        if not args.only or (args.only == s.name if args.exactly else args.only in s.name)
    ]
    rows: list[Row] = []
    for situation in [None] if args.break_even else chosen:
        name, policy = (situation.name, situation.wait_policy) if situation else ("", "")
        for row in run_child(["--child", name, "--seconds", str(args.seconds)], policy):
            print(show(row), flush=True)
            rows.append(row)
    if args.break_even:
        return
    missed = sum(not row["holds"] for row in rows)
    print(f"{len(rows) - missed} of {len(rows)} rows hold: <= {MEDIAN} median, <= {MEAN} mean")
    if args.json:
        save(args.json, rows)


if __name__ == "__main__":
    main()
