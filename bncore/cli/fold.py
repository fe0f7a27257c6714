"""bncore fold: fold norms into the operations around them, in nets, state dicts and ONNX models; check, save.

Here: the options that all kinds of files have, and which kind a file is. What is done with each is in fold_net.py,
fold_state.py and fold_onnx.py; an option of one kind is an error with another.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
from types import ModuleType
from typing import Any, NamedTuple

from .model_kind import KINDS, kind_of
from .options import add_common, non_negative, non_negative_int

__all__ = ["add_arguments", "run"]


class _Option(NamedTuple):
    """An option of one kind of files: what it is called, where its value goes, and what that is without it."""

    flag: str
    dest: str
    default: Any


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
    own: dict[str, list[_Option]] = {}
    for kind, name in KINDS.items():
        module = _module(kind)
        if module is not None:
            group = parser.add_argument_group(f"for {name}")
            own[kind] = _own_options(parser, group, module)
    parser.set_defaults(own=own)


def run(args: argparse.Namespace) -> int:
    if args.destination is not None and args.out is not None:
        raise ValueError("OUT and --out are two names for one file: give one of them")
    args.out = args.destination if args.out is None else args.out
    if args.out is None and not args.dry_run:
        raise ValueError("where to? give OUT, or --out FILE, or --dry-run")
    kind = kind_of(args.source)
    _judge_options(args, kind)
    module = _module(kind)
    if module is None:
        raise ValueError(f"{args.source}: {KINDS[kind]} cannot be folded by this version")
    code: int = module.run(args)
    return code


def _module(kind: str) -> ModuleType | None:
    """The file that folds this kind."""
    name = f"{__package__}.fold_{kind}"
    return importlib.import_module(name) if importlib.util.find_spec(name) else None


def _own_options(
    parser: argparse.ArgumentParser, group: argparse._ArgumentGroup, module: ModuleType
) -> list[_Option]:
    """Let a kind add its options, and take away their defaults: what is there after parsing was given."""
    before = len(parser._actions)
    module.add_arguments(group)
    options = []
    for action in parser._actions[before:]:
        default = action.default
        if isinstance(default, str) and callable(action.type):
            default = action.type(default)
        options.append(_Option(action.option_strings[-1], action.dest, default))
        action.default = argparse.SUPPRESS
    return options


def _judge_options(args: argparse.Namespace, kind: str) -> None:
    """Refuse what was given for another kind, and fill in the defaults of this one."""
    for other, options in args.own.items():
        for option in options:
            if hasattr(args, option.dest) and other != kind:
                raise ValueError(
                    f"{option.flag} is for {KINDS[other]}, and {args.source} is {KINDS[kind]}"
                )
            if other == kind:
                setattr(args, option.dest, getattr(args, option.dest, option.default))
    if kind == "net":
        for flag in ("rtol", "atol"):
            if getattr(args, flag) is not None:
                raise ValueError(f"--{flag} is not for {KINDS[kind]}: --tolerance is")
