"""`bncore info --net NET --plan`: the steps a net is lowered to, their memory and work. The plan itself is `bncore.plan`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..support.table import table

if TYPE_CHECKING:
    from ..layers import Layer
    from ..plan import Plan

__all__ = ["add_net", "net_plan", "net_plan_text"]

HEAD = ("step", "layer", "writes", "with", "million multiplications")

# reference nets as the benchmarks have them: how to make one, and a batch's shape
_MADE: dict[str, tuple[Callable[[Any], Layer], tuple[int, ...]]] = {
    "mlp": (lambda nets: nets.mlp(64, 10), (64, 64)),
    "cnn": (lambda nets: nets.cnn(1, 10, (16, 32, 64), strides=(1, 2, 2)), (64, 1, 28, 28)),
    "resnet20": (lambda nets: nets.resnet20(), (128, 3, 32, 32)),
    "inception_small": (lambda nets: nets.inception_small(3, 10), (64, 3, 32, 32)),
    "separable": (lambda nets: nets.separable(3, 10), (64, 3, 32, 32)),
    "recurrent": (lambda nets: nets.recurrent(28, 10), (64, 28, 28)),
}


def add_net(parser: argparse.ArgumentParser) -> None:
    """--net and what refines it."""
    parser.add_argument(
        "--net",
        metavar="NET",
        help=f"with --plan: how this net is run, {', '.join(_MADE)} or a file of one; SHAPE is a "
        "batch's (needed for a file)",
    )
    parser.add_argument(
        "--inference", action="store_true", help="with --net: in evaluation mode, folded"
    )


def net_plan(args: argparse.Namespace) -> dict[str, Any]:
    """The net's plan as data.

    Raises
    ------
    ValueError
        Without a shape for a net from a file, or where a net has no plan.
    """
    from ..plan import Unsupported

    net, shape = _net(args.net)
    shape = tuple(args.plan) or shape
    if not shape:
        raise ValueError("--plan needs a SHAPE for a net from a file, such as --plan 64x3x32x32")
    try:
        plan = _lower(net, shape, args.inference)
    except Unsupported as error:
        raise ValueError(f"--net: no plan for {args.net} and shape {shape}: {error}") from error
    return {
        "net": args.net,
        "shape": list(shape),
        "mode": "inference" if args.inference else "training",
        "steps": _rows(plan),
        "multiplications": plan.work,
        "bytes": plan.memory,
        "bytes_unshared": plan.unshared,
    }


def _lower(net: Layer, shape: tuple[int, ...], inference: bool) -> Plan:
    from ..plan import lower

    if not inference:
        return lower(net.train(), shape)
    from ..folding import fold_net

    return lower(fold_net(net.eval())[0], shape, training=False)


def _net(name: str) -> tuple[Layer, tuple[int, ...]]:
    """A reference net with a batch's shape, or one from a file."""
    if name in _MADE:
        from .. import nets

        make, shape = _MADE[name]
        return make(nets), shape
    from ..io import load

    return load(name), ()


def _rows(plan: Plan) -> list[dict[str, Any]]:
    from ..plan.text import rows

    names = ("step", "layer", "writes", "notes", "multiplications")
    found: list[dict[str, Any]] = [dict(zip(names, row)) for row in rows(plan)]
    for row, step in zip(found, plan.steps):
        row["multiplications"] = step.work
        row["backward"] = step.backward
    return found


def net_plan_text(found: dict[str, Any]) -> str:
    """The steps as a table, memory and work."""
    shape = "x".join(str(size) for size in found["shape"])
    lines = [f"{found['net']}, {found['mode']}, batches of {shape}", ""]
    cells = [HEAD]
    for row in found["steps"]:
        work = f"{row['multiplications'] / 1e6:.1f}" if row["multiplications"] else ""
        cells.append((row["step"], row["layer"], row["writes"], row["notes"], work))
    lines += [table(cells), ""]
    lines.append(
        f"{len(found['steps'])} steps, {found['multiplications'] / 1e6:.1f} million multiplications; "
        f"{found['bytes'] / 1e6:.2f} MB for values of {found['bytes_unshared'] / 1e6:.2f} MB"
    )
    return "\n".join(lines)
