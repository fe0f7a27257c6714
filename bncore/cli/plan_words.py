"""Words that plans of all norms share: counts, sizes, threads, stores."""

from __future__ import annotations

from typing import Any

__all__ = ["Plan", "Row", "count", "share", "size", "threads_row"]

Plan = dict[str, Any]
Row = tuple[str, str, str]


def threads_row(plan: Plan, values: int) -> Row:
    """How many threads an op gets for so many values."""
    grain, limit = plan["at"]["grain"], plan["limit"]
    if limit == 1:
        return "threads", "1", "no more are allowed"
    if plan["threads"] == 1:
        return "threads", f"1 of {limit}", f"{values} values < {2 * grain}, enough for two"
    why = f"{values} values, a thread gets at least {grain}"
    if plan["little"]:
        return "threads", f"1, or {plan['threads']} of {limit} while they are awake", why
    return "threads", f"{plan['threads']} of {limit}", why


def share(plan: Plan, caches: dict[str, int]) -> str:
    """Which part of the last-level cache the threads have."""
    sharing = caches["llc_cpus"]
    threads = min(plan["threads"], sharing)
    whose = "the last-level cache"
    if threads < sharing:
        whose = "one thread's share" if threads == 1 else f"{threads} threads' share"
        whose += f" ({threads}/{sharing}) of the last-level cache"
    return f"{size(plan['cache_share'])}, {whose}"


def count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


def size(number: float) -> str:
    """Three digits and a decimal unit."""
    for unit, bytes_ in (("GB", 1e9), ("MB", 1e6), ("KB", 1e3)):
        if number >= bytes_:
            return f"{number / bytes_:.3g} {unit}"
    return f"{number} bytes"
