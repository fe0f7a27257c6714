"""Pairs that the user gives: lines ``conv1 -> bn1``, from a file or as one rule with a regular expression.

The arrow is the way of the data: ``conv1 -> bn1`` is a norm after its operation, ``bn0 -> fc1`` one before it.
"""

from __future__ import annotations

import fnmatch
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

from .candidates import Candidate
from .modules import Modules
from .readings import KINDS

__all__ = ["candidates_by_rule", "candidates_from_lines", "kinds_of"]

SYNTAX = "expected NAME -> NAME [kind=conv_transpose] [eps=1e-3] [padding=0]"


def candidates_from_lines(lines: Iterable[str], modules: Modules) -> list[Candidate]:
    """The pairs that lines of text give; empty lines and what follows a # are left out.

    Raises
    ------
    ValueError
        With the number of the line that is wrong.
    """
    found: list[Candidate] = []
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        try:
            if len(words) < 3 or words[1] != "->":
                raise ValueError(SYNTAX)
            pair = _candidate(words[0], words[2], modules, **_options(words[3:]))
            _judge_repetition(pair, found)
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
        found.append(pair)
    return found


def candidates_by_rule(rule: str, modules: Modules) -> list[Candidate]:
    """The pairs of a rule ``PATTERN -> TEMPLATE``, such as ``(.*)conv(\\\\d) -> \\\\1bn\\\\2``.

    The pattern is matched with whole names; where the template, filled in, is a name too, the two are a pair.

    Raises
    ------
    ValueError
        If the rule is no regular expression, or gives no pair.
    """
    pattern, _, template = (part.strip() for part in rule.partition("->"))
    found: list[Candidate] = []
    try:
        compiled = re.compile(pattern)
        for path in (*modules.linears, *modules.norms):
            match = compiled.fullmatch(path)
            other = match.expand(template) if match else None
            if other is not None and _opposite(path, other, modules):
                pair = _candidate(path, other, modules)
                _judge_repetition(pair, found)
                found.append(pair)
    except (re.error, IndexError) as error:
        raise ValueError(f"{rule!r} is no rule PATTERN -> TEMPLATE ({error})") from None
    if not found:
        raise ValueError(f"{rule!r} gives no pair of a linear operation and a norm")
    return found


def kinds_of(settings: Sequence[str], modules: Modules) -> dict[str, str]:
    """What ``NAME=KIND`` settings say of linear operations; a name may have wildcards, and later ones overrule.

    Raises
    ------
    ValueError
        For an unknown kind, or a name that nothing has.
    """
    kinds: dict[str, str] = {}
    for setting in settings:
        name, equals, kind = setting.rpartition("=")
        if not equals or kind not in KINDS:
            raise ValueError(
                f"expected NAME=KIND with a kind of {', '.join(KINDS)}, got {setting!r}"
            )
        matching = fnmatch.filter(modules.linears, name)
        if not matching:
            raise ValueError(f"no linear operation is called {name!r}")
        kinds |= dict.fromkeys(matching, kind)
    return kinds


def _candidate(left: str, right: str, modules: Modules, **options: Any) -> Candidate:
    for path in (left, right):
        if path in modules.unusable:
            raise ValueError(f"{path}: {modules.unusable[path]}")
        if path not in modules.linears and path not in modules.norms:
            raise ValueError(f"{path!r} is neither a linear operation nor a norm of the file")
    if not _opposite(left, right, modules):
        both = "norms" if left in modules.norms else "linear operations"
        raise ValueError(f"{left} and {right} are both {both}")
    if right in modules.norms:
        return Candidate(right, left, "after", given=True, **options)
    return Candidate(left, right, "before", given=True, **options)


def _opposite(left: str, right: str, modules: Modules) -> bool:
    return (left in modules.norms and right in modules.linears) or (
        left in modules.linears and right in modules.norms
    )


def _judge_repetition(pair: Candidate, found: Iterable[Candidate]) -> None:
    """A norm is after one operation or before some, and an operation has one norm on each side."""
    for other in found:
        if other.norm == pair.norm and ("after" in (other.direction, pair.direction)):
            raise ValueError(f"{pair.norm} has a pair already")
        if other.norm == pair.norm and other.eps != pair.eps:
            raise ValueError(f"{pair.norm} has another eps in its other pair")
        if (other.linear, other.direction) == (pair.linear, pair.direction):
            raise ValueError(f"{pair.linear} has a norm {pair.direction} it already")


def _options(words: Iterable[str]) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for word in words:
        name, _, value = word.partition("=")
        if name == "kind" and value in KINDS:
            options["kind"] = value
        elif name == "eps":
            options["eps"] = _eps(value)
        elif word == "padding=0":
            options["unpadded"] = True
        else:
            raise ValueError(f"{word!r}: {SYNTAX}")
    return options


def _eps(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"eps must be a finite number >= 0, got {text!r}")
    return value
