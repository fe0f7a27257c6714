"""Judges scalar arguments: each check returns the plain Python value or says what was expected and what came.

TypeError for a wrong type, ValueError for a wrong value: "name must be ..., got ...", the form of all of bncore's messages
about arguments (about files: "path: expected ..., found ..."). Not for arrays: those are judged in `functional`.
"""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

__all__ = [
    "boolean",
    "finite",
    "fraction",
    "int_tuple",
    "integer",
    "non_negative",
    "non_negative_int",
    "one_of",
    "positive",
    "positive_int",
    "real",
]


def integer(value: Any, name: str, minimum: int | None = None) -> int:
    """An integer of any kind (NumPy's too), as int, >= ``minimum`` if given. A bool or a float is a TypeError."""
    if type(value) is int:  # nearly always
        number = value
    else:
        try:
            if isinstance(value, bool):
                raise TypeError
            number = operator.index(value)
        except TypeError:
            raise TypeError(f"{name} must be an integer, got {_shown(value)}") from None
    if minimum is not None and number < minimum:
        raise ValueError(f"{name} must be an integer >= {minimum}, got {number}")
    return number


def positive_int(value: Any, name: str) -> int:
    """An integer >= 1."""
    return integer(value, name, 1)


def non_negative_int(value: Any, name: str) -> int:
    """An integer >= 0."""
    return integer(value, name, 0)


def finite(value: Any, name: str) -> float:
    """A real number that is neither infinite nor NaN, as float."""
    number = real(value, name)
    if not math.isfinite(number):
        raise ValueError(f"{name} must be a finite number, got {number}")
    return number


def non_negative(value: Any, name: str) -> float:
    """A finite number >= 0."""
    number = real(value, name)
    if not (math.isfinite(number) and number >= 0.0):
        raise ValueError(f"{name} must be a finite number >= 0, got {number}")
    return number


def positive(value: Any, name: str) -> float:
    """A finite number > 0."""
    number = real(value, name)
    if not (math.isfinite(number) and number > 0.0):
        raise ValueError(f"{name} must be a finite number > 0, got {number}")
    return number


def fraction(value: Any, name: str, *, below_one: bool = False) -> float:
    """A number in [0, 1]; with ``below_one`` in [0, 1)."""
    number = real(value, name)
    if not 0.0 <= number <= 1.0 or (below_one and number == 1.0):
        bounds = "[0, 1)" if below_one else "[0, 1]"
        raise ValueError(f"{name} must be a number in {bounds}, got {number}")
    return number


def boolean(value: Any, name: str) -> bool:
    """True or False and nothing that merely counts as one; NumPy's bool is taken."""
    if isinstance(value, bool):
        return value
    if type(value).__name__ in ("bool", "bool_") and type(value).__module__ == "numpy":
        return bool(value)
    raise TypeError(f"{name} must be True or False, got {_shown(value)}")


def one_of(value: Any, name: str, allowed: Iterable[Any]) -> Any:
    """One of a few values, equal and of the same type: ``True`` is not ``1``, NumPy's integers are integers."""
    choices = tuple(allowed)
    for choice in choices:
        if value is choice:
            return choice
    plain = value
    if not isinstance(value, (bool, str)):
        with suppress(TypeError):
            plain = operator.index(value)
    for choice in choices:
        if type(plain) is type(choice) and plain == choice:
            return choice
    listed = ", ".join(repr(choice) for choice in choices)
    same_kind = any(type(plain) is type(choice) for choice in choices)
    wrong: type[Exception] = ValueError if same_kind else TypeError
    raise wrong(f"{name} must be one of {listed}, got {_shown(value)}")


def int_tuple(value: Any, name: str, length: int, *, minimum: int = 0) -> tuple[int, ...]:
    """An integer repeated ``length`` times, or a sequence of exactly ``length`` integers, each >= ``minimum``."""
    several = isinstance(value, Sequence) and not isinstance(value, (str, bytes))
    if several or getattr(value, "ndim", 0) == 1:  # a NumPy array will do
        numbers_ = tuple(integer(item, name) for item in value)
        if len(numbers_) != length:
            raise ValueError(f"{name} must be one integer or {length} of them, got {numbers_}")
    else:
        numbers_ = (integer(value, name),) * length
    if any(number < minimum for number in numbers_):
        raise ValueError(f"{name} must be integers >= {minimum}, got {value!r}")
    return numbers_


def real(value: Any, name: str) -> float:
    """A real number of any kind, as float; infinities and NaN are taken."""
    # NumPy's scalars register as numbers.Real, its 0-d arrays do not: an array for a scalar is a mistake
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a number, got {_shown(value)}")
    return float(value)


def _shown(value: Any) -> str:
    text = repr(value)
    if len(text) > 60:
        text = text[:57] + "..."
    return f"{text} ({type(value).__name__})"
