"""What the rows of bench_fold.py add up to, tool by tool. Shared by the printed table, the README's
and the picture.
"""

from __future__ import annotations

from typing import Any

Row = dict[str, Any]
Results = dict[str, Any]
USABLE = ("right", "less exact", "other interface")
"""Statuses of models one could go on with; norms of all others count as not folded."""


def of_tool(results: Results, tool: str) -> list[tuple[Row, Row]]:
    """(model, row) of every model."""
    rows = {row["model"]: row for row in results["cases"] if row["tool"] == tool}
    return [(model, rows[name]) for name, model in results["models"].items() if name in rows]


def ordinary(results: Results) -> list[Row]:
    """Models that count in totals: three hundred layers of one kind would outweigh all others."""
    return [model for model in results["models"].values() if not model["deep"]]


def tools(results: Results) -> list[str]:
    return list(dict.fromkeys(row["tool"] for row in results["cases"]))


def norms_left(model: Row, row: Row) -> int:
    left: int = row["norms"] if row["status"] in USABLE else model["norms"]
    return left


def added(row: Row) -> int:
    extra: int = row["added"] if row["status"] in USABLE else 0
    return extra


def at_minimum(model: Row, row: Row) -> bool:
    """Right, and nothing left that the algebra could have removed: neither norms nor passes."""
    if row["status"] != "right" or row["norms"] > model["minimum"]:
        return False
    passes = row["norms"] + row["added"]
    return bool(passes <= model["minimum"] + model["minimum_added"])


def summary(results: Results, tool: str) -> Row:
    """Totals over the zoo."""
    pairs = [pair for pair in of_tool(results, tool) if not pair[0]["deep"]]
    deep = [row["ms"] for model, row in of_tool(results, tool) if model["deep"] and "ms" in row]
    statuses = [row["status"] for _, row in pairs]
    times = [row["ms"] for _, row in pairs if "ms" in row]
    ratios = [row["ratio"] for _, row in pairs if row["status"] in USABLE]
    return {
        "tool": tool,
        "norms_left": sum(norms_left(*pair) for pair in pairs),
        "added": sum(added(row) for _, row in pairs),
        "at_minimum": sum(at_minimum(*pair) for pair in pairs),
        **{status: statuses.count(status) for status in STATUSES},
        "worst_ratio": max(ratios, default=float("nan")),
        "ms": sum(times) / len(times) if times else float("nan"),
        "deep_ms": max(deep, default=float("nan")),
    }


STATUSES = ("wrong", "less exact", "invalid", "failed", "crashed", "other interface")


def totals(results: Results) -> tuple[int, int, int]:
    """Norms of the zoo, the minimum of norms left, and of element-wise nodes added."""
    return tuple(  # type: ignore[return-value]
        sum(model[key] for model in ordinary(results))
        for key in ("norms", "minimum", "minimum_added")
    )
