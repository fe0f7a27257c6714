"""How far two models' outputs are apart, and what distance is rounding. Arrays only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .store import BFLOAT16, DOUBLE, FLOAT, FLOAT16

__all__ = ["TOLERANCES", "OutputError", "Tolerance", "compare", "flatten"]


class Tolerance(NamedTuple):
    """Outputs agree where ``|folded - original| <= atol + rtol·max|original|``, the maximum over one output."""

    rtol: float
    atol: float


TOLERANCES = {
    DOUBLE: Tolerance(1e-10, 1e-12),
    FLOAT: Tolerance(1e-4, 1e-6),
    FLOAT16: Tolerance(2e-2, 1e-3),
    BFLOAT16: Tolerance(1e-1, 1e-2),
}
"""By the coarsest floating type of a model.

Each operation rounds by half an eps, and errors of a net of some hundred layers, each a sum over some thousand products,
grow to some hundred eps: measured on unfolded nets against float64 they reach 1e-5 in float32 (eps 1.2e-7). The defaults are
ten times that, and the same multiple of eps in float64; halves, whose eps is 1e-3 and 8e-3, would be allowed everything
that way and get some 20 eps. A wrong fold changes outputs by percents or more.
"""
UNEQUAL_SHARE = 1e-3
"""Of the entries of an integer output (indices of the largest score, say) so many may differ: ties fall either way."""


@dataclass
class OutputError:
    """One output over all inputs tried.

    Attributes
    ----------
    max_abs, max_rel : float
        Largest ``|folded - original|``; the largest share of max|original| it came to on one input.
    largest : float
        Largest finite ``|original|``: if it is 0, equality proves nothing.
    original, folded : float or None
        Distance of each from the float64 run, None where there is none.
    trouble : str
        Why it does not agree; empty if it does.
    remark : str
        Why it agrees although it is beyond the tolerance.
    stray : bool
        The float64 run is far from both, so it is itself wrong.
    """

    name: str
    max_abs: float = 0.0
    max_rel: float = 0.0
    largest: float = 0.0
    original: float | None = None
    folded: float | None = None
    trouble: str = ""
    remark: str = ""
    stray: bool = False

    def add(self, other: OutputError) -> None:
        """Take over what is larger."""
        self.max_abs = _largest(self.max_abs, other.max_abs)
        self.max_rel = _largest(self.max_rel, other.max_rel)
        self.largest = max(self.largest, other.largest)
        if other.original is not None and other.folded is not None:
            self.original = _largest(self.original or 0.0, other.original)
            self.folded = _largest(self.folded or 0.0, other.folded)
        self.trouble = self.trouble or other.trouble
        self.remark = self.remark or other.remark
        self.stray = self.stray or other.stray

    def to_dict(self) -> dict[str, Any]:
        """Python numbers and strings only, ready for JSON."""
        return {key: value for key, value in vars(self).items() if key != "stray"}

    def forget_float64(self) -> None:
        self.original = self.folded = None


def compare(
    name: str,
    original: Any,
    folded: Any,
    exact: Any,
    tolerance: Tolerance,
    *,
    trusted: bool = False,
) -> OutputError:
    """One output of one run; ``exact`` is the float64 run's, or None.

    Beyond the tolerance an output still agrees if the folded model is within the tolerance of the original's float64 run:
    then it is the original that rounds more. If that run is ``trusted``, being of the same runtime, it is also enough if the
    folded model is at most twice as far from it as the original.
    """
    found = OutputError(name)
    parts, others = list(flatten(original)), list(flatten(folded))
    exacts = [None] * len(parts) if exact is None else list(flatten(exact))
    if len(parts) != len(others):
        found.trouble = f"{len(parts)} values before, {len(others)} after"
        return found
    if len(exacts) != len(parts):
        exacts = [None] * len(parts)
    for a, b, e in zip(parts, others, exacts):
        found.add(_compare_arrays(name, np.asarray(a), np.asarray(b), e, tolerance, trusted))
    return found


def flatten(value: Any) -> Iterator[Any]:
    """The arrays of an output, which may be a sequence or maps of names to numbers."""
    if isinstance(value, dict):
        for key in value:
            yield from flatten(value[key])
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from flatten(item)
    elif value is not None:
        yield value


def _compare_arrays(
    name: str, a: np.ndarray, b: np.ndarray, exact: Any, tolerance: Tolerance, trusted: bool
) -> OutputError:
    if a.shape != b.shape or a.dtype != b.dtype:
        return OutputError(name, trouble=f"{a.dtype} {a.shape} before, {b.dtype} {b.shape} after")
    if a.dtype.kind not in "fV":
        unequal = int(np.count_nonzero(a != b))
        trouble = (
            f"{unequal} of {a.size} entries differ" if unequal > UNEQUAL_SHARE * a.size else ""
        )
        return OutputError(name, largest=float(a.size > 0), trouble=trouble)
    a, b = a.astype(np.float64), b.astype(np.float64)
    finite = np.isfinite(a)
    if not np.array_equal(finite, np.isfinite(b)) or not np.array_equal(
        a[~finite], b[~finite], equal_nan=True
    ):
        return OutputError(
            name, float("nan"), float("nan"), trouble="NaN or infinity in different places"
        )
    a, b = a[finite], b[finite]
    scale = float(np.abs(a).max(initial=0.0))
    distance = _distance(a, b)
    found = OutputError(name, distance, distance / scale if scale else distance, scale)
    limit = tolerance.atol + tolerance.rtol * scale
    near = confirmed = False
    if exact is not None and np.shape(exact) == finite.shape:
        true = np.asarray(exact, np.float64)[finite]
        found.original, found.folded = _distance(a, true), _distance(b, true)
        near = found.folded <= limit
        confirmed = near or (trusted and found.folded <= 2 * found.original)
        found.stray = not (trusted or near or found.original <= limit)
    if not distance <= limit:
        text = f"differs by {distance:.3g} ({found.max_rel:.3g} of the largest value), allowed is {limit:.3g}"
        if confirmed:
            who = "it is the original that is far" if near else "both are as far"
            found.remark = f"{text}; but {who} from the float64 run"
        else:
            found.trouble = text
    return found


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).max(initial=0.0))


def _largest(a: float, b: float) -> float:
    return a if a != a or a >= b else b
