"""Pictures as data: what is drawn, over which axes, with one value per seed. How they are drawn is draw.py's.

Every picture has a title, axes with units, and all seeds, so that none can be drawn without them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Axis", "Dots", "HeatMaps", "Lines", "Picture", "Series"]

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Axis:
    """What an axis shows, in which unit ("" for pure numbers, None for names), on which scale, from where to where."""

    label: str
    unit: str | None = ""
    log: bool = False
    limits: tuple[float, float] | None = None

    def __str__(self) -> str:
        return self.label if self.unit is None else f"{self.label} [{self.unit or 'pure number'}]"


@dataclass(frozen=True)
class Series:
    """One contender: ``values`` (seeds, points) over ``x`` (points,). NaN leaves a gap."""

    label: str
    x: npt.ArrayLike
    values: npt.ArrayLike

    def arrays(self) -> tuple[Array, Array]:
        return np.asarray(self.x), np.atleast_2d(np.asarray(self.values, np.float64))


@dataclass(frozen=True)
class Picture:
    """What all pictures have."""

    title: str
    x: Axis
    y: Axis

    def seeds(self) -> int:
        """How many values there are behind every point."""
        raise NotImplementedError

    def describe(self) -> str:
        """What it shows, for those who cannot see it."""
        return f"{self.title}: {self.y} over {self.x}"

    def to_dict(self) -> dict[str, Any]:
        raise NotImplementedError

    def _head(self) -> dict[str, Any]:
        kind = type(self).__name__
        return {"kind": kind, "title": self.title, "x": str(self.x), "y": str(self.y)}


@dataclass(frozen=True)
class Lines(Picture):
    """Curves: the median over seeds in a band from the least to the largest.

    Attributes
    ----------
    marks : sequence of (value, text)
        Horizontal lines, such as a threshold.
    exact : bool
        Nothing is left to chance: there is no spread to show.
    """

    series: Sequence[Series] = ()
    marks: Sequence[tuple[float, str]] = ()
    exact: bool = False

    def seeds(self) -> int:
        return max(len(s.arrays()[1]) for s in self.series)

    def to_dict(self) -> dict[str, Any]:
        series = [
            {"label": s.label, "x": s.arrays()[0].tolist(), "values": s.arrays()[1].tolist()}
            for s in self.series
        ]
        return {**self._head(), "series": series, "marks": [list(mark) for mark in self.marks]}


@dataclass(frozen=True)
class Dots(Lines):
    """Contenders over named places (``x`` of the series are names): a dot per seed, a bar at their mean."""


@dataclass(frozen=True)
class HeatMaps(Picture):
    """Tables of coloured cells side by side, on one scale.

    Attributes
    ----------
    columns, rows : names of the places along x and y
    panels : sequence of (name, values of shape (seeds, rows, columns))
    value : Axis
        What the colours mean; its limits are those of the scale.
    """

    columns: Sequence[str] = ()
    rows: Sequence[str] = ()
    panels: Sequence[tuple[str, npt.ArrayLike]] = ()
    value: Axis = Axis("value")

    def seeds(self) -> int:
        return len(np.asarray(self.panels[0][1]))

    def describe(self) -> str:
        names = " and ".join(name for name, _ in self.panels)
        return f"{self.title}: {self.value} by {self.x} and {self.y}, {names}"

    def to_dict(self) -> dict[str, Any]:
        panels = [{"name": name, "values": np.asarray(v).tolist()} for name, v in self.panels]
        places = {"columns": list(self.columns), "rows": list(self.rows)}
        return {**self._head(), "value": str(self.value), **places, "panels": panels}
