"""bncore recalibrate: replace a saved net's running averages by statistics of the training data."""

from __future__ import annotations

import argparse
from typing import Any

from ..thread_limits import threads
from .options import add_common, add_data, add_threads, note, positive_int
from .report import emit_json, recalibration_text

__all__ = ["add_arguments", "run"]

METHODS = ("sequential", "pooled", "average", "ema")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("net", metavar="NET", help="a net saved by bncore (.npz)")
    add_data(parser)
    parser.add_argument(
        "--method",
        choices=METHODS,
        default="sequential",
        help="sequential: layer by layer, equals what evaluation computes; pooled: exact merge of batches; "
        "average: mean over batches; ema: as training left them (default: %(default)s)",
    )
    parser.add_argument(
        "--out", required=True, metavar="FILE", help="where to save the recalibrated net (.npz)"
    )
    parser.add_argument(
        "--batch-size", type=positive_int, default=256, metavar="N", help="default: %(default)s"
    )
    add_threads(parser)
    add_common(parser)


def run(args: argparse.Namespace) -> int:
    from ..io import save
    from ..statistics import recalibrate
    from ..support.files import check_target
    from ..support.progress import Progress
    from .inputs import load_for_net, load_net, score

    check_target(args.out, args.force)
    net, meta = load_net(args.net)
    data = load_for_net(args, meta)
    with threads(args.threads):
        before = score(net, data.x_test, data.y_test, data.task, batch_size=args.batch_size)
        with Progress(label="recalibrate", show=not args.quiet) as progress:
            report = recalibrate(
                net, data.x_train, method=args.method, batch_size=args.batch_size, progress=progress
            )
        after = score(net, data.x_test, data.y_test, data.task, batch_size=args.batch_size)
    save(net, args.out, meta=meta, force=args.force)
    result: dict[str, Any] = {
        "command": "recalibrate",
        "net": args.net,
        "data": data.name,
        **report.to_dict(),
        "before": before,
        "after": after,
        "out": args.out,
    }
    if args.json:
        emit_json(result)
    else:
        print("\n".join(recalibration_text(result)))
        note(args, f"saved {args.out}")
    return 0
