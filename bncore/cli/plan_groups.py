"""The words for what group and instance norm choose (src_c/ops/group_plan.c); not here: any rule."""

from __future__ import annotations

import argparse
import math
from typing import Any

from .plan_words import Plan, Row, count, share, size, threads_row

__all__ = ["group_plans", "group_tables", "groups_of"]

NORMS = ("group", "instance")
OPS = ("forward", "backward")


def groups_of(args: argparse.Namespace, axis: int) -> int | None:
    """How many groups the channels on `axis` make; None for norms without.

    Raises
    ------
    ValueError
        For a number where none is due, none where one is, one that does not divide the channels, or the axis of samples.
    """
    norm, channels = args.norm, args.plan[axis]
    groups: int | None = channels if norm == "instance" else args.groups
    if norm != "group" and args.groups is not None:
        raise ValueError("--groups is for --norm group only")
    if norm not in NORMS:
        return None
    if axis == 0:
        raise ValueError(f"--axis must not be 0, which counts samples, for --norm {norm}")
    if groups is None:
        raise ValueError("--groups is missing: into how many --norm group divides the channels")
    if channels % groups:
        raise ValueError(f"--groups must divide the {channels} channels, got {groups}")
    return groups


def group_plans(native: Any, args: argparse.Namespace, axis: int, groups: int) -> dict[str, Plan]:
    """For each op the dict of its choices, on (n, a, c, s).

    Raises
    ------
    ValueError
        For evaluation, an addition, or instances of one value.
    """
    norm, shape, double = args.norm, args.plan, args.dtype == "float64"
    n, a, c, s = shape[0], math.prod(shape[1:axis]), shape[axis], math.prod(shape[axis + 1 :])
    if args.op == "evaluation":
        raise ValueError(f"--op evaluation: {_evaluation(norm)}")
    if args.residual:
        raise ValueError(f"--residual: {norm} norm adds none")
    if norm == "instance" and a * s == 1:
        raise ValueError("--norm instance needs more than one value per instance")
    ops = [args.op] if args.op else OPS
    return {op: native.group_plan(op, n, a, c, s, groups, double) for op in ops}


def _evaluation(norm: str) -> str:
    if norm == "group":
        return "group norm evaluates by its forward"
    return "instance norm evaluates by its forward, with running statistics as --norm batch does"


def group_tables(plan: Plan, caches: dict[str, int]) -> list[Row]:
    """What was chosen, and why, line by line."""
    how = _backward(plan) if plan["backward"] else _forward(plan)
    return [_walk(plan), _chunks(plan), *how, _threads(plan), _stores(plan, caches)]


def _walk(plan: Plan) -> Row:
    """A tile: what is measured, then written while in cache."""
    at, values = plan["at"]["chunk"], plan["tile_items"] * plan["part"]
    samples, groups = count(plan["tile_items"], "sample"), count(plan["tile_groups"], "group")
    least = "group" if plan["a"] == 1 else "sample"
    memory = "one run of memory" if plan["a"] == 1 else "channels interleaved: whole samples"
    fits = f"{values} values <= {at}" if values <= at else f"one {least} has {values} values > {at}"
    return "walk", f"tiles of {samples} x {groups}", f"{memory}; {fits}"


def _chunks(plan: Plan) -> Row:
    samples = count(plan["chunk_items"], "sample")
    groups = f"{plan['group_blocks']} of groups"
    why = f"{plan['blocks']} of samples, at most {plan['at']['most_partials']}, x {groups}"
    return "chunks", f"{plan['chunks']} of {samples} x {count(plan['tile_groups'], 'group')}", why


def _forward(plan: Plan) -> list[Row]:
    if plan["direct"]:
        output = f"by kernels directly, {_layout(plan)}"
    else:
        output = f"by batch norm's op, {_passes(plan)}"
    what, why = _statistics(plan)
    return [("statistics", what + _shared(plan), why), ("output", output, _why_direct(plan))]


def _statistics(plan: Plan) -> tuple[str, str]:
    channels, least = plan["c"] // plan["groups"], plan["at"]["short_group"]
    values = channels * plan["a"] * plan["s"]
    if plan["turned"]:
        why = f"groups of {values} values < {least} are turned, many at a time"
        return "of columns", why
    if plan["a"] == 1:
        return "of runs", f"a group is one run, {values} values >= {least}"
    if plan["merged"]:
        return "of channels, merged", f"a group is {channels} channels, interleaved with others"
    return "of channels", "a group is one channel"


def _backward(plan: Plan) -> list[Row]:
    whose = "kernels directly" if plan["direct"] else "batch norm's op"
    return [
        ("sums", f"of channels, by {whose}{_shared(plan)}", _why_direct(plan)),
        ("output", _passes(plan), f"{plan['at']['chunk']} values a chunk"),
    ]


def _shared(plan: Plan) -> str:
    """In how many chunks a tile is reduced, where threads share them."""
    return f", {_each(plan['reduction_chunks'])}" if plan["inside"] else ""


def _why_direct(plan: Plan) -> str:
    """The numbers that decide whether a sample's part of a tile goes to kernels."""
    part, two = plan["part"], plan["at"]["one_thread"]
    if plan["a"] > 1:
        return "channels interleaved"
    return f"one run of {part} values {'<' if plan['direct'] else '>='} {two}, enough for two"


def _layout(plan: Plan) -> str:
    return f"{'rows' if plan['columns'] else 'slabs'} of {_length(plan)}"


def _length(plan: Plan) -> str:
    return count(plan["width"] if plan["columns"] else plan["slab"], "value")


def _passes(plan: Plan) -> str:
    return f"{_each(plan['pass_chunks'])}, {_layout(plan)}"


def _each(chunks: int) -> str:
    return f"{count(chunks, 'chunk')} each time"


def _threads(plan: Plan) -> Row:
    """Of the chunks, or, one tile after the other, inside."""
    at, chunks, limit = plan["at"], plan["chunks"], plan["limit"]
    values = plan["part"] if plan["inside"] else plan["n"] * plan["a"] * plan["c"] * plan["s"]
    name, chosen, why = threads_row(plan, values)
    if plan["threads"] == 1:
        return name, chosen, why
    if plan["inside"]:
        few = f"{count(chunks, 'chunk')} < {at['few_chunks']}"
        return name, f"{chosen}, inside each tile", f"{few}; {why}"
    if chunks < plan["threads"]:
        return name, f"{chunks} of {limit}", f"only {count(chunks, 'chunk')}"
    return name, chosen, why


def _stores(plan: Plan, caches: dict[str, int]) -> Row:
    """Whether outputs go past the caches; a pass that is shared out inside decides for itself."""
    whose = share({**plan, "threads": plan["pass_threads"]}, caches)
    moved = f"{size(plan['bytes'])} read and written" + ("" if plan["direct"] else " each time")
    if plan["streaming"]:
        return "stores", "past the caches", f"{moved} > {whose}"
    if plan["bytes"] <= plan["cache_share"]:
        return "stores", "into the caches", f"{moved} <= {whose}"
    return "stores", "into the caches", "a sample's part is neither whole lines nor long"
