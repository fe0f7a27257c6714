"""Who is the best peer of a row, and by how much: what the tables, the picture and the programs have in common."""

from __future__ import annotations

from typing import Any

from . import OTHER_WORK

Row = dict[str, Any]


def ours(row: Row) -> list[str]:
    return [name for name, kind in row["kinds"].items() if kind == "bncore"]


def peers(row: Row) -> list[str]:
    """Those that compute the same, and right."""
    left_out = (*OTHER_WORK, "bncore")
    names = [name for name, kind in row["kinds"].items() if kind not in left_out]
    return [name for name in names if name not in row["wrong"]]


def fastest(row: Row, names: list[str]) -> str | None:
    """The one of them with the least median."""
    return min(names, key=row["median_ms"].__getitem__, default=None)


def ratio(row: Row, name: str) -> float | None:
    """The best peer's time over that of a contender; None without a peer."""
    best = fastest(row, peers(row))
    return None if best is None else row["median_ms"][best] / row["median_ms"][name]


def leanest(row: Row, names: list[str], which: str) -> float | None:
    """The least peak or growth among them, in MB."""
    found = [row["memory"][name][which] for name in names if name in row.get("memory", {})]
    return min(found, default=None)
