"""Pictures drawn with matplotlib, all in one style.

Series differ in colour, marker and line, so that nothing depends on colour alone; the colours are Okabe and Ito's,
which most colour-blind people can tell apart, and differ in lightness, for print. Heat maps have their numbers in them.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..support.extras import require
from .pictures import Axis, Dots, HeatMaps, Lines, Picture, Series

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw", "save", "spread", "svg"]

STYLES = (
    ("#0072B2", "o", "-"),
    ("#D55E00", "s", "--"),
    ("#009E73", "^", "-."),
    ("#CC79A7", "D", ":"),
    ("#000000", "v", "-"),
    ("#56B4E9", "P", "--"),
    ("#E69F00", "X", "-."),
)
MOST_MARKERS = 16
LONGEST = 38  # characters that fit along an upright axis
# Text as shapes: looks alike everywhere. One salt: the same picture is the same file
PLAIN: dict[Any, Any] = {"svg.fonttype": "path", "svg.hashsalt": "bncore", "font.size": 9.5}


def draw(picture: Picture) -> Figure:
    """The figure of a picture; needs the extra ``plot``."""
    require("matplotlib", "plot")
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(PLAIN):
        panels = len(picture.panels) if isinstance(picture, HeatMaps) else 1
        # narrow, with panels one below the other: the text stays readable on a phone
        figure = Figure(figsize=(5.4, 0.8 + 3.0 * panels), layout="constrained")
        axes = figure.subplots(panels, 1, squeeze=False, sharex=True)[:, 0]
        if isinstance(picture, HeatMaps):
            _heat_maps(figure, axes, picture)
        elif isinstance(picture, Dots):
            _dots(axes[0], picture)
        elif isinstance(picture, Lines):
            _lines(axes[0], picture)
        figure.suptitle(picture.title, fontsize=11, x=0.01, ha="left")
        figure.supxlabel(spread(picture), fontsize=8, color="0.35", x=0.99, ha="right")
    return figure


def svg(picture: Picture) -> str:
    """The picture as SVG text."""
    from matplotlib import rc_context

    figure, out = draw(picture), io.BytesIO()
    with rc_context(PLAIN):
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    return out.getvalue().decode()


def save(picture: Picture, path: str | Path) -> None:
    """The picture in a file; the suffix chooses the format."""
    draw(picture).savefig(path, dpi=160)


def spread(picture: Picture) -> str:
    """How the picture shows its seeds."""
    count = picture.seeds()
    if isinstance(picture, Lines) and picture.exact:
        return "computed, nothing left to chance"
    if count == 1:
        return "one seed"
    if isinstance(picture, HeatMaps):
        return f"mean of {count} seeds, below it their range"
    if isinstance(picture, Dots):
        return f"a dot for each of {count} seeds, a bar at their mean"
    return f"median of {count} seeds in the band from least to largest"


def _styled(picture: Lines) -> list[tuple[tuple[str, str, str], Series]]:
    """Every series with a look of its own; there are no more than can be told apart."""
    if len(picture.series) > len(STYLES):
        raise ValueError(f"{picture.title}: {len(picture.series)} series, {len(STYLES)} at most")
    return list(zip(STYLES, picture.series))


def _lines(axes: Any, picture: Lines) -> None:
    for (colour, marker, line), series in _styled(picture):
        x, values = series.arrays()
        values = _near(values, picture.y)
        with warnings.catch_warnings():  # a point may have no value: a gap
            warnings.simplefilter("ignore", RuntimeWarning)
            middle, low, high = (f(values, axis=0) for f in (np.nanmedian, np.nanmin, np.nanmax))
        every = max(1, len(x) // MOST_MARKERS)
        axes.plot(
            x, middle, line, color=colour, marker=marker, markersize=4.5, markevery=every,
            linewidth=1.5, label=series.label,
        )  # fmt: skip
        if len(values) > 1:
            axes.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0)
    _frame(axes, picture)


def _near(values: Any, axis: Axis) -> Any:
    """What lies far outside the picture, infinite values too, a little outside it: so that a line leaves it."""
    if axis.limits is None:
        return values
    low, high = axis.limits
    room = high - low
    return (
        np.clip(values, low / 10, high * 10)
        if axis.log
        else np.clip(values, low - room, high + room)
    )


def _dots(axes: Any, picture: Dots) -> None:
    places = [str(place) for place in picture.series[0].arrays()[0]]
    count = len(picture.series)
    for i, ((colour, marker, _), series) in enumerate(_styled(picture)):
        values = series.arrays()[1]
        x = np.arange(len(places)) + (i - (count - 1) / 2) * 0.8 / count
        axes.plot(
            np.tile(x, len(values)), values.ravel(), marker, color=colour, fillstyle="none",
            markersize=6, label=series.label,
        )  # fmt: skip
        means = values.mean(axis=0)
        half = 0.32 / count
        axes.hlines(means, x - half, x + half, color=colour, linewidth=2.2)
    axes.set_xticks(range(len(places)), places)
    axes.set_xlim(-0.5, len(places) - 0.5)
    _frame(axes, picture)


def _frame(axes: Any, picture: Lines) -> None:
    """Axes, marks, grid and legend."""
    for value, text in picture.marks:
        axes.axhline(value, color="0.4", linewidth=0.9, linestyle=(0, (4, 3)))
        axes.annotate(
            text, (1, value), xycoords=("axes fraction", "data"), xytext=(-2, 2),
            textcoords="offset points", ha="right", fontsize=8, color="0.3",
        )  # fmt: skip
    axes.set_xlabel(str(picture.x))
    axes.set_ylabel(_upright(picture.y))
    drawn = axes.dataLim.minpos  # infinite where there is nothing above 0, which has no logarithm
    for which, axis, least in (("x", picture.x, drawn[0]), ("y", picture.y, drawn[1])):
        if axis.log and np.isfinite(least):
            getattr(axes, f"set_{which}scale")("log")
        if axis.limits is not None:
            getattr(axes, f"set_{which}lim")(*axis.limits)
    if picture.x.log:
        _ticks_at_points(axes, picture)
    if axes.get_yscale() == "log":
        _plain_ticks(axes.yaxis)
    axes.grid(color="0.92")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(framealpha=0.8, edgecolor="none", fontsize=8.5)


def _upright(axis: Axis) -> str:
    """The axis' text, its unit on a line of its own where one is too short for both."""
    text = str(axis)
    return text if len(text) <= LONGEST else text.replace(" [", "\n[")


