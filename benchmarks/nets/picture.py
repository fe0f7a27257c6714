"""The best peer's time over everybody's, as bars: above 1 is faster than all peers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from . import ratios
from .tables import COLUMNS, label

Row = dict[str, Any]
COLOURS = {
    "bncore": "tab:blue",
    "bncore, layer by layer": "tab:cyan",
    "PyTorch": "tab:orange",
    "torch.compile": "tab:red",
    "JAX": "tab:green",
    "ONNX Runtime": "tab:purple",
    "scikit-learn, without norms": "tab:gray",
}


def draw(results: dict[str, Any], out: Path) -> None:
    """A panel a number of threads, a group of bars a row; of each contender its best layout."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    cases = results["cases"]
    threads = sorted({row["threads"] for row in cases})
    groups = max(sum(row["threads"] == count for row in cases) for count in threads)
    size = (max(7.0, 0.9 * groups + 2), 3.4 * len(threads))
    figure, panels = pyplot.subplots(len(threads), 1, figsize=size, squeeze=False)
    for panel, count in zip(panels[:, 0], threads):
        bars(panel, [row for row in cases if row["threads"] == count])
        panel.set_title(f"{count} thread" + "s" * (count > 1))
    panels[0, 0].legend(fontsize="small", loc="upper left", bbox_to_anchor=(1.01, 1))
    figure.tight_layout()
    figure.savefig(out, dpi=100)


def bars(panel: Any, rows: list[Row]) -> None:
    titles = [title for title in COLUMNS if any(value(row, title) for row in rows)]
    width = 0.8 / max(1, len(titles))
    for number, title in enumerate(titles):
        places = [g + (number - (len(titles) - 1) / 2) * width for g in range(len(rows))]
        heights = [value(row, title) or 0.0 for row in rows]
        panel.bar(places, heights, width, color=COLOURS[title], label=title)
    panel.axhline(1, color="black", linewidth=0.8)
    panel.set_xticks(range(len(rows)), [label(row) for row in rows], rotation=20, fontsize="small")
    panel.set_ylabel("time of the best peer / time")


def value(row: Row, title: str) -> float | None:
    names = [n for n in COLUMNS[title] if n in row["median_ms"] and n not in row["wrong"]]
    best = ratios.fastest(row, names)
    return None if best is None else ratios.ratio(row, best)
