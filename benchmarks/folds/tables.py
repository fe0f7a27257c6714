"""The table of folding: a row a tool, and behind a line to open a row a model. Losing cells too."""

from __future__ import annotations

import math
from typing import Any

from . import figures
from .figures import Results, Row

TITLES = (
    "tool",
    "norms left",
    "element-wise nodes added",
    "models at the minimum",
    "wrong",
    "less exact",
    "invalid",
    "refused or crashed",
    "interface changed",
    "largest error",
    "ms a model",
    "ms for 301 norms",
)


def where(results: Results) -> str:
    machine = results["machine"]
    names = {"bncore": machine["versions"]["bncore"], **results["versions"]}
    versions = ", ".join(f"{name} {version}" for name, version in names.items())
    return f"{machine['cpu']}, {machine['date']}; {versions}"


def render(results: Results) -> str:
    """Where and how it was measured, totals, all models."""
    norms, minimum, added = figures.totals(results)
    head = (
        f"{len(figures.ordinary(results))} models of `tests/zoo` with {norms} batch norms, of which the algebra must leave "
        f"{minimum}, at {added:+d} element-wise nodes (Add, Sub, Mul, Div). {where(results)}. "
        "Errors are those of ONNX Runtime without optimizations against float64, in multiples of the unfolded model's "
        "own (and 2 units in the last place); above 2 a model is less exact, above 20 wrong. "
        "Norms of models that are wrong, invalid or not there count as left. Last column: the slowest of "
        f"{len(results['models']) - len(figures.ordinary(results))} models of 300 layers, which are not in the totals."
    )
    opened = f"<details><summary>All {len(results['models'])} models</summary>"
    return "\n".join(
        [head, "", *summaries(results), "", opened, "", *details(results), "", "</details>"]
    )


def summaries(results: Results) -> list[str]:
    lines = [line(TITLES), "|---|" + "---:|" * (len(TITLES) - 1)]
    for tool in figures.tools(results):
        lines.append(line(cells(figures.summary(results, tool), len(figures.ordinary(results)))))
    lines += [
        line([tool, "not installed", *[""] * (len(TITLES) - 2)]) for tool in results["missing"]
    ]
    return lines


def cells(total: Row, models: int) -> list[str]:
    refused = total["failed"] + total["crashed"]
    counted = (total["wrong"], total["less exact"], total["invalid"], refused)
    return [
        total["tool"],
        str(total["norms_left"]),
        f"{total['added']:+d}",
        f"{total['at_minimum']} of {models}",
        *(str(count) if count else "" for count in (*counted, total["other interface"])),
        number(total["worst_ratio"], ".2g"),
        number(total["ms"], ".1f"),
        number(total["deep_ms"], ".0f"),
    ]


def number(value: float, digits: str) -> str:
    return "" if math.isnan(value) else format(value, digits)


def details(results: Results) -> list[str]:
    """Norms left, or what went wrong."""
    names = figures.tools(results)
    lines = [
        line(["model", "norms", "minimum", *names]),
        "|---|---:|---:|" + "---:|" * len(names),
    ]
    columns = [{m["name"]: (m, row) for m, row in figures.of_tool(results, t)} for t in names]
    for name, model in results["models"].items():
        minimum = counted(model["minimum"], model["minimum_added"])
        shown = [cell(*column[name]) if name in column else "" for column in columns]
        lines.append(line([name, str(model["norms"]), minimum, *shown]))
    return lines


def cell(model: Row, row: Row) -> str:
    """The norms left and nodes added, bold where fewer are possible."""
    if "norms" not in row or row["status"] == "wrong":
        return f"**{row['status']}**"
    text = counted(row["norms"], row["added"])
    text = text if row["status"] == "right" else f"{text}, {row['status']}"
    return text if figures.at_minimum(model, row) else f"**{text}**"


def counted(norms: int, added: int) -> str:
    return f"{norms} ({added:+d})" if added else str(norms)


def line(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"
