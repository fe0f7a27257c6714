"""bncore fold IN.safetensors OUT.safetensors: what the command does with state dicts; fold.py has the common options.

Finds pairs, folds them, checks every pair in float64, saves if all agree.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, Any

from ..thread_limits import threads
from .options import note
from .report import emit_json, table
from .state_pairs import add_pair_options, find_pairs

if TYPE_CHECKING:
    from ..folding.state import StateFold

__all__ = ["add_arguments", "run"]

KEEP_NORM = ("identity", "drop")


def add_arguments(parser: argparse._ActionsContainer) -> None:
    """The options that only state dicts have."""
    add_pair_options(parser)
    parser.add_argument(
        "--keep-norm",
        choices=KEEP_NORM,
        default="identity",
        help="leave norms that change nothing, so that the unchanged module loads the result (identity, the default), "
        "or leave their tensors out, for a module without them and with biases (drop)",
    )


def run(args: argparse.Namespace) -> int:
    from ..folding.state import find_modules, fold_state
    from ..io.state_file import judge_state_target, open_state, save_state
    from ..support.files import check_target

    if not args.dry_run:
        _judge_target(args)
        check_target(args.out, args.force)
    with open_state(args.source) as state:
        pairs, kept = find_pairs(args, find_modules(state.tensors))
        with threads(1):  # many small products: more threads would wait for each other
            folded = fold_state(
                state,
                pairs,
                kept,
                eps=args.eps,
                keep_norm=args.keep_norm,
                rtol=args.rtol,
                atol=args.atol,
                seed=args.seed or 0,
            )
        section = _section(folded)
        written = section["agree"] and not args.dry_run
        if not args.dry_run:
            judge_state_target(args.out, folded.state.tensors)
        if written:
            new = folded.state
            save_state(args.out, new.tensors, new.read, metadata=new.metadata, force=args.force)
        lost = written and state.metadata and args.out.lower().endswith(".npz")
    result: dict[str, Any] = {
        "command": "fold",
        "source": args.source,
        "out": args.out if written else None,
        "pairs": args.pairs,
        "eps": args.eps,
        "keep_norm": args.keep_norm,
        "fold": section,
    }
    if args.json:
        emit_json(result)
    else:
        print(_text(section))
    if not section["agree"]:
        wrong = ", ".join(item["path"] for item in section["folded"] if not item["agrees"])
        print(
            f"bncore: folded and unfolded differ by more than rounding at {wrong}; nothing was saved",
            file=sys.stderr,
        )
        return 1
    _remark(args, section, bool(lost))
    note(args, f"saved {args.out}" if written else "dry run: nothing was written")
    return 0


def _judge_target(args: argparse.Namespace) -> None:
    if os.path.exists(args.out) and os.path.samefile(args.source, args.out):
        raise ValueError(f"{args.out}: IN is never written to, give another file")


def _remark(args: argparse.Namespace, section: dict[str, Any], lost: bool) -> None:
    """What a state dict cannot tell, and what was assumed."""
    if not section["folded"] and not section["kept"]:
        note(args, "no norms: nothing is called running_mean and running_var")
    doubtful = sum("--kind" in item["why"] for item in section["kept"])
    if doubtful:
        note(
            args,
            f"{doubtful} norms stay because shapes do not tell transposed convolutions from others: "
            "--kind '*=conv' if the model has none",
        )
    how = "pairs were found by names and shapes" if args.pairs == "auto" else "pairs are as given"
    note(
        args,
        f"a state dict has no graph and no eps: {how}, eps is {args.eps:g} where no pair says another; "
        "compare the model's outputs once",
    )
    if lost:
        note(args, "the metadata of the file is gone: .npz has no room for it")


def _section(folded: StateFold) -> dict[str, Any]:
    """What became of every norm, for --json."""
    section = folded.report.to_dict()
    for item in section["folded"]:
        check = folded.checks[item["path"]]
        item |= {**check._asdict(), "identity_error": folded.off.get(item["path"], 0.0)}
    largest = [item["max_abs_error"] for item in section["folded"]]
    section["max_abs_error"] = max(largest, default=0.0)
    section["agree"] = all(item["agrees"] for item in section["folded"])
    return section


def _text(section: dict[str, Any]) -> str:
    """The same for people."""
    rows = []
    for item in section["folded"]:
        off = item["identity_error"]
        rule = item["rule"] + (f"; the norm's scale is {off:.1g} off 1" if off else "")
        rows.append(
            (item["path"], "folded into", item["into"], f"{item['max_abs_error']:.1e}", rule)
        )
    rows += [(item["path"], "kept", "", "", item["why"]) for item in section["kept"]]
    lines = [f"folding: {section['norms_folded']} norms folded, {section['norms_left']} left"]
    if rows:
        lines.append(table(rows))
    if section["folded"]:
        lines.append(
            f"  largest |folded - unfolded| of a pair on random patches, in float64: {section['max_abs_error']:.2g}"
        )
    return "\n".join(lines)
