"""bncore fold IN.onnx OUT.onnx: what the command does with ONNX files; the dispatcher in fold.py has the common options.

Parses, calls the library, prints.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from .options import note, positive
from .report import emit_json

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse._ActionsContainer) -> None:
    """The options that only ONNX files have."""
    parser.add_argument(
        "--levels",
        type=_levels,
        metavar="LIST",
        help="which kinds of rewrites, of backward, forward, relu, norms (affine part of layer, RMS, instance and group "
        "norms), rebase (residual streams); default: backward,forward,relu",
    )
    parser.add_argument(
        "--inputs",
        metavar="FILE.npz",
        help="compare on these arrays, by input, instead of random ones",
    )
    parser.add_argument(
        "--dim",
        type=_dim,
        action="append",
        default=[],
        metavar="NAME=N",
        help="size of a free dimension in random inputs (INPUT:AXIS=N for one without a name); may be repeated",
    )
    parser.add_argument(
        "--no-verify", action="store_true", help="do not run the models: nothing is compared"
    )
    parser.add_argument(
        "--time-limit",
        type=positive,
        default=300.0,
        metavar="SECONDS",
        help="of one run of a model while comparing (default: 300)",
    )
    parser.add_argument(
        "--latency",
        action="store_true",
        help="time both models as ONNX Runtime runs them by default",
    )
    parser.add_argument(
        "--dot", metavar="FILE", help="write the neighbourhood of the norms that stay, for Graphviz"
    )
    parser.add_argument("--svg", metavar="FILE", help="write it as a picture")


def run(args: argparse.Namespace, *, fold: Any = None) -> int:
    """``fold`` stands in for `engine.fold_model` in tests."""
    from ..folding.onnx.fold_file import Options, fold_file
    from ..folding.onnx.report import as_dict, as_text, disagreement
    from ..support.files import check_target

    for picture in filter(None, (args.dot, args.svg)):
        check_target(picture, args.force)
    options = Options(
        levels=args.levels,
        rtol=args.rtol,
        atol=args.atol,
        seed=args.seed or 0,
        inputs=args.inputs,
        dims=dict(args.dim),
        time_limit=args.time_limit,
        verify=not args.no_verify,
        force=args.force,
        dry_run=args.dry_run,
    )
    measure = _latency if args.latency else None
    result = fold_file(args.source, args.out, options, fold=fold, measure=measure)
    if args.json:
        head = {"command": "fold", "source": args.source, "out": args.out}
        emit_json({**head, "dry_run": args.dry_run, **as_dict(result)})
    else:
        print(as_text(result))
    if result.verification.status == "differ":
        print(f"bncore: {disagreement(result)}", file=sys.stderr)
        return 1
    _draw(args, result.model)
    if result.verification.status == "not verified" and not args.no_verify:
        note(args, f"bncore: not verified: {result.verification.reason}")
    note(args, f"saved {args.out}" if result.written else "dry run: nothing was written")
    return 0


def _latency(before: str, after: str, feed: dict[str, Any]) -> dict[str, Any]:
    """Median microseconds of a run of each, in turns."""
    import numpy as np

    from ..folding.onnx.runtime import Session
    from .latency import compare

    sessions = [Session(path, optimized=True) for path in (before, after)]
    first, second = (lambda _, session=session: session.run(feed) for session in sessions)
    return compare(first, second, np.zeros((1, 1)), batch_size=1)


def _draw(args: argparse.Namespace, model: Any) -> None:
    from ..folding.onnx.picture import dot, neighbourhood, svg
    from ..support.files import atomic_path

    part = neighbourhood(model) if args.dot or args.svg else None
    for path, draw in ((args.dot, dot), (args.svg, svg)):
        if path and part is not None:
            with atomic_path(path, args.force) as temporary:
                temporary.write_text(draw(part), encoding="utf-8")


def _levels(text: str) -> frozenset[str]:
    return frozenset(name.strip() for name in text.split(","))


def _dim(text: str) -> tuple[str, int]:
    name, _, size = text.rpartition("=")
    if not name or not size.isascii() or not size.isdigit() or len(size) > 9:
        raise argparse.ArgumentTypeError(f"expected NAME=N with a size N >= 0, got {text!r}")
    return name, int(size)
