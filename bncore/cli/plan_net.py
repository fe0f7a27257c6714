"""`bncore info --net NET --plan`: the steps a net is lowered to, their memory and work. The plan itself is `bncore.plan`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..layers import Layer
    from ..plan import Plan

__all__ = ["add_net", "net_plan", "net_plan_data", "net_plan_text"]

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


def net_plan(args: argparse.Namespace) -> Plan:
    """The net's plan.

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
        return _lower(net, shape, args.inference)
    except Unsupported as error:
        raise ValueError(f"--net: no plan for {args.net} and shape {shape}: {error}") from error


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


def net_plan_data(args: argparse.Namespace, plan: Plan) -> dict[str, Any]:
    """Its steps, memory and work as data."""
    from ..plan.text import shapes

    steps = [
        {
            "step": step.op,
            "layer": step.path,
            "writes": shapes(step),
            "notes": list(step.notes),
            "multiplications": step.work,
            "backward": step.backward,
        }
        for step in plan.steps
    ]
    return {
        "net": args.net,
        "shape": list(plan.x.shape),
        "mode": _mode(args),
        "steps": steps,
        "multiplications": plan.work,
        "bytes": plan.memory,
        "bytes_unshared": plan.unshared,
    }


def net_plan_text(args: argparse.Namespace, plan: Plan) -> str:
    """The same for people."""
    shape = "x".join(map(str, plan.x.shape))
    return f"{args.net}, {_mode(args)}, batches of {shape}\n\n{plan}"


def _mode(args: argparse.Namespace) -> str:
    return "inference" if args.inference else "training"
