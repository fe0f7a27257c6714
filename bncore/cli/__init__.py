"""The command `bncore`: one file per subcommand, each parses, calls the library and prints.

Here: the way in, and what becomes of errors. Data goes to stdout, messages to stderr. Exit codes: 0 done, 1 a check
failed or training diverged, 2 bad input (one line says what), 70 a defect of bncore, 130 interrupted, 141 the reader of stdout went away.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress

from .. import __version__
from . import diagnose, fold, info, inspect, lab, recalibrate, stats, train
from . import eval as eval_command
from .options import Parser

__all__ = ["main"]

_COMMANDS = {
    "train": train,
    "eval": eval_command,
    "recalibrate": recalibrate,
    "diagnose": diagnose,
    "stats": stats,
    "fold": fold,
    "inspect": inspect,
    "lab": lab,
    "info": info,
}


def build_parser() -> Parser:
    """The parser of `bncore`, with one subparser per command."""
    parser = Parser(
        prog="bncore",
        description="Train small nets with batch norm, measure its population statistics, fold it away, check the result.",
        epilog="`bncore COMMAND --help` lists a command's options.",
    )
    parser.add_argument("--version", action="version", version=f"bncore {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)
    for name, module in _COMMANDS.items():
        summary = (module.__doc__ or "").splitlines()[0].partition(": ")[2]
        command = commands.add_parser(name, help=summary, description=summary)
        module.add_arguments(command)
        command.set_defaults(run=module.run, command=name)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code (argparse itself leaves by SystemExit for --help and bad options)."""
    debug = "--debug" in (sys.argv[1:] if argv is None else argv)
    try:
        args = build_parser().parse_args(argv)
        code: int = args.run(args)
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except BrokenPipeError:
        _forget_stdout()
        return 141
    except KeyboardInterrupt:
        if debug:
            raise
        print("bncore: interrupted", file=sys.stderr)
        return 130
    except FloatingPointError as error:  # training diverged: the input was taken, the run failed
        if debug:
            raise
        print(f"bncore: {_one_line(error)}", file=sys.stderr)
        return 1
    except (ValueError, TypeError, OSError, ImportError, MemoryError) as error:
        if debug:
            raise
        print(f"bncore: {_one_line(error)}", file=sys.stderr)
        _give_up_unwritable_stdout()
        return 2
    except Exception as error:
        if debug:
            raise
        print(
            f"bncore: unexpected {type(error).__name__}: {_one_line(error)} "
            "(a defect of bncore; --debug shows where it happened)",
            file=sys.stderr,
        )
        return 70


def _one_line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__


def _give_up_unwritable_stdout() -> None:
    """What a full disk did not take is still in the buffer: the interpreter would try again at its end, with a code of its own."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except (OSError, ValueError):
        _forget_stdout()


def _forget_stdout() -> None:
    """Nobody reads stdout any more; point it nowhere, or the interpreter complains while it shuts down."""
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
