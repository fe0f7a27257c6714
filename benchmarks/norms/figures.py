"""What the times of a row say: the best peer of a level, the roof, whom a figure may be compared with.

"kernel" is into arrays made before, for all that have such a call; "user" is the ordinary call of each library. oneDNN has one
call only, a primitive made before on arrays made before, which therefore stands in both.
"""

from __future__ import annotations

from typing import Any

Row = dict[str, Any]
PEERS = {
    "kernel": (
        "torch aten",
        "torch warm",
        "torch compile",
        "torch user",
        "onednn plain",
        "onednn 16c",
        "jax",
        "numpy",
    ),
    "user": ("torch user", "torch compile", "onednn plain", "onednn 16c", "jax", "numpy"),
}


def ours(row: Row, level: str) -> float | None:
    """bncore's time at that level; the ordinary call where there is no other."""
    times = row["median_us"]
    value: float | None = times.get(f"bncore {level}", times.get("bncore user"))
    return value


def best_peer(
    row: Row, level: str, among: tuple[str, ...] | None = None
) -> tuple[str, float] | None:
    """Name and time of the fastest peer, of all or of those named."""
    names = [n for n in among or PEERS[level] if n in row["median_us"]]
    if not names:
        return None
    name = min(names, key=row["median_us"].__getitem__)
    return name, row["median_us"][name]


def ratio(row: Row, level: str, among: tuple[str, ...] | None = None) -> float | None:
    """How many times as long as bncore the best of these peers takes."""
    mine, best = ours(row, level), best_peer(row, level, among)
    return best[1] / mine if mine and best else None


def roof(row: Row) -> float | None:
    """The time the least traffic takes, by the faster kind of stores."""
    times = [us for name, us in row["median_us"].items() if name.startswith("roof")]
    return min(times, default=None)


def fraction(row: Row) -> float | None:
    """Of the roof, that bncore's kernel reaches."""
    mine, least = ours(row, "kernel"), roof(row)
    return least / mine if mine and least else None
