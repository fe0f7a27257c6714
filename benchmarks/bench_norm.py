"""Batch, layer and RMS norm against PyTorch, oneDNN, JAX, NumPy and the speed of memory.

Every library runs in a process of its own; all of a row's contenders take turns, and every result is checked against
float64 first. Run it with nothing else on the machine:

    python benchmarks/bench_norm.py --json benchmarks/results/norm.json     then     python benchmarks/table.py

and to see where a change stands, in seconds:

    python benchmarks/bench_norm.py --only 'forward 32x512x7x7' --threads 2 --seconds 0.5 --peers torch,onednn
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import peers
from norms.arena import Arena, Row
from norms.cases import SECTIONS, Case
from norms.figures import best_peer, roof
from timing import machine

ALWAYS = ("bncore", "roof")
SHARE = 0.6  # of it for a random row: they matter as a crowd
SECONDS = 0.5  # of timing a row; slow calls take longer


def wanted(args: argparse.Namespace) -> list[Case]:
    sections = ["quick"] if args.quick else args.section.split(",")
    cases = [case for section in sections for case in SECTIONS[section]()]
    return [case for case in cases if re.search(args.only, case.label)]


def key(row: Row) -> tuple[Any, ...]:
    """Rows of equal keys replace each other."""
    return row["threads"], row["op"], tuple(row["shape"]), row["axis"], row["dtype"], row["section"]


def row_key(threads: int, case: Case) -> tuple[Any, ...]:
    return key({"threads": threads, **case.describe()})


class Results:
    """The file of results, written after every row so that an interrupted run is kept; older rows stay in it."""

    def __init__(self, path: Path | None, quick: bool) -> None:
        self.path, self.quick = path, quick
        self.rows: dict[tuple[Any, ...], Row] = {}
        if path and path.exists():
            old = json.loads(path.read_text(encoding="utf-8"))
            if all("section" in row for row in old["cases"]) and old["quick"] == quick:
                self.rows = {key(row): row for row in old["cases"]}

    def add(self, row: Row) -> None:
        self.rows[key(row)] = row
        self.write()

    def write(self) -> None:
        if self.path is None:
            return
        about = machine()
        lines = ",\n".join(json.dumps(row) for row in self.rows.values())
        text = f'{{"machine": {json.dumps(about)},\n"quick": {json.dumps(self.quick)},\n"cases": [\n{lines}\n]}}\n'
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_suffix(".part")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(self.path)


def show(row: Row, left: str) -> None:
    """One row on the screen."""
    us = {name: f"{value:.1f}" for name, value in row["median_us"].items() if "roof" not in name}
    shape = "x".join(map(str, row["shape"]))
    text = f"{left} {row['threads']}T {row['op']:16s} {row['layout']:6s} {shape:14s} {row['dtype'][5:]}  "
    text += "  ".join(f"{name} {value}" for name, value in us.items())
    for level in ("kernel", "user"):
        ours, best = row["median_us"].get(f"bncore {level}"), best_peer(row, level)
        if ours and best:
            text += f" | {level} ×{best[1] / ours:.2f} ({best[0]})"
    ours, least = (
        row["median_us"].get("bncore kernel", row["median_us"].get("bncore user")),
        roof(row),
    )
    if ours and least:
        text += f" | roof {least:.1f}: {least / ours:.2f}"
    text += "".join(f"  WRONG: {name} {row['error'][name]}" for name in row["wrong"])
    text += "".join(f"  without {kind}: {why}" for kind, why in row["missing"].items())
    print(text, flush=True)


class Progress:
    """How many rows are left and about how long they take, large ones longer."""

    def __init__(self, cases: list[Case], counts: list[int]) -> None:
        self.total = len(cases) * len(counts)
        self.weights = sum(map(self.weight, cases)) * len(counts)
        self.done, self.past, self.start = 0, 0.0, time.perf_counter()

    @staticmethod
    def weight(case: Case) -> float:
        return 1 + case.least_bytes / 6e7

    def after(self, case: Case) -> str:
        self.done += 1
        self.past += self.weight(case)
        rate = (time.perf_counter() - self.start) / self.past
        return f"[{self.done}/{self.total}, {(self.weights - self.past) * rate / 60:.1f} min left]"


def rows(args: argparse.Namespace, results: Results) -> Iterator[Row]:
    """Measures what is wanted, one number of threads after the other."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    counts = args.threads or sorted({1, cpus})
    cases = wanted(args)
    progress = Progress(cases, counts)
    kinds = [
        kind for kind in peers.KINDS if kind in ALWAYS or args.peers is None or kind in args.peers
    ]
    for threads in counts:
        with Arena(kinds, threads) as arena:
            for case in cases:
                if args.resume and row_key(threads, case) in results.rows:
                    continue
                seconds = args.seconds * (SHARE if case.section == "random" else 1)
                row = arena.run(case, seconds, args.rounds)
                show(row, progress.after(case))
                yield row


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--json", type=Path, help="put the rows into this file, in place of older ones of theirs"
    )
    parser.add_argument("--threads", type=int, nargs="+", help="thread counts (default: 1 and all)")
    parser.add_argument("--section", default="named,random", help=f"of {', '.join(SECTIONS)}")
    parser.add_argument(
        "--only",
        default="",
        metavar="REGEX",
        help="rows like 'forward 64x256x14x14 axis 1 float32'",
    )
    parser.add_argument(
        "--peers",
        type=lambda text: expand(text.split(",")),
        help=f"of {', '.join(peers.KINDS)}; torch: all three of it",
    )
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of timing a row")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--resume", action="store_true", help="skip rows the file has")
    parser.add_argument("--quick", action="store_true", help="small shapes, short: does it run?")
    args = parser.parse_args()
    if args.quick:
        args.seconds, args.rounds = 0.02, 2
    results = Results(args.json, args.quick)
    wrong = False
    for row in rows(args, results):
        results.add(row)
        wrong |= any(name.startswith(("bncore", "numpy")) for name in row["wrong"])
    return int(wrong)


def expand(names: list[str]) -> list[str]:
    """``torch`` stands for PyTorch with both heaps."""
    return names + ["torch-warm"] * ("torch" in names)


if __name__ == "__main__":
    sys.exit(main())
