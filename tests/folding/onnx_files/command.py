"""The command as it will be called, with a stand-in for the engine: the options of the dispatcher and of ONNX files."""

from __future__ import annotations

from typing import Any

import pytest

from bncore import cli
from bncore.cli import fold_onnx
from bncore.cli.options import Parser, add_common, non_negative, non_negative_int


def run_with(fold: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """``main(argv)`` of a `bncore` whose command fold is fold_onnx with this engine."""

    class Command:
        """bncore fold: stand-in for the dispatcher."""

        @staticmethod
        def add_arguments(parser: Parser) -> None:
            parser.add_argument("source", metavar="IN")
            parser.add_argument("out", metavar="OUT", nargs="?")
            parser.add_argument("--dry-run", action="store_true")
            parser.add_argument("--seed", type=non_negative_int)
            parser.add_argument("--rtol", type=non_negative)
            parser.add_argument("--atol", type=non_negative)
            add_common(parser)
            fold_onnx.add_arguments(parser)

        @staticmethod
        def run(args: Any) -> int:
            return fold_onnx.run(args, fold=fold)

    monkeypatch.setitem(cli._COMMANDS, "fold", Command)
    return cli.main
