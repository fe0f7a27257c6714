"""bncore eval: how well a saved net does on a data set."""

from __future__ import annotations

import argparse
from typing import Any

from ..thread_limits import threads
from .options import add_common, add_data, add_threads, positive_int
from .report import emit_json, score_text

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("net", metavar="NET", help="a net saved by bncore (.npz)")
    add_data(parser)
    parser.add_argument(
        "--split",
        choices=("test", "train", "all"),
        default="test",
        help="which part of the data (default: %(default)s)",
    )
    parser.add_argument(
        "--batch-size", type=positive_int, default=256, metavar="N", help="default: %(default)s"
    )
    add_threads(parser)
    add_common(parser, writes=False)


def run(args: argparse.Namespace) -> int:
    from .inputs import load_for_net, load_net, part, score

    net, meta = load_net(args.net)
    data = load_for_net(args, meta)
    x, y = part(data, args.split)
    with threads(args.threads):
        scores = score(net, x, y, data.task, batch_size=args.batch_size)
    result: dict[str, Any] = {
        "command": "eval",
        "net": args.net,
        "data": data.name,
        "task": data.task,
        "split": args.split,
        "samples": len(x),
        "loss": scores["loss"],
        "accuracy": scores.get("accuracy"),
        "r2": scores.get("r2"),
    }
    if args.json:
        emit_json(result)
    else:
        print(f"{args.net} on {data.name}, {args.split}, {len(x)} samples: {score_text(scores)}")
    return 0
