"""Without onnx and ONNX Runtime there is nothing to test here."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

collect_ignore_glob = [] if find_spec("onnx") and find_spec("onnxruntime") else ["test_*.py"]


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Any]:
    """`bncore fold` with the stand-in for the engine, or another one; gives (code, stdout, stderr)."""
    from .command import run_with
    from .standin import fold_model

    def call(*argv: object, fold: Any = fold_model) -> tuple[int, str, str]:
        capfd.readouterr()
        code = run_with(fold, monkeypatch)(["fold", *map(str, argv)])
        return (code, *capfd.readouterr())

    return call


@pytest.fixture
def refused(command: Callable[..., Any], tmp_path: Path) -> Callable[..., str]:
    """The one line with which a file is refused; nothing may appear beside it."""

    def call(source: Path, *options: object) -> str:
        before = sorted(tmp_path.rglob("*"))
        code, out, err = command(source, tmp_path / "out.onnx", *options)
        assert code == 2, (code, out, err)
        assert out == ""
        assert len(err.splitlines()) == 1, err
        assert "Traceback" not in err
        assert sorted(tmp_path.rglob("*")) == before
        return err

    return call
