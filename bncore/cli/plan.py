"""`bncore info --plan SHAPE`: what the norms' ops choose for arrays of a shape, and the numbers behind each choice.

The choices come from the ops themselves (src_c/ops/plan.c). Not here: any rule; only the words for it.
"""

from __future__ import annotations

import argparse
import math
from typing import Any

from ..support.table import table
from ..thread_limits import threads
from .options import positive_int
from .plan_groups import group_plans, group_tables, groups_of
from .plan_rows import rows_plans, rows_tables
from .plan_words import Plan, Row, count, share, size, threads_row

__all__ = ["add_plan", "plan_text", "plans", "refuse_alone"]

OPS = ("forward", "evaluation", "backward")
NORMS = ("batch", "layer", "rms", "group", "instance")
OF_ROWS = ("layer", "rms")


def add_plan(parser: argparse.ArgumentParser) -> None:
    """--plan and what refines it."""
    parser.add_argument(
        "--plan",
        type=shape_of,
        nargs="?",
        const=(),
        metavar="SHAPE",
        help="what a norm chooses for an array of this shape, and why: 64x256x14x14",
    )
    parser.add_argument(
        "--norm",
        choices=NORMS,
        help="with --plan: which one (default: batch; layer and rms: over the last axis)",
    )
    parser.add_argument(
        "--groups", type=positive_int, metavar="N", help="with --norm group: how many groups"
    )
    parser.add_argument(
        "--axis", type=int, metavar="I", help="with --plan: the channel axis (default: 1)"
    )
    parser.add_argument("--dtype", choices=("float32", "float64"), help="with --plan")
    parser.add_argument("--op", choices=OPS, help="with --plan: this one only (default: all)")
    parser.add_argument(
        "--residual", action="store_true", help="with --plan: with a fused add + ReLU"
    )
    parser.add_argument(
        "--threads", type=positive_int, metavar="N", help="with --plan: N threads at most"
    )


def shape_of(text: str) -> tuple[int, ...]:
    """64x256x14x14 (or with commas) as integers."""
    try:
        shape = tuple(int(size) for size in text.lower().replace(",", "x").split("x"))
    except ValueError:
        shape = ()
    if len(shape) < 2 or min(shape) < 1 or math.prod(shape) >= 2**56:
        raise argparse.ArgumentTypeError(
            f"expected two or more sizes from 1 on, such as 64x256x14x14, got {text!r}"
        )
    return shape


def plans(args: argparse.Namespace) -> dict[str, Any]:
    """The question, and for each op the dict of its choices.

    Raises
    ------
    ValueError
        For an axis that the shape does not have, for what a norm cannot do, or without the compiled core.
    """
    native = _core()
    norm, axis = args.norm or "batch", _axis(args)
    groups = groups_of(args, axis)
    with threads(args.threads):
        if norm in OF_ROWS:
            found = rows_plans(native, args)
        elif groups:
            found = group_plans(native, args, axis, groups)
        else:
            found = _batch_plans(native, args, axis)
        return {
            "norm": norm,
            "shape": list(args.plan),
            "axis": axis,
            "groups": groups,
            "dtype": args.dtype or "float32",
            "residual": args.residual,
            "caches": native.caches(),
            "plans": found,
        }


def _batch_plans(native: Any, args: argparse.Namespace, axis: int) -> dict[str, Plan]:
    """For each op the dict of its choices, on (n, c, s)."""
    shape, double = args.plan, args.dtype == "float64"
    n, c, s = math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])
    ops = [args.op] if args.op else OPS
    return {op: native.norm_plan(op, n, c, s, double, args.residual) for op in ops}


def _core() -> Any:
    from .. import backend

    native = backend.native_module()
    if native is None:
        reason = backend.info()["reason"]
        raise ValueError(f"--plan: only the compiled core has choices to make ({reason})")
    return native


def _axis(args: argparse.Namespace) -> int:
    """Of the channels, or the normalized one, counted from the front."""
    rank = len(args.plan)
    axis: int = (-1 if args.norm in OF_ROWS else 1) if args.axis is None else args.axis
    if not -rank <= axis < rank:
        raise ValueError(f"--axis must be an axis of {rank}, got {axis}")
    return axis % rank


def refuse_alone(args: argparse.Namespace) -> None:
    """Options of --plan without it.

    Raises
    ------
    ValueError
        If there is one.
    """
    for name in ("norm", "groups", "axis", "dtype", "op", "residual", "threads"):
        if getattr(args, name) not in (None, False):
            raise ValueError(f"--{name} asks about --plan SHAPE, which is missing")


