"""bncore lab: small experiments on real data that show what batch norm does; each checks its own claim."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from .options import add_common, add_threads, non_negative_int, note, positive_int
from .report import emit_json, table

if TYPE_CHECKING:
    from ..lab import Report

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "name", nargs="?", metavar="NAME", help="an experiment, or all; without it they are listed"
    )
    parser.add_argument(
        "--seeds", type=positive_int, metavar="K", help="how many (default: 3, with --quick 1)"
    )
    parser.add_argument(
        "--seed", type=non_negative_int, default=0, metavar="S", help="the first one (default: 0)"
    )
    parser.add_argument("--quick", action="store_true", help="fewer and shorter runs")
    parser.add_argument(
        "--out",
        metavar="DIR",
        help="write a page, the numbers and every picture there (default: `all` writes the page into the current folder, "
        "under a name that is free)",
    )
    add_threads(parser)
    add_common(parser)


def run(args: argparse.Namespace) -> int:
    from .. import lab
    from .lab_files import LabFiles

    if args.name is None:
        if args.out is not None:
            raise ValueError("--out needs the NAME of an experiment, or all")
        return _list(args)
    names = lab.NAMES if args.name == "all" else (args.name,)
    if args.name not in ("all", *lab.NAMES):
        raise ValueError(f"there is no experiment {args.name!r}: {', '.join(lab.NAMES)}, all")
    files = LabFiles.of(args.out, args.force, wanted=args.name == "all")
    seeds = range(args.seed, args.seed + (args.seeds or (1 if args.quick else 3)))
    reports: list[Report] = []
    try:
        for count, name in enumerate(names, 1):
            if len(names) > 1:
                note(args, f"{count}/{len(names)} {name}: {lab.question(name)}")
            options: dict[str, Any] = {"quick": args.quick, "threads": args.threads}
            reports.append(lab.run(name, seeds, progress=not args.quiet, **options))
            if not args.json:
                print(reports[-1], flush=True)
    finally:  # what an interrupted run has found is kept
        written = [str(path) for path in files.write(reports, len(names))]
        for path in written:
            note(args, f"wrote {path}")
    passed = all(report.passed for report in reports)
    if args.json:
        found = [report.to_dict() for report in reports]
        result = {"command": "lab", "passed": passed, "experiments": found}
        emit_json({**result, "files": written})
    elif len(reports) > 1:
        met = sum(report.passed for report in reports)
        print(f"{met} of {len(reports)} experiments met all their criteria")
    return 0 if passed else 1


def _list(args: argparse.Namespace) -> int:
    from .. import lab

    rows = [(name, lab.question(name)) for name in lab.NAMES]
    if args.json:
        entries = [{"name": name, "question": question} for name, question in rows]
        emit_json({"command": "lab", "experiments": entries})
    else:
        print(table(rows, indent=""))
        print("\nbncore lab NAME runs one, bncore lab all runs them all and writes a page.")
    return 0
