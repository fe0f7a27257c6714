"""What the times of a row say: the best peer of a level, the roof, the class the row belongs to.

"kernel" is into arrays made before, for all that have such a call; "user" is the ordinary call of each library.
oneDNN has one call only, a primitive made before on arrays made before, which therefore stands in both.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from .cases import Case

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
TINY = 4096  # bytes of x: below, a call is all there is
WORTH = 256_000  # bytes of traffic from which on memory, not the call, is what counts
BOUND = 0.95  # of the roof: who is there has nothing left to gain


def case_of(row: Row) -> Case:
    return Case.of({field.name: row[field.name] for field in fields(Case)})


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


def fraction(row: Row, us: float | None = None) -> float | None:
    """Of the roof, that bncore's kernel reaches, or a call of so many µs; None where calls count more than memory."""
    mine, least = us or ours(row, "kernel"), roof(row)
    return least / mine if mine and least and row["least_bytes"] >= WORTH else None


def lost(row: Row, level: str) -> bool:
    """Whether a peer is faster."""
    value = ratio(row, level)
    return value is not None and value < 1


def mean(values: Iterable[float]) -> float:
    """Geometric."""
    logarithms = [math.log(value) for value in values]
    return math.exp(sum(logarithms) / len(logarithms)) if logarithms else math.nan


def form(case: Case) -> str:
    """How channels lie: "channels-first", "channels-last", "(N, C)", "LayerNorm" or "RMSNorm"."""
    if case.norm != "batch":
        return {"layer": "LayerNorm", "rms": "RMSNorm"}[case.norm]
    if len(case.shape) == 2:
        return "(N, C)"
    return "channels-first" if case.axis == 1 else "channels-last"


def kind(case: Case) -> str:
    """The class a row is summed up in."""
    if case.section == "random":
        return f"random shapes, {case.op.partition('+')[0]}"
    if case.dtype == "float64":
        return "float64"
    if case.nbytes <= TINY:
        return "tiny (at most 4 KB)"
    if case.op == "statistics":
        return "statistics"
    if "relu" in case.op:
        return f"{case.direction.partition('+')[0]} fused with ReLU, {form(case)}"
    return f"{case.direction}, {form(case)}"
