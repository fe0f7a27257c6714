"""What an experiment finds: criteria with their figures, tables, pictures, a conclusion. Plain values, no training."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from .pictures import Picture
from .text import text

__all__ = [
    "Criterion",
    "Outcome",
    "Report",
    "Table",
    "at_least",
    "at_most",
    "equal",
    "span",
]

_RELATIONS = {
    "≤": lambda figure, bound: figure <= bound,
    "≥": lambda figure, bound: figure >= bound,
    "=": lambda figure, bound: figure == bound,
}


@dataclass(frozen=True)
class Criterion:
    """Something an experiment claims: a figure and the bound it must keep.

    Attributes
    ----------
    text : str
        What the figure is; where there are several seeds, the worst of them or their mean, as it says.
    figure : float
        Measured. NaN (nothing was measured) fails.
    relation : one of "≤", "≥", "="
    bound : float
    unit : str
        Of figure and bound, empty for pure numbers.
    """

    text: str
    figure: float
    relation: str
    bound: float
    unit: str = ""

    @property
    def passed(self) -> bool:
        return bool(_RELATIONS[self.relation](self.figure, self.bound))

    def __str__(self) -> str:
        unit = f" {self.unit}" if self.unit else ""
        return f"{self.text}: {number(self.figure)} {self.relation} {number(self.bound)}{unit}"

    def to_dict(self) -> dict[str, Any]:
        names = ("text", "figure", "relation", "bound", "unit", "passed")
        return {name: getattr(self, name) for name in names}


def at_most(text: str, figure: float, bound: float, unit: str = "") -> Criterion:
    """The figure must not be above the bound."""
    return Criterion(text, float(figure), "≤", float(bound), unit)


def at_least(text: str, figure: float, bound: float, unit: str = "") -> Criterion:
    """The figure must not be below the bound."""
    return Criterion(text, float(figure), "≥", float(bound), unit)


def equal(text: str, figure: float, bound: float, unit: str = "") -> Criterion:
    """The figure must be the bound, to the bit."""
    return Criterion(text, float(figure), "=", float(bound), unit)


@dataclass(frozen=True)
class Table:
    """Rows of cells under named columns. Floats are shown with three or four digits."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]

    def cells(self) -> list[list[str]]:
        """The rows as text; in a column with fractions, whole floats have decimals too."""
        columns = [_column(cells) for cells in zip(*self.rows)]
        return [list(row) for row in zip(*columns)]

    def to_dict(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "columns": list(self.columns),
            "rows": [list(row) for row in self.rows],
        }


def number(value: Any, decimals: bool = False) -> str:
    """A number as people write it; ``-`` for None.

    Whole numbers are whole, others have two decimals from 1 to 1000, else three digits. With ``decimals`` whole floats
    have them too.
    """
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else "∞" if value > 0 else "-∞"
    whole = value == int(value) and abs(value) < 1e6
    if whole and (value == 0 or not (decimals and isinstance(value, float))):
        return str(int(value))
    return f"{value:.2f}" if 1 <= abs(value) < 1000 else f"{value:.3g}"


def _column(cells: Sequence[Any]) -> list[str]:
    floats = [cell for cell in cells if isinstance(cell, float) and math.isfinite(cell)]
    decimals = any(value != int(value) for value in floats)
    return [cell if isinstance(cell, str) else number(cell, decimals) for cell in cells]


def span(values: Iterable[float]) -> str:
    """From the least to the largest, of whole numbers; an infinite one is "never"."""
    found = sorted(values)
    low, high = (
        "never" if value == math.inf else f"{value:.0f}" for value in (found[0], found[-1])
    )
    return low if low == high else f"{low} to {high}"


@dataclass(frozen=True)
class Outcome:
    """What an experiment's ``run`` returns.

    Attributes
    ----------
    conclusion : str
        One or a few sentences, with the numbers in them.
    remarks : sequence of str
        What a reader should know beside it: an exception, a limit, why an outcome differs from what others saw.
    """

    conclusion: str
    criteria: Sequence[Criterion]
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    remarks: Sequence[str] = ()


@dataclass(frozen=True)
class Report:
    """An outcome with what belongs to it: the question, the setting, where and how long it ran.

    Attributes
    ----------
    environment : dict
        Version, backend, instruction set and number of threads.
    """

    name: str
    question: str
    setting: str
    outcome: Outcome
    seeds: tuple[int, ...]
    quick: bool
    seconds: float
    environment: dict[str, Any] = field(default_factory=dict)

    @property
    def conditions(self) -> str:
        """The setting, with this run's seeds and time."""
        seeds = ", ".join(map(str, self.seeds))
        return f"Setting: {self.setting} Seeds {seeds}; {self.seconds:.1f} s."

    @property
    def passed(self) -> bool:
        """Whether every criterion was met."""
        return all(criterion.passed for criterion in self.outcome.criteria)

    def __str__(self) -> str:
        return text(self)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, pictures as the numbers behind them; what is not finite stays so, though JSON has no word for it."""
        return {
            "name": self.name,
            "question": self.question,
            "setting": self.setting,
            "passed": self.passed,
            "criteria": [criterion.to_dict() for criterion in self.outcome.criteria],
            "conclusion": self.outcome.conclusion,
            "remarks": list(self.outcome.remarks),
            "tables": [table.to_dict() for table in self.outcome.tables],
            "pictures": [picture.to_dict() for picture in self.outcome.pictures],
            "seeds": list(self.seeds),
            "quick": self.quick,
            "seconds": self.seconds,
            **self.environment,
        }
