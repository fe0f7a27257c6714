"""What bncore sets itself against its peers, class by class, and whether a file of results shows it.

Goals are for all CPUs and float32 unless they say otherwise. Every row of a class must reach its goal for "met".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from .cases import Case
from .figures import BOUND, TINY, Row, best_peer, case_of, form, fraction, mean, ratio

MEGABYTE = 1_000_000
TORCH = ("torch aten", "torch warm")
WARM, ATEN, AUTOGRAD = ("torch warm",), ("torch aten",), ("torch user",)
COMPILED = ("jax", "torch compile")
BLOCKED, PLAIN = ("onednn 16c",), ("onednn plain",)
NEARLY = 0.97  # suffices where the peer is at the speed of memory as well
Judge = Callable[[Row], float | None]


@dataclass(frozen=True)
class Goal:
    """``least``: what ``value`` must at least be in the rows that ``takes``."""

    group: str
    text: str
    takes: Callable[[Case], bool]
    value: Judge
    least: float


@dataclass(frozen=True)
class Outcome:
    goal: Goal
    average: float
    worst: float
    worst_row: Row
    count: int
    reached: int

    @property
    def met(self) -> bool:
        return self.reached == self.count


def against(level: str, among: tuple[str, ...] | None = None) -> Judge:
    return partial(ratio, level=level, among=among)


def everywhere(row: Row, level: str) -> float | None:
    """The ratio to the best peer; where that one is at the speed of memory, NEARLY counts as 1."""
    value, best = ratio(row, level), best_peer(row, level)
    if value is None or best is None:
        return None
    part = fraction(row, best[1])
    return value / NEARLY if part is not None and part >= BOUND else value


def plain_named(case: Case) -> bool:
    return case.section == "named" and case.dtype == "float32"


def batch(*ops: str, forms: str = "any") -> Callable[[Case], bool]:
    """Rows of a batch norm's operations that are more than a call."""

    def takes(case: Case) -> bool:
        where = form(case)
        return (
            plain_named(case)
            and case.op in ops
            and case.nbytes > TINY
            and (forms == "any" or where in forms.split(" | "))
        )

    return takes


def sized(
    takes: Callable[[Case], bool], over: float = 0, upto: float = float("inf")
) -> Callable[[Case], bool]:
    """Of those, the rows whose x has more than ``over`` and at most ``upto`` bytes."""
    return lambda case: takes(case) and over < case.nbytes <= upto


def spread(takes: Callable[[Case], bool], wide: bool) -> Callable[[Case], bool]:
    """Of those, the rows with at least 14 x 14 values behind the channel axis, or the others."""
    return lambda case: takes(case) and (case.view[2] >= 196) == wide


def goals(llc: float) -> Iterator[Goal]:
    """All of them; ``llc`` is the size of the last-level cache."""
    for level in ("kernel", "user"):
        name = "no peer is faster (0.97 where it is at the speed of memory)"
        yield Goal(
            name, f"1.0, {level} level", lambda case: True, partial(everywhere, level=level), 1
        )
    yield from channels_first()
    yield from channels_last(llc)
    evaluation = batch("evaluation")
    yield Goal("evaluation", "0.95 of the roof", evaluation, fraction, 0.95)
    yield Goal("evaluation", "1.0 × everyone", evaluation, against("kernel"), 1)
    in_l3 = sized(evaluation, 2 * MEGABYTE, llc)
    yield Goal("evaluation", "2 × in L3", in_l3, against("kernel"), 2)
    fused, separate = ("forward+relu", "forward+add+relu"), against("kernel", ATEN)
    for where, least in (("channels-first", 10), ("channels-last", 2.5)):
        takes = batch(*fused, forms=where)
        yield Goal(
            "fused with ReLU", f"{least} × separate PyTorch ops, {where}", takes, separate, least
        )
    takes = batch("backward+relu")
    yield Goal("fused with ReLU", "2.5 × separate PyTorch ops, backward", takes, separate, 2.5)
    yield from rows()
    yield from users()


def channels_first() -> Iterator[Goal]:
    group, takes = "channels-first forward", batch("forward", forms="channels-first")
    yield Goal(group, "6 × PyTorch", takes, against("kernel", TORCH), 6)
    yield Goal(group, "4 × JAX and torch.compile", takes, against("kernel", COMPILED), 4)
    yield Goal(group, "1.4 × oneDNN blocked", takes, against("kernel", BLOCKED), 1.4)
    yield Goal(group, "0.75 of the roof, S ≥ 196", spread(takes, True), fraction, 0.75)
    yield Goal(group, "0.6 of the roof, 7×7", spread(takes, False), fraction, 0.6)
    group, takes = "channels-first backward", batch("backward", forms="channels-first")
    yield Goal(group, "1.8 × PyTorch, warm heap", takes, against("kernel", WARM), 1.8)
    yield Goal(group, "1.2 × oneDNN blocked", takes, against("kernel", BLOCKED), 1.2)
    yield Goal(group, "0.7 of the roof", takes, fraction, 0.7)


