"""bncore inspect: a model's norms, where they sit, whether each can be folded, statistics that look wrong."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from .kind_options import add_own, judge_own
from .model_kind import KINDS, kind_of
from .options import add_common, note
from .report import emit_json, table
from .state_pairs import add_pair_options, find_pairs

if TYPE_CHECKING:
    from ..folding.inspection import NormRow

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source",
        metavar="MODEL",
        help="a net saved by bncore (.npz), a state dict (.safetensors, .npz) or an ONNX model (.onnx)",
    )
    add_own(parser, "state", add_pair_options)
    add_common(parser, writes=False)


def run(args: argparse.Namespace) -> int:
    kind = kind_of(args.source)
    judge_own(args, kind)
    rows = {"net": _of_net, "state": _of_state, "onnx": _of_onnx}[kind](args)
    if args.json:
        foldable = sum(row.foldable for row in rows)
        emit_json(
            {
                "command": "inspect",
                "model": args.source,
                "kind": kind,
                "norms": len(rows),
                "foldable": foldable,
                "rows": [row.to_dict() for row in rows],
            }
        )
    else:
        print(_text(rows, kind))
    if kind == "state":
        note(
            args,
            f"a state dict has no graph and no eps: where norms sit is told by names, eps is {args.eps:g}",
        )
    return 0


def _of_net(args: argparse.Namespace) -> list[NormRow]:
    from ..folding.inspection import inspect_net
    from .inputs import load_net

    net, meta = load_net(args.source)
    shape = meta.get("input_shape")  # of one sample
    return inspect_net(net, input_ndim=1 + len(shape) if isinstance(shape, list) else None)


def _of_state(args: argparse.Namespace) -> list[NormRow]:
    from ..folding.state import find_modules
    from ..folding.state.inspect import inspect_state
    from ..io.state_file import open_state

    with open_state(args.source) as state:
        modules = find_modules(state.tensors)
        pairs, kept = find_pairs(args, modules)
        return inspect_state(state, modules, pairs, kept, args.eps)


def _of_onnx(args: argparse.Namespace) -> list[NormRow]:
    from ..folding.onnx.inspect import inspect_model

    return inspect_model(args.source)


def _text(rows: list[NormRow], kind: str) -> str:
    foldable = sum(row.foldable for row in rows)
    lines = [f"{KINDS[kind]}: {len(rows)} norms, {foldable} can be folded"]
    if rows:
        lines.append(table(_cells(rows)))
    odd = [(row.norm, finding) for row in rows for finding in row.findings]
    if odd:
        lines.append("statistics and parameters that deserve a look:")
        lines.append(table((norm, finding.text) for norm, finding in odd))
    return "\n".join(lines)


def _cells(rows: list[NormRow]) -> list[tuple[Any, ...]]:
    return [
        (
            row.norm,
            f"{row.channels or '?'} channels",
            f"after {row.producer}" if row.producer else "",
            f"before {', '.join(row.consumers)}" if row.consumers else "",
            "folds" if row.foldable else "stays",
            row.why,
        )
        for row in rows
    ]
