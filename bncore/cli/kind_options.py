"""Options that only one kind of models has: known by what they are for, and an error with any other."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, NamedTuple

from .model_kind import KINDS

__all__ = ["add_own", "judge_own"]


class _Option(NamedTuple):
    """What an option is called, where its value goes, and what that is without it."""

    flag: str
    dest: str
    default: Any


def add_own(
    parser: argparse.ArgumentParser,
    kind: str,
    add_arguments: Callable[[argparse._ActionsContainer], None],
) -> None:
    """Add a kind's options, and take away their defaults: what is there after parsing was given."""
    before = len(parser._actions)
    add_arguments(parser.add_argument_group(f"for {KINDS[kind]}"))
    options = []
    for action in parser._actions[before:]:
        default = action.default
        if isinstance(default, str) and callable(action.type):
            default = action.type(default)
        options.append(_Option(action.option_strings[-1], action.dest, default))
        action.default = argparse.SUPPRESS
    parser.set_defaults(own={**(parser.get_default("own") or {}), kind: options})


def judge_own(args: argparse.Namespace, kind: str) -> None:
    """Refuse what was given for another kind than that of ``args.source``, and fill in the defaults of this one."""
    for other, options in args.own.items():
        for option in options:
            if other == kind:
                setattr(args, option.dest, getattr(args, option.dest, option.default))
            elif hasattr(args, option.dest):
                raise ValueError(
                    f"{option.flag} is for {KINDS[other]}, and {args.source} is {KINDS[kind]}"
                )
