"""What the commands' options share: a parser with one-line errors, types that judge numbers.

Not for what a command does.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from typing import Any, NoReturn

__all__ = [
    "Parser",
    "add_common",
    "add_data",
    "add_threads",
    "fraction",
    "non_negative",
    "non_negative_int",
    "note",
    "positive",
    "positive_int",
]


class Parser(argparse.ArgumentParser):
    """argparse, but a bad option is one line on stderr and not a page of usage."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("allow_abbrev", False)
        super().__init__(*args, **kwargs)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} ({self.prog} --help lists the options)\n")


def _number(
    kind: Callable[[str], Any], accept: Callable[[Any], bool], expected: str
) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not accept(value):
            raise argparse.ArgumentTypeError(f"expected {expected}, got {text!r}")
        return value

    return parse


positive_int = _number(int, lambda value: value >= 1, "an integer >= 1")
non_negative_int = _number(int, lambda value: value >= 0, "an integer >= 0")
positive = _number(float, lambda value: math.isfinite(value) and value > 0, "a finite number > 0")
non_negative = _number(
    float, lambda value: math.isfinite(value) and value >= 0, "a finite number >= 0"
)


fraction = _number(float, lambda value: 0 <= value < 1, "a number from 0 to below 1")


def add_common(parser: argparse.ArgumentParser, *, writes: bool = True) -> None:
    """--json, --quiet, --debug, and --force for a command that writes files."""
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object on stdout instead of text"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress and no remarks on stderr")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    if writes:
        parser.add_argument("--force", action="store_true", help="overwrite existing files")


def add_threads(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--threads",
        type=positive_int,
        metavar="N",
        help="threads of OpenMP and BLAS together (default: what the machine allows)",
    )


def note(args: argparse.Namespace, message: str) -> None:
    """A remark for the person at the terminal, on stderr; --quiet silences it."""
    if not args.quiet:
        print(message, file=sys.stderr, flush=True)


SPLIT_SEED = "of the split into training and test samples (default: as trained, else 0)"


def add_data(parser: argparse.ArgumentParser, *, seed: str = SPLIT_SEED) -> None:
    """DATA with --target and --seed; ``seed`` says what that decides."""
    parser.add_argument(
        "data",
        metavar="DATA",
        help="digits, wine, breast_cancer, iris, diabetes (scikit-learn's), or a file or folder: "
        ".npz, .csv[.gz], IDX (MNIST), CIFAR's .bin",
    )
    parser.add_argument(
        "--target",
        metavar="COLUMN",
        help="target column of a .csv file, by name or position (from 0; -1 is the last)",
    )
    parser.add_argument("--seed", type=non_negative_int, default=None, metavar="N", help=seed)