def _ticks_at_points(axes: Any, picture: Lines) -> None:
    """A few batch sizes or rates on a logarithmic axis are named themselves, not by powers of ten."""
    from matplotlib.ticker import NullLocator

    points = sorted({float(x) for series in picture.series for x in series.arrays()[0]})
    if len(points) <= 10:
        axes.set_xticks(points, [f"{x:g}" for x in points])
        axes.xaxis.set_minor_locator(NullLocator())


def _plain_ticks(axis: Any) -> None:
    """0.1, 0.2, 0.5, 1 rather than powers of ten where the range is narrow."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    low, high = axis.get_view_interval()
    if high < 200 * low:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_locator(NullLocator())


def _heat_maps(figure: Figure, panels: Any, picture: HeatMaps) -> None:
    low, high = _scale(picture)
    for axes, (name, values) in zip(panels, picture.panels):
        cells = np.asarray(values, np.float64)
        mean = cells.mean(axis=0)
        image = axes.imshow(
            mean, cmap="cividis", vmin=low, vmax=high, aspect="auto", origin="lower"
        )
        axes.set_title(name, fontsize=10)
        axes.set_xticks(range(len(picture.columns)), picture.columns)
        axes.set_yticks(range(len(picture.rows)), picture.rows)
        axes.set_ylabel(_upright(picture.y))
        for row, column in np.ndindex(mean.shape):
            dark = mean[row, column] < (low + high) / 2
            axes.text(
                column, row, _cell(cells[:, row, column]), ha="center", va="center", fontsize=8,
                linespacing=1.3, color="white" if dark else "black",
            )  # fmt: skip
    panels[-1].set_xlabel(str(picture.x))
    figure.colorbar(
        image, ax=list(panels), label=str(picture.value), fraction=0.05, pad=0.02, aspect=40
    )


def _scale(picture: HeatMaps) -> tuple[float, float]:
    limits: Axis = picture.value
    if limits.limits is not None:
        return limits.limits
    every = [np.asarray(values).mean(axis=0) for _, values in picture.panels]
    return float(np.min(every)), float(np.max(every))


def _cell(values: Any) -> str:
    if len(values) == 1:
        return f"{values[0]:.0f}"
    return f"{values.mean():.0f}\n{values.min():.0f}–{values.max():.0f}"