def plan_text(found: dict[str, Any]) -> str:
    """One table per op: what was chosen, and why."""
    shape = "x".join(str(length) for length in found["shape"])
    caches = found["caches"]
    lines = [
        f"{shape} {found['dtype']}, {_kind(found)} axis {found['axis']}"
        + (", with add + ReLU" if found["residual"] else ""),
        f"last-level cache {size(caches['llc'])}, shared by {count(caches['llc_cpus'], 'processor')}",
    ]
    for op, plan in found["plans"].items():
        lines += ["", op, table(TABLES[found["norm"]](plan, caches))]
    return "\n".join(lines)


def _kind(found: dict[str, Any]) -> str:
    """Which norm, up to the axis."""
    norm = found["norm"]
    if norm == "batch":
        return "channels on"
    if norm in OF_ROWS:
        return f"{norm} norm over"
    return f"{norm} norm of {count(found['groups'], 'group')}, channels on"


def _rows(plan: Plan, caches: dict[str, int]) -> list[Row]:
    values = plan["n"] * plan["c"] * plan["s"]
    last = threads_row(plan, values), _stores(plan, caches)
    return [_walk(plan), *_reduction(plan), _pass(plan), *last]


def _walk(plan: Plan) -> Row:
    """As columns or as slabs."""
    at, s = plan["at"], plan["s"]
    if not plan["columns"]:
        one = "one channel is one slab; " if plan["c"] == 1 else ""
        why = f"{one}no shorter than {at['lanes']}, the widest vector"
        return "walk", f"{plan['n'] * plan['c']} slabs of {s} values", why
    why = "a row has all channels" if s == 1 else f"slabs of {s} are shorter than {at['lanes']}"
    if plan["joined"] > 1:
        why += f"; {plan['joined']} rows of {plan['c'] * s} joined, for {at['full_width']} fill a panel"
    return "walk", f"rows of {plan['width']} values", why


def _reduction(plan: Plan) -> list[Row]:
    """In which pieces statistics, or sums, are taken, and how they meet."""
    if not plan["reduces"]:
        return []
    at, chunks = plan["at"], count(plan["chunks"], "chunk")
    if plan["columns"]:
        rows, values = plan["n_per"], plan["n_per"] * plan["width"]
        why = f"{values} values a chunk, about {at['chunk']}; at most {at['most_partials']} chunks"
        chosen = f"{chunks} of {count(rows, 'row')}"
        return [("reduction", chosen, why), _reads(plan), _partials(plan)]
    if plan["by_channels"]:
        chosen = f"{chunks} of {count(plan['c_per'], 'whole channel')}"
        return [("reduction", chosen, _size_of_channels(plan))]
    piece = f"{plan['n_per']} x {plan['s_per']} values of {count(plan['c_per'], 'channel')}"
    chosen = f"{chunks} of {piece}"
    return [
        ("reduction", chosen, f"in the order of memory: {_size_of_channels(plan)}"),
        _partials(plan),
    ]


def _size_of_channels(plan: Plan) -> str:
    """Slabs: the numbers that decide between whole channels and shared ones."""
    at, c, values, x = plan["at"], plan["c"], plan["n"] * plan["s"], size(plan["array_bytes"])
    below, from_ = size(at["whole_below"]), size(at["whole_from"])
    if plan["by_channels"]:
        small = plan["array_bytes"] <= at["whole_below"]
        which = f"{x} <= {below}" if small else f"{x} >= {from_}"
        return f"x of {which}, {values} values a channel <= {at['whole']}"
    if c < at["few_channels"]:
        return f"{count(c, 'channel')} < {at['few_channels']}"
    if values > at["whole"]:
        return f"{values} values a channel > {at['whole']}"
    return f"x of {x}, between {below} and {from_}"


def _reads(plan: Plan) -> Row:
    read, near = size(plan["reduced_bytes"]), size(plan["near_bytes"])
    what, sign = ("fetched ahead", ">") if plan["far"] else ("not fetched ahead", "<=")
    return "reads", what, f"{read} read {sign} {near}, half the last-level cache"


def _partials(plan: Plan) -> Row:
    partials = plan["partials"]
    what = "column" if plan["columns"] else "channel"
    kept = "merged in the order of memory" if partials > 1 else "nothing to merge"
    return "results", f"{partials} per {what}", kept


def _pass(plan: Plan) -> Row:
    """The element-wise pass."""
    if plan["by_channels"]:
        return "output", "by the chunk that reduced them", "whole channels, while they are in cache"
    chunks = count(plan["pass_chunks"], "chunk")
    return "output", chunks, f"{plan['at']['chunk']} values each, a quarter of a second-level cache"


def _stores(plan: Plan, caches: dict[str, int]) -> Row:
    """Whether outputs go past the caches."""
    moved, whose = size(plan["bytes"]), share(plan, caches)
    if plan["streaming"]:
        return "stores", "past the caches", f"{moved} read and written > {whose}"
    return "stores", "into the caches", f"{moved} read and written <= {whose}"


TABLES = {
    "batch": _rows,
    "layer": rows_tables,
    "rms": rows_tables,
    "group": group_tables,
    "instance": group_tables,
}
