"""The tables of bench_norm.py's results: summed up for the README, every row and every goal for benchmarks/README.md."""

from __future__ import annotations

from typing import Any

from . import goals
from .cases import Case
from .figures import Row, best_peer, case_of, fraction, kind, lost, mean, ours, ratio

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
LEGEND = (
    "Medians, every library in a process of its own, all taking turns; every result checked against float64 first. "
    "*Kernel*: into arrays made before (PyTorch: its operators, also on a heap that keeps what was freed; oneDNN: a primitive made before, "
    "plain and in blocks of 16 channels). *User*: each library's ordinary call. *Roof*: copying or adding the same arrays, measured in the same turns."
)


def readme(results: dict[str, Any], where: str) -> str:
    """What stands in the README: sums by class."""
    rows = results["cases"]
    lines = [f"{where}. {LEGEND}", "", overall(rows), "", *classes(rows)]
    return "\n".join(
        [
            *lines,
            "",
            "All rows, and what was aimed at: [benchmarks/README.md](benchmarks/README.md).",
        ]
    )


def full(results: dict[str, Any], where: str) -> str:
    """What stands in benchmarks/README.md: goals, rows a peer wins, all rows."""
    rows = results["cases"]
    sections = [
        [f"{where}. {LEGEND}"],
        ["### Goals", "", *goal_table(results)],
        ["### Where a peer is faster", "", *losses(rows)],
        [
            f"<details><summary>All {len(rows)} rows, µs</summary>",
            "",
            *every_row(rows),
            "",
            "</details>",
        ],
    ]
    return "\n\n".join("\n".join(section) for section in sections)


def overall(rows: list[Row]) -> str:
    """Geometric means over all rows in one sentence."""
    torch, best = (measured for _, measured, _ in goals.averages(rows))
    kernel = mean(value for row in rows if (value := ratio(row, "kernel")))
    slower = sum(lost(row, "kernel") or lost(row, "user") for row in rows)
    return (
        f"Geometric means over {len(rows)} rows, ordinary calls: PyTorch takes {torch:.1f} times as long as bncore, the best peer of each row "
        f"{best:.1f} times; into arrays made before the best peer takes {kernel:.1f} times as long. A peer is faster in {slower} rows."
    )


def classes(rows: list[Row]) -> list[str]:
    """One line a class and number of threads: geometric mean and least of each ratio."""
    lines = [
        "| | threads | rows | best peer, kernel | best peer, user | PyTorch, user | of the roof | a peer is faster in |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for threads in sorted({row["threads"] for row in rows}, reverse=True):
        groups: dict[str, list[Row]] = {}
        for row in rows:
            if row["threads"] == threads:
                groups.setdefault(kind(case_of(row)), []).append(row)
        for name, members in groups.items():
            cells = [
                times([ratio(row, "kernel") for row in members]),
                times([ratio(row, "user") for row in members]),
                times([ratio(row, "user", ("torch user",)) for row in members]),
                times([fraction(row) for row in members]),
                str(sum(lost(row, "kernel") or lost(row, "user") for row in members) or "–"),
            ]
            lines.append(f"| {name} | {threads} | {len(members)} | {' | '.join(cells)} |")
    return lines


def times(values: list[float | None]) -> str:
    """Geometric mean, and the least in brackets."""
    there = [value for value in values if value is not None]
    return f"{mean(there):.2f} ({min(there):.2f})" if there else ""


def goal_table(results: dict[str, Any]) -> list[str]:
    """Every goal, what was measured, and whether all rows of it reach it."""
    rows = results["cases"]
    most = max(row["threads"] for row in rows)
    lines = ["| class | goal | rows | mean | least (where) | met |", "|---|---|---:|---:|---:|---|"]
    for i, goal in enumerate(goals.goals(results["machine"].get("llc_bytes", 32 << 20))):
        everywhere = i < 2  # no peer is faster: at any number of threads
        found = goals.outcome(
            goal, rows if everywhere else [r for r in rows if r["threads"] == most]
        )
        if found is None:
            continue
        met = "yes" if found.met else f"{found.reached} of {found.count} rows"
        worst = f"{found.worst:.2f} ({title(found.worst_row)})"
        lines.append(
            f"| {goal.group} | {goal.text} | {found.count} | {found.average:.2f} | {worst} | {met} |"
        )
    chosen = [row for row in rows if row["threads"] == most]
    for text, value, least in goals.averages(chosen):
        met = "yes" if value >= least else "no"
        lines.append(
            f"| geometric mean, user level | {text} | {len(chosen)} | {value:.2f} | | {met} |"
        )
    for text, error, limit in goals.accuracy(rows):
        met = "yes" if error <= limit else "no"
        lines.append(
            f"| largest error, float32 | {text} within {limit:.0e} | {len(rows)} | | {error:.1e} | {met} |"
        )
    unequal, several = goals.unequal_bits(rows)
    bits = "yes" if not unequal else f"{several - unequal} of {several} rows"
    lines.append(f"| bits | equal for any thread count | {several} | | | {bits} |")
    return lines


def losses(rows: list[Row]) -> list[str]:
    """The rows a peer wins, with how near it is to the roof."""
    lines = [
        "| row | threads | level | bncore, µs | faster | µs | ratio | it reaches of the roof |",
        "|---|---:|---|---:|---|---:|---:|---:|",
    ]
    for row in rows:
        for level in ("kernel", "user"):
            best, mine = best_peer(row, level), ours(row, level)
            if not lost(row, level) or best is None or mine is None:
                continue
            part = fraction(row, best[1])
            reach = "" if part is None else f"{part:.2f}"
            cells = [title(row), str(row["threads"]), level, time(mine), best[0], time(best[1])]
            lines.append(f"| {' | '.join(cells)} | {best[1] / mine:.2f} | {reach} |")
    return lines if len(lines) > 2 else ["Nowhere."]


def title(row: Row) -> str:
    """A row in a few words."""
    case: Case = case_of(row)
    double = " float64" if case.dtype == "float64" else ""
    last = " channels-last" if case.axis == -1 and case.norm == "batch" else ""
    return f"{case.op} {'×'.join(map(str, case.shape))}{last}{double}"


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
