"""The words for what layer and RMS norm choose (src_c/ops/rows_plan.c); not here: any rule."""

from __future__ import annotations

import argparse
import math
from typing import Any

from .plan_words import Plan, Row, count, share, size, threads_row

__all__ = ["rows_plans", "rows_tables"]

OPS = ("forward", "backward")
LINE = 64  # bytes


def rows_plans(native: Any, args: argparse.Namespace) -> dict[str, Plan]:
    """For each op the dict of its choices, on the rows along the last axis.

    Raises
    ------
    ValueError
        For another axis, evaluation, or an addition.
    """
    *rows, d = args.plan
    if args.axis is not None and args.axis not in (-1, len(rows)):
        raise ValueError(f"--axis must be the last one for --norm {args.norm}, got {args.axis}")
    if args.op == "evaluation":
        raise ValueError(f"--op evaluation: {args.norm} norm evaluates by its forward")
    if args.residual:
        raise ValueError(f"--residual: {args.norm} norm adds none")
    double = args.dtype == "float64"
    ops = [args.op] if args.op else OPS
    return {op: native.rows_plan(op, math.prod(rows), d, double) for op in ops}


def rows_tables(plan: Plan, caches: dict[str, int]) -> list[Row]:
    """What was chosen, and why, line by line."""
    values = plan["rows"] * plan["d"]
    cut = _pieces(plan) if plan["cut"] else _chunks(plan)
    return [*cut, threads_row(plan, values), _stores(plan, caches)]


def _pieces(plan: Plan) -> list[Row]:
    at, d = plan["at"], plan["d"]
    why = f"{d} values a row >= {at['long_row']}"
    if plan["rows"] < at["few_rows"]:
        why += f", and only {count(plan['rows'], 'row')}"
    pieces = f"{count(plan['pieces'], 'piece')} of {at['piece']} values"
    return [("walk", f"{count(plan['rows'], 'row')}, {pieces} each", why)]


def _chunks(plan: Plan) -> list[Row]:
    at, values = plan["at"], plan["rows_per"] * plan["d"]
    per, group = count(plan["rows_per"], "row"), count(plan["group"], "row")
    if values <= at["chunk"]:
        why = f"{values} values a chunk <= {at['chunk']}"
    elif plan["rows_per"] == 1:
        why = f"a row of {values} values is enough"
    else:
        why = f"{values} values a chunk: column sums are merged once for each"
    return [
        ("walk", f"{count(plan['chunks'], 'chunk')} of {per}", why),
        ("group", f"{group} measured, then written", f"about {at['group']} values stay in cache"),
    ]


def _stores(plan: Plan, caches: dict[str, int]) -> Row:
    """Rows are read and written by turns: they go past the caches earlier than other arrays, if they are long."""
    moved, whose = size(plan["bytes"]), share(plan, caches)
    if plan["streaming"]:
        return "stores", "past the caches", f"{moved} read and written > 3/4 of {whose}"
    if 4 * plan["bytes"] <= 3 * plan["cache_share"]:
        return "stores", "into the caches", f"{moved} read and written <= 3/4 of {whose}"
    why = f"rows neither whole lines nor {plan['at']['lines'] * LINE} bytes long"
    return "stores", "into the caches", why
