"""A diagnosis as a picture: one row per norm, and the scores beside them.

Every series has a marker or a hatch of its own, so that nothing depends on colour alone; the
colours are Okabe and Ito's, which most colour-blind people can tell apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ...support.extras import require
from .limits import NOISY
from .words import TITLES, listed, named

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .diagnosis import Diagnosis

__all__ = ["draw"]

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "0.45"
HATCHES = {"running": "//", "batch": ".."}
COLOURS = {"running": ORANGE, "batch": GREEN}


def draw(diagnosis: Diagnosis) -> Figure:
    """The figure; its height grows with the number of norms.

    Raises
    ------
    ImportError
        Without matplotlib, naming the extra to install.
    ValueError
        If there is no norm to show.
    """
    if not diagnosis.norms:
        raise ValueError("plot: this diagnosis has no norm with running statistics")
    require("matplotlib", "plot")
    from matplotlib.figure import Figure

    rows = len(diagnosis.norms)
    figure = Figure(figsize=(13, max(3.6, 2.0 + 0.32 * rows)))
    figure.set_layout_engine("constrained", wspace=0.05)
    figure.suptitle(_headline(diagnosis), fontsize=11, x=0.01, ha="left")
    panels = figure.subplots(1, 4, width_ratios=(1, 1, 1, 0.9))
    _distances(panels[0], diagnosis)
    _variances(panels[1], diagnosis)
    _noise(panels[2], diagnosis)
    _scores(panels[3], diagnosis)
    labels = [named(norm.path) for norm in diagnosis.norms]
    for panel in panels[:3]:
        panel.set_ylim(rows - 0.4, -0.6)
        panel.set_yticks(range(rows), labels if panel is panels[0] else [""] * rows)
        panel.grid(axis="y", color="0.92")
        panel.set_axisbelow(True)
    panels[0].set_ylabel("norm")
    for panel in panels:
        panel.spines[["top", "right"]].set_visible(False)
        panel.title.set_fontsize(10.5)
    legends: list[tuple[Any, Any]] = [
        (panels[0], "outside lower left"),
        (panels[2], "outside lower right"),
    ]
    for panel, place in legends:
        handles, names = panel.get_legend_handles_labels()
        figure.legend(handles, names, loc=place, ncols=len(names), frameon=False, fontsize=9)
    return figure


def _headline(diagnosis: Diagnosis) -> str:
    """The gravest finding in a line; the report says it whole."""
    grave = [finding for finding in diagnosis.findings if finding.severity != "note"]
    if not grave:
        return "Nothing to do"
    first = grave[0]
    more = f"; {len(grave) - 1} more" if len(grave) > 1 else ""
    norms = (
        f"norm {listed(first.norms)}" if len(first.norms) == 1 else f"norms {listed(first.norms)}"
    )
    return f"{TITLES[first.kind]} ({norms}). Repairs: {', '.join(first.repairs)}{more}"


def _spans(
    panel: Any, row: float, low: float, middle: float, high: float, least: float, **style: Any
) -> None:
    """A thin line over the range, a marker at the median; words where there is nothing to draw."""
    if not (np.isfinite([low, middle, high]).all() and low > least):
        note = {"transform": panel.get_yaxis_transform(), "va": "center", "fontsize": 8}
        panel.text(0.02, row, "not finite or negative", color=style["color"], **note)
        return
    colour = style["color"]
    panel.plot([low, high], [row, row], color=colour, linewidth=1.4, linestyle=style["line"])
    panel.plot([low, high], [row, row], "|", color=colour, markersize=6, clip_on=False)
    panel.plot(
        middle, row, style["marker"], color=colour, markersize=6, fillstyle=style["fill"], clip_on=False
    )  # fmt: skip


_BATCH = {"color": BLUE, "marker": "o", "fill": "none", "line": ":"}
_POPULATION = {"color": ORANGE, "marker": "D", "fill": "full", "line": "-"}


def _both(diagnosis: Diagnosis) -> list[tuple[str, str, float, dict[str, Any]]]:
    """(attribute of a norm's record, what to call it, place beside the row, style)"""
    return [
        ("from_batch", "from batch average", -0.14, _BATCH),
        ("from_population", f"from population ({diagnosis.method})", 0.14, _POPULATION),
    ]


def _distances(panel: Any, diagnosis: Diagnosis) -> None:
    for which, name, offset, style in _both(diagnosis):
        for row, norm in enumerate(diagnosis.norms):
            distance = getattr(norm, which).to_dict()
            _spans(
                panel,
                row + offset,
                0.0,
                distance["mean_median"],
                distance["mean_max"],
                -1.0,
                **style,
            )
        _named(panel, name, style)
    panel.set_xlim(0, max(panel.get_xlim()[1], 0.1))  # a healthy net's rounding errors stay small
    panel.set_title("Distance of running means")
    panel.set_xlabel("standard deviations: median, largest")


def _variances(panel: Any, diagnosis: Diagnosis) -> None:
    for which, name, offset, style in _both(diagnosis):
        for row, norm in enumerate(diagnosis.norms):
            distance = getattr(norm, which).to_dict()
            low, middle, high = (distance[f"variance_{part}"] for part in ("min", "median", "max"))
            _spans(panel, row + offset, low, middle, high, 0.0, **style)
        _named(panel, name, style)
    panel.axvline(1, color="black", linewidth=0.8)
    panel.set_xscale("log")
    _plain_ticks(panel)
    panel.set_title("Ratio of running variances")
    panel.set_xlabel("running / other: least, median, largest")


def _noise(panel: Any, diagnosis: Diagnosis) -> None:
    series: list[tuple[str, str, str, str, str]] = [
        ("mean", "measured", "s", BLUE, "full"),
        ("mean_if_random", "if batches were random", "x", "black", "full"),
        ("mean_if_independent", "if all values were independent", "o", GREY, "none"),
    ]
    for key, name, marker, colour, fill in series:
        points = [
            (value, row)
            for row, norm in enumerate(diagnosis.norms)
            if norm.noise is not None and (value := norm.noise.to_dict()[key]) is not None
        ]
        if points:
            x, y = zip(*points)
            panel.plot(x, y, marker, color=colour, fillstyle=fill, markersize=6, label=name)
    panel.axvline(NOISY, color="black", linewidth=0.8, linestyle="--", label="more is much")
    panel.set_xlim(left=0)
    size = diagnosis.samples / diagnosis.batches
    panel.set_title(f"Scatter of batch means, batches of {size:.0f}")
    panel.set_xlabel("standard deviations")


def _scores(panel: Any, diagnosis: Diagnosis) -> None:
    """Accuracy where it is known, else loss, else how far the outputs move."""
    first = diagnosis.scores[0]
    if first.accuracy is not None:
        values = [100 * (score.accuracy or 0.0) for score in diagnosis.scores]
        title, unit = f"Accuracy on {diagnosis.scored_samples} samples", "%"
    elif first.loss is not None:
        values = [score.loss or 0.0 for score in diagnosis.scores]
        title, unit = f"Loss on {diagnosis.scored_samples} samples", ""
    else:
        values = [100 * score.gap for score in diagnosis.scores]
        title, unit = "Outputs move by", "% of their spread"
    finite = [value if np.isfinite(value) else 0.0 for value in values]
    kinds = [score.kind for score in diagnosis.scores]
    bars = panel.barh(
        range(len(kinds)),
        finite,
        height=0.62,
        color=[COLOURS.get(kind, "0.8") for kind in kinds],
        edgecolor="black",
        linewidth=0.7,
    )
    for bar, kind in zip(bars, kinds, strict=True):
        bar.set_hatch(HATCHES.get(kind, ""))
    panel.bar_label(bars, [f"{value:.3g}" for value in values], padding=3, fontsize=9)
    panel.set_yticks(range(len(kinds)), kinds)
    panel.set_ylim(max(len(kinds), 0.75 * len(diagnosis.norms)) - 0.4, -0.6)
    panel.set_xlim(0, max(*finite, 1e-12) * 1.18)
    panel.set_title(title)
    panel.set_xlabel(unit)


def _named(panel: Any, name: str, style: dict[str, Any]) -> None:
    panel.plot(
        [],
        [],
        color=style["color"],
        marker=style["marker"],
        fillstyle=style["fill"],
        linestyle=style["line"],
        label=name,
    )


def _plain_ticks(panel: Any) -> None:
    """0.5, 1, 2 rather than powers of ten where the range is narrow."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

    low, high = panel.get_xlim()
    if high / low < 200:
        low, high = min(low, 0.7), max(high, 1.4)
        panel.set_xlim(low, high)
        steps = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 0.7, 1, 1.4, 2, 5, 10, 20, 50, 100)
        wide = high / low > 8
        shown = [s for s in steps if low <= s <= high and not (wide and s in (0.7, 1.4))]
        panel.xaxis.set_major_locator(FixedLocator(shown))
        panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_minor_formatter(NullFormatter())
