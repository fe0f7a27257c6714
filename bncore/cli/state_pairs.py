"""Options that say which norms of a state dict go with which operations, and what they come to. Shared by fold and inspect."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from .options import non_negative

if TYPE_CHECKING:
    from ..folding.report import Kept
    from ..folding.state import Modules, Pair

__all__ = ["add_pair_options", "find_pairs"]


def add_pair_options(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--pairs",
        default="auto",
        metavar="auto|FILE|RULE",
        help="which norm goes with which operation: by names and shapes (auto, the default), by a file with lines "
        "`conv1 -> bn1` (`bn0 -> fc1`: the norm comes before; behind it kind=conv_transpose, eps=1e-3, padding=0), or by a "
        "regular expression: '(.*)conv(\\d) -> \\1bn\\2'",
    )
    parser.add_argument(
        "--kind",
        action="append",
        default=[],
        metavar="NAME=KIND",
        help="conv_transpose, conv or linear, which shapes do not always tell; NAME may have wildcards; may be repeated",
    )
    parser.add_argument(
        "--eps",
        type=non_negative,
        default=1e-5,
        metavar="E",
        help="of the norms, which a state dict does not tell (default: 1e-5)",
    )


def find_pairs(args: argparse.Namespace, modules: Modules) -> tuple[list[Pair], list[Kept]]:
    """The pairs that the options give, and every norm without one with the reason."""
    from ..folding import state
    from ..folding.state.given import kinds_of

    told = args.pairs == "auto" or "->" in args.pairs
    pairs, source = (args.pairs, "--pairs") if told else (_lines(args.pairs), args.pairs)
    try:
        kinds_of(args.kind, modules)
    except ValueError as error:
        raise ValueError(f"--kind: {error}") from None
    try:
        return state.find_pairs(modules, pairs, args.kind)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None


def _lines(path: str) -> list[str]:
    if not Path(path).is_file():
        raise ValueError(
            f"--pairs: expected auto, a file or a rule PATTERN -> TEMPLATE, got {path!r}, which is no file"
        )
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
