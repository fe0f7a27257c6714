"""bncore diagnose: why a saved net answers differently in evaluation than in training, and what repairs it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..thread_limits import threads
from .options import add_common, add_data, add_threads, note, positive_int
from .report import emit_json

__all__ = ["add_arguments", "run"]

METHODS = ("sequential", "pooled", "average")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("net", metavar="NET", help="a net saved by bncore (.npz)")
    add_data(parser, seed="of the split (default: as trained, else 0) and of the batches")
    parser.add_argument(
        "--batch-size",
        type=positive_int,
        metavar="N",
        help="of training, to measure how far batch statistics scatter (default: as trained, else 64)",
    )
    parser.add_argument(
        "--batches", type=positive_int, metavar="N", help="use at most N batches (default: all)"
    )
    parser.add_argument(
        "--method",
        choices=METHODS,
        default="sequential",
        help="population statistics to compare with, as for recalibrate (default: %(default)s)",
    )
    parser.add_argument("--plot", metavar="FILE", help="save a picture (.png)")
    add_threads(parser)
    add_common(parser)


def run(args: argparse.Namespace) -> int:
    from ..statistics import diagnose
    from ..support.progress import Progress
    from .inputs import load_for_net, load_net

    _check_plot(args)
    net, meta = load_net(args.net)
    data = load_for_net(args, meta)
    with threads(args.threads), Progress(label="diagnose", show=not args.quiet) as progress:
        diagnosis = diagnose(
            net,
            data,
            batch_size=args.batch_size or meta.get("batch_size", 64),
            batches=args.batches,
            method=args.method,
            seed=args.seed or 0,
            progress=progress,
        )
    if args.json:
        result: dict[str, Any] = {"command": "diagnose", "net": args.net, "data": data.name}
        emit_json({**result, **diagnosis.to_dict(), "plot": args.plot})
    else:
        print(diagnosis)
    if args.plot is not None:
        _save_plot(args, diagnosis)
    return 0


def _check_plot(args: argparse.Namespace) -> None:
    """Everything about the picture that could fail is tried before measuring."""
    from ..support.extras import require
    from ..support.files import check_target

    if args.plot is None:
        return
    if Path(args.plot).suffix.lower() != ".png":
        raise ValueError(f"--plot: expected a name that ends in .png, got {args.plot!r}")
    check_target(args.plot, args.force)
    require("matplotlib", "plot")


def _save_plot(args: argparse.Namespace, diagnosis: Any) -> None:
    from ..support.files import atomic_path

    with atomic_path(args.plot, args.force) as temporary:
        diagnosis.plot(temporary)
    note(args, f"saved {args.plot}")
