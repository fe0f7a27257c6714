"""bncore fold: fold norms into the operations around them, in nets, state dicts and ONNX models; check, save.

Here: the options that all kinds of files have, and which kind a file is. What is done with each is in fold_net.py,
fold_state.py and fold_onnx.py; an option of one kind is an error with another.
"""

from __future__ import annotations

import argparse

from . import fold_net, fold_onnx, fold_state
from .kind_options import add_own, judge_own
from .model_kind import KINDS, kind_of
from .options import add_common, non_negative, non_negative_int

__all__ = ["add_arguments", "run"]

FOLDERS = {"onnx": fold_onnx, "state": fold_state, "net": fold_net}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source",
        metavar="IN",
        help="a net saved by bncore (.npz), a state dict (.safetensors, .npz) or an ONNX model (.onnx)",
    )
    parser.add_argument(
        "destination", nargs="?", metavar="OUT", help="where to save the folded one"
    )
    parser.add_argument("--out", metavar="FILE", help="the same as OUT")
    parser.add_argument(
        "--dry-run", action="store_true", help="only say what would be done; OUT is not needed"
    )
    parser.add_argument(
        "--seed",
        type=non_negative_int,
        default=None,
        metavar="N",
        help="of the random inputs to compare on, or of the split of --check",
    )
    for flag, what in (("--rtol", "relative"), ("--atol", "absolute")):
        parser.add_argument(
            flag,
            type=non_negative,
            metavar="T",
            help=f"{what} difference allowed, of models and state dicts (default: what rounding explains)",
        )
    add_common(parser)
    for kind in KINDS:
        add_own(parser, kind, FOLDERS[kind].add_arguments)


def run(args: argparse.Namespace) -> int:
    if args.destination is not None and args.out is not None:
        raise ValueError("OUT and --out are two names for one file: give one of them")
    args.out = args.destination if args.out is None else args.out
    if args.out is None and not args.dry_run:
        raise ValueError("where to? give OUT, or --out FILE, or --dry-run")
    kind = kind_of(args.source)
    judge_own(args, kind)
    for flag in ("rtol", "atol"):
        if kind == "net" and getattr(args, flag) is not None:
            raise ValueError(f"--{flag} is not for {KINDS[kind]}: --tolerance is")
    return FOLDERS[kind].run(args)
