"""Norms left by every tool, beside the least the algebra leaves, as bars; what is unusable in
another colour.
"""

from __future__ import annotations

from pathlib import Path

from . import figures
from .figures import Results


def draw(results: Results, out: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    tools = figures.tools(results)[::-1]
    norms, minimum, _ = figures.totals(results)
    left = [folded_norms(results, tool) for tool in tools]
    lost = [figures.summary(results, tool)["norms_left"] - n for tool, n in zip(tools, left)]
    figure, panel = pyplot.subplots(figsize=(9, 0.5 * len(tools) + 1.4))
    panel.barh(tools, left, color="tab:blue", label="left in usable models")
    panel.barh(tools, lost, left=left, color="tab:red", label="in wrong, invalid or missing models")
    panel.axvline(minimum, color="black", linewidth=0.8, label="the least the algebra leaves")
    panel.set(xlim=(0, norms), xlabel=f"batch norms left, of {norms}")
    panel.legend(fontsize="small", loc="lower right")
    figure.tight_layout()
    figure.savefig(out, dpi=100)


def folded_norms(results: Results, tool: str) -> int:
    """Norms left in the models one could go on with."""
    return sum(
        row["norms"]
        for model, row in figures.of_tool(results, tool)
        if not model["deep"] and row["status"] in figures.USABLE
    )