def channels_last(llc: float) -> Iterator[Goal]:
    group, best = "channels-last, (N, C) forward", against("kernel")
    takes = batch("forward", forms="channels-last | (N, C)")
    yield Goal(group, "1.4 × in DRAM", sized(takes, llc), best, 1.4)
    yield Goal(group, "1.8 × in L3", sized(takes, 6 * MEGABYTE, llc), best, 1.8)
    yield Goal(group, "2.4 × below 6 MB", sized(takes, 0, 6 * MEGABYTE), best, 2.4)
    group, takes = "channels-last, (N, C) backward", batch("backward", forms="channels-last")
    yield Goal(group, "1.1 × in DRAM", sized(takes, 10 * MEGABYTE), best, 1.1)
    yield Goal(group, "1.4 × below 10 MB", sized(takes, 0, 10 * MEGABYTE), best, 1.4)
    yield Goal(group, "2 × (N, C)", batch("backward", forms="(N, C)"), best, 2)


def rows() -> Iterator[Goal]:
    """Layer and RMS norm."""

    def of(op: str) -> Callable[[Case], bool]:
        return lambda case: plain_named(case) and case.op == op

    for way, least in (("forward", 1.2), ("backward", 1.3)):
        takes, name = of(f"layer {way}"), f"{least} × oneDNN, {way}"
        yield Goal("LayerNorm", name, takes, against("kernel", PLAIN), least)
    takes = of("rms forward")
    yield Goal(
        "RMSNorm", "2 × JAX and torch.compile, forward", takes, against("kernel", COMPILED), 2
    )
    takes = of("rms backward")
    yield Goal("RMSNorm", "6 × PyTorch, warm heap, backward", takes, against("kernel", WARM), 6)


def users() -> Iterator[Goal]:
    """Ordinary calls: large outputs and tiny ones; the other type."""
    group, user = "outputs above 32 MB, user level", against("user", AUTOGRAD)
    plain = ("forward", "evaluation", "backward")
    takes = sized(batch(*plain, forms="channels-first | (N, C)"), 32 * MEGABYTE)
    yield Goal(group, "6 × PyTorch, channels-first and (N, C)", takes, user, 6)
    takes = sized(batch(*plain, forms="channels-last"), 32 * MEGABYTE)
    yield Goal(group, "4 × PyTorch, channels-last", takes, user, 4)

    def tiny(case: Case) -> bool:
        return plain_named(case) and case.nbytes <= TINY

    yield Goal("tiny calls", "8 × PyTorch's operator", tiny, against("user", ATEN), 8)
    backward = lambda case: tiny(case) and "backward" in case.op  # noqa: E731
    yield Goal("tiny calls", "20 × autograd's backward", backward, user, 20)
    double = lambda case: case.dtype == "float64"  # noqa: E731
    yield Goal("float64", "1.0 × PyTorch", double, against("kernel", TORCH), 1)


def outcome(goal: Goal, rows: list[Row]) -> Outcome | None:
    """How the rows of a goal do; None if there are none."""
    values = [(goal.value(row), row) for row in rows if goal.takes(case_of(row))]
    found = [(value, row) for value, row in values if value is not None]
    if not found:
        return None
    worst, row = min(found, key=lambda pair: pair[0])
    reached = sum(value >= goal.least for value, _ in found)
    return Outcome(goal, mean(value for value, _ in found), worst, row, len(found), reached)


def averages(rows: list[Row]) -> list[tuple[str, float, float]]:
    """Geometric means over all rows at user level: (text, measured, least)."""
    torch = mean(v for row in rows if (v := ratio(row, "user", AUTOGRAD)))
    best = mean(v for row in rows if (v := ratio(row, "user")))
    return [("4 × PyTorch", torch, 4.0), ("2 × the best peer of each row", best, 2.0)]


ACCURACY = (("y, dx", ("y", "dx"), 3e-7), ("dγ, dβ", ("dweight", "dbias"), 1e-6))


def accuracy(rows: list[Row]) -> list[tuple[str, float, float]]:
    """The largest errors of bncore's float32 results: (which, error, limit)."""
    found = []
    for text, names, limit in ACCURACY:
        errors = [
            error
            for row in rows
            if row["dtype"] == "float32"
            for contender, by_name in row["error"].items()
            if contender.startswith("bncore")
            for name, error in by_name.items()
            if name in names
        ]
        found.append((text, max(errors, default=0.0), limit))
    return found


def unequal_bits(rows: list[Row]) -> tuple[int, int]:
    """In how many cases bncore's bits differ between calls or thread counts, and of how many that were run with several."""
    digests: dict[str, set[str]] = {}
    counts: dict[str, set[int]] = {}
    for row in rows:
        label = case_of(row).label
        digests.setdefault(label, set()).update(row["digest"].values())
        counts.setdefault(label, set()).add(row["threads"])
    several = [label for label, threads in counts.items() if len(threads) > 1]
    return sum(len(digests[label]) > 1 for label in several), len(several)
