"""The README's tables of bench_norm.py's results, and benchmarks/README.md with every row."""

from __future__ import annotations

from typing import Any

from .figures import Row, best_peer, fraction, ratio

SHOWN = (
    "bncore user",
    "bncore kernel",
    "torch user",
    "torch aten",
    "torch warm",
    "torch compile",
    "onednn plain",
    "onednn 16c",
    "jax",
    "numpy",
)


def every_row(rows: list[Row]) -> list[str]:
    """The lines of a table with all times in µs; bold where a peer is faster."""
    head = ["operation", "layout", "shape", "type", "threads", *SHOWN]
    head += ["kernel ×", "user ×", "of the roof"]
    lines = ["| " + " | ".join(head) + " |", "|---" * 4 + "|---:" * (len(head) - 4) + "|"]
    return lines + [_line(row) for row in rows]


def _line(row: Row) -> str:
    cells = [row["op"], row["layout"], "×".join(map(str, row["shape"])), row["dtype"]]
    cells.append(str(row["threads"]))
    cells += ["wrong" if n in row["wrong"] else time(row["median_us"].get(n)) for n in SHOWN]
    cells += [_times(row, "kernel"), _times(row, "user")]
    part = fraction(row)
    cells.append("" if part is None else f"{part:.2f}")
    return "| " + " | ".join(cells) + " |"


def time(us: float | None) -> str:
    return "" if us is None else f"{us:.0f}" if us >= 100 else f"{us:.1f}"


def _times(row: Row, level: str) -> str:
    value, best = ratio(row, level), best_peer(row, level)
    if value is None or best is None:
        return ""
    text = f"{value:.2f}" if value >= 1 else f"**{value:.2f}**"
    return f"{text} ({best[0]})"


def readme(results: dict[str, Any], where: str) -> str:
    """What stands in the README."""
    return "\n".join([where, "", *every_row(results["cases"])])
