"""bncore fold NET.npz OUT.npz: what the command does with nets that bncore saved; fold.py has the common options.

Folds, runs both nets, saves the folded one if they agree.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from ..thread_limits import threads
from .options import add_threads, non_negative, note
from .report import emit_json

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse._ActionsContainer) -> None:
    """The options that only nets have."""
    parser.add_argument(
        "--check",
        metavar="DATA",
        help="compare on this data set's test part (default: random inputs)",
    )
    parser.add_argument("--target", metavar="COLUMN", help="target column, if DATA is a .csv file")
    parser.add_argument(
        "--input-shape",
        metavar="C,H,W",
        help="shape of one sample for random inputs, if the net's file does not say it",
    )
    parser.add_argument(
        "--tolerance",
        type=non_negative,
        metavar="T",
        help="largest difference allowed, relative to the largest output (default: 1e-4; 1e-10 for float64 nets)",
    )
    add_threads(parser)


def run(args: argparse.Namespace) -> int:
    from ..folding import fold_net, verify
    from ..io import save
    from ..support.files import check_target
    from .agreement import default_tolerance, fold_section, fold_text
    from .inputs import dtype_of, load_net

    if not args.dry_run:
        check_target(args.out, args.force)
    net, meta = load_net(args.source)
    x = _inputs(args, net, meta)
    tolerance = default_tolerance(dtype_of(net)) if args.tolerance is None else args.tolerance
    with threads(args.threads):
        folded, report = fold_net(net, input_ndim=x.ndim)
        section = fold_section(report, verify(net, folded, x), tolerance)
    written = section["agree"] and not args.dry_run
    if written:
        save(folded, args.out, meta=meta, force=args.force)
    result: dict[str, Any] = {
        "command": "fold",
        "net": args.source,
        "inputs": args.check or "random",
        "samples": len(x),
        "out": args.out if written else None,
        "fold": section,
    }
    if args.json:
        emit_json(result)
    else:
        print(fold_text(result["fold"]))
    if not section["agree"]:
        print(
            f"bncore: the folded net differs by {section['max_abs_error']:.3g} "
            f"({section['max_rel_error']:.3g} of the largest output), allowed is {tolerance:.3g}; "
            "nothing was saved",
            file=sys.stderr,
        )
        return 1
    note(args, f"saved {args.out}" if written else "dry run: nothing was written")
    return 0


def _inputs(args: argparse.Namespace, net: Any, meta: dict[str, Any]) -> Any:
    """Samples to compare both nets on: real ones if asked for, else random ones of the right shape."""
    from .agreement import sample_inputs
    from .inputs import dtype_of, input_shape, load_for_net

    if args.check is not None:
        args.data = args.check
        return load_for_net(args, meta).x_test
    return sample_inputs(input_shape(net, meta, args.input_shape), dtype_of(net), args.seed or 0)
