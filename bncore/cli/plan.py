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

__all__ = ["add_plan", "plan_text", "plans", "refuse_alone"]

OPS = ("forward", "evaluation", "backward")

Plan = dict[str, Any]
Row = tuple[str, str, str]


def add_plan(parser: argparse.ArgumentParser) -> None:
    """--plan and what refines it."""
    parser.add_argument(
        "--plan",
        type=shape_of,
        metavar="SHAPE",
        help="what batch norm chooses for an array of this shape, and why: 64x256x14x14",
    )
    parser.add_argument(
        "--axis", type=int, metavar="I", help="with --plan: the channel axis (default: 1)"
    )
    parser.add_argument("--dtype", choices=("float32", "float64"), help="with --plan")
    parser.add_argument("--op", choices=OPS, help="with --plan: this one only (default: all three)")
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
        For an axis that the shape does not have, or without the compiled core.
    """
    from .. import backend

    shape, axis = args.plan, 1 if args.axis is None else args.axis
    if not -len(shape) <= axis < len(shape):
        raise ValueError(f"--axis must be an axis of {len(shape)}, got {axis}")
    axis %= len(shape)
    native = backend.native_module()
    if native is None:
        reason = backend.info()["reason"]
        raise ValueError(f"--plan: only the compiled core has choices to make ({reason})")
    n, c, s = math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])
    dtype = args.dtype or "float32"
    with threads(args.threads):
        return {
            "shape": list(shape),
            "axis": axis,
            "dtype": dtype,
            "residual": args.residual,
            "caches": native.caches(),
            "plans": {
                op: native.norm_plan(op, n, c, s, dtype == "float64", args.residual)
                for op in ([args.op] if args.op else OPS)
            },
        }


def refuse_alone(args: argparse.Namespace) -> None:
    """Options of --plan without it.

    Raises
    ------
    ValueError
        If there is one.
    """
    for name in ("axis", "dtype", "op", "residual", "threads"):
        if getattr(args, name) not in (None, False):
            raise ValueError(f"--{name} asks about --plan SHAPE, which is missing")


def plan_text(found: dict[str, Any]) -> str:
    """One table per op: what was chosen, and why."""
    shape = "x".join(str(size) for size in found["shape"])
    caches = found["caches"]
    lines = [
        f"{shape} {found['dtype']}, channels on axis {found['axis']}"
        + (", with add + ReLU" if found["residual"] else ""),
        f"last-level cache {_bytes(caches['llc'])}, shared by {_count(caches['llc_cpus'], 'processor')}",
    ]
    for op, plan in found["plans"].items():
        rows = [_walk(plan), *_reduction(plan), _pass(plan), _threads(plan), _stores(plan, caches)]
        lines += ["", op, table(row for row in rows if row)]
    return "\n".join(lines)


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
    at, chunks = plan["at"], _count(plan["chunks"], "chunk")
    if plan["columns"]:
        rows, values = plan["n_per"], plan["n_per"] * plan["width"]
        why = f"{values} values a chunk, about {at['chunk']}; at most {at['most_partials']} chunks"
        chosen = f"{chunks} of {_count(rows, 'row')}"
        return [("reduction", chosen, why), _reads(plan), _partials(plan)]
    if plan["by_channels"]:
        chosen = f"{chunks} of {_count(plan['c_per'], 'whole channel')}"
        return [("reduction", chosen, _size_of_channels(plan))]
    piece = f"{plan['n_per']} x {plan['s_per']} values of {_count(plan['c_per'], 'channel')}"
    chosen = f"{chunks} of {piece}"
    return [
        ("reduction", chosen, f"in the order of memory: {_size_of_channels(plan)}"),
        _partials(plan),
    ]


def _size_of_channels(plan: Plan) -> str:
    """Slabs: the numbers that decide between whole channels and shared ones."""
    at, c, values, x = plan["at"], plan["c"], plan["n"] * plan["s"], _bytes(plan["array_bytes"])
    below, from_ = _bytes(at["whole_below"]), _bytes(at["whole_from"])
    if plan["by_channels"]:
        small = plan["array_bytes"] <= at["whole_below"]
        size = f"{x} <= {below}" if small else f"{x} >= {from_}"
        return f"x of {size}, {values} values a channel <= {at['whole']}"
    if c < at["few_channels"]:
        return f"{_count(c, 'channel')} < {at['few_channels']}"
    if values > at["whole"]:
        return f"{values} values a channel > {at['whole']}"
    return f"x of {x}, between {below} and {from_}"


def _reads(plan: Plan) -> Row:
    read, near = _bytes(plan["reduced_bytes"]), _bytes(plan["near_bytes"])
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
    chunks = _count(plan["pass_chunks"], "chunk")
    return "output", chunks, f"{plan['at']['chunk']} values each, a quarter of a second-level cache"


def _threads(plan: Plan) -> Row:
    values, grain, limit = plan["n"] * plan["c"] * plan["s"], plan["at"]["grain"], plan["limit"]
    if limit == 1:
        return "threads", "1", "no more are allowed"
    if plan["threads"] == 1:
        return "threads", f"1 of {limit}", f"{values} values < {2 * grain}, enough for two"
    why = f"{values} values, a thread gets at least {grain}"
    if plan["little"]:
        return "threads", f"1, or {plan['threads']} of {limit} while they are awake", why
    return "threads", f"{plan['threads']} of {limit}", why


def _stores(plan: Plan, caches: dict[str, int]) -> Row:
    """Whether outputs go past the caches."""
    moved, share = _bytes(plan["bytes"]), _bytes(plan["cache_share"])
    sharing, count = caches["llc_cpus"], min(plan["threads"], caches["llc_cpus"])
    whose = "the last-level cache"
    if count < sharing:
        whose = "one thread's share" if count == 1 else f"{count} threads' share"
        whose += f" ({count}/{sharing}) of the last-level cache"
    if plan["streaming"]:
        return "stores", "past the caches", f"{moved} read and written > {share}, {whose}"
    return "stores", "into the caches", f"{moved} read and written <= {share}, {whose}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


def _bytes(number: int) -> str:
    """Three digits and a decimal unit."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("KB", 1e3)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number} bytes"
