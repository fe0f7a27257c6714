"""The command line of bench_train.py and bench_infer.py: one case after the other, shown as they come, written as JSON."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from timing import save

from . import KINDS, OTHER_WORK, SLOW_TO_START, ratios
from .cases import BATCHES, NETS, QUICK, Case
from .processes import Lost, ask, cpus

PEERS = tuple(kind for kind in KINDS if kind != "bncore")
QUICK_BATCHES = (3,)
Row = dict[str, Any]


def arguments(what: str, description: str | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the results here; other rows stay")
    parser.add_argument("--threads", type=int, nargs="+", help="thread counts (default: 1 and all)")
    parser.add_argument("--nets", nargs="+", choices=tuple(NETS), default=list(NETS))
    batches = "each net's own" if what == "train" else ", ".join(map(str, BATCHES))
    parser.add_argument("--batch", type=int, nargs="+", help=f"batch sizes (default: {batches})")
    parser.add_argument(
        "--peers", nargs="*", choices=PEERS, help="default: all; quick ones without compile"
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--no-memory", action="store_true", help="time only")
    parser.add_argument("--quick", action="store_true", help="small nets, once: does it run?")
    parser.add_argument(
        "--profile", action="store_true", help="instead: bncore's time step by step of its plan"
    )
    args = parser.parse_args()
    args.threads = sorted(set(args.threads or (1, cpus())))
    if not 1 <= args.threads[0] <= args.threads[-1] <= cpus():
        parser.error(f"--threads must be 1 to {cpus()}, the CPUs there are")
    if args.batch and min(args.batch) < 1:
        parser.error("--batch must be at least 1")
    if args.peers is None:
        args.peers = [kind for kind in PEERS if not (args.quick and kind in SLOW_TO_START)]
    return args


def cases(what: str, args: argparse.Namespace) -> Iterator[Case]:
    usual = QUICK_BATCHES if args.quick else BATCHES
    for net in args.nets:
        own = ((QUICK if args.quick else NETS)[net].batch,)
        for batch in args.batch or (own if what == "train" else usual):
            if what == "train" and net == "mlp" and batch == 1:
                note("mlp batch 1 left out: a batch norm needs more than one value a channel")
                continue
            yield Case(net, batch, args.quick)


def note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(what: str, description: str | None) -> int:
    """The exit code: 1 when a contender's result was wrong, or one of ours failed."""
    args = arguments(what, description)
    todo = [(case, threads) for threads in args.threads for case in cases(what, args)]
    rows, bad = earlier(args), False
    for number, (case, threads) in enumerate(todo, 1):
        note(f"[{number}/{len(todo)}] {case}, {threads} thread{'s' * (threads > 1)}")
        try:
            if args.profile:
                show_profile(case, threads, ask("profile", case, threads, what=what))
                continue
            row = measure(what, case, threads, args)
        except Lost as error:
            note(str(error))
            bad = True
            continue
        show(row)
        rows = sorted([r for r in rows if key(r) != key(row)] + [row], key=key)
        save(args.json, quick=args.quick, cases=rows)
        bad |= bool(row["wrong"]) or any(name.startswith("bncore") for name in row["failed"])
    return int(bad)


def earlier(args: argparse.Namespace) -> list[Row]:
    """The rows of the file, as far as they are of the same kind of run."""
    if args.profile or args.json is None or not args.json.exists():
        return []
    found = json.loads(args.json.read_text())
    return found["cases"] if found["quick"] == args.quick else []


def key(row: Row) -> tuple[Any, ...]:
    """What a row is the only one of, and its place."""
    return list(NETS).index(row["net"]), row["batch"], row["threads"]


def measure(what: str, case: Case, threads: int, args: argparse.Namespace) -> Row:
    """One row: the contest, and, with the most threads, every contender's memory."""
    kinds = ["bncore", *args.peers]
    row: Row = {"net": case.net, "batch": case.batch, "threads": threads}
    row |= ask("contest", case, threads, what=what, kinds=kinds, rounds=args.rounds)
    row["memory"] = {}
    if args.no_memory or threads < args.threads[-1]:
        return row
    alone = Case(case.net, case.batch, case.quick, real=False)
    for name, kind in row["kinds"].items():
        note(f"    {name}: memory")
        try:
            row["memory"][name] = ask("memory", alone, threads, what=what, kind=kind, name=name)
        except Lost as error:
            note(str(error))
    return row


def show(row: Row) -> None:
    threads = f"{row['threads']} thread{'s' * (row['threads'] > 1)}"
    best = ratios.fastest(row, ratios.peers(row))
    print(f"{row['net']} batch {row['batch']}, {threads}; best peer: {best or 'none'}")
    for name, ms in sorted(row["median_ms"].items(), key=lambda item: item[1]):
        ratio, memory = ratios.ratio(row, name), row["memory"].get(name)
        print(
            f"  {name:28s} {ms:9.3f} ms"
            + ("" if ratio is None else f"  best peer / this {ratio:6.2f}")
            + (f"  peak {memory['peak']:6.0f} MB, +{memory['growth']:.0f}" if memory else "")
            + (f"  error {row['error'][name]:.0e}" if name in row["error"] else "")
            + ("  WRONG" if name in row["wrong"] else "")
            + ("  does less work" if row["kinds"][name] in OTHER_WORK else ""),
            flush=True,
        )
    for name, why in row["failed"].items():
        print(f"  {name:28s} failed: {why}", flush=True)


def show_profile(case: Case, threads: int, answer: Row) -> None:
    if "missing" in answer:
        print(f"{case}: no profile: {answer['missing']}")
        return
    for layout, steps in answer["steps"].items():
        total = sum(seconds for _, seconds in steps)
        print(
            f"{case}, {layout}, {threads} thread{'s' * (threads > 1)}: {1e3 * total:.3f} ms in {len(steps)} steps"
        )
        for name, seconds in steps:
            print(f"  {name:40s} {1e6 * seconds:9.1f} µs {100 * seconds / total:5.1f} %")
