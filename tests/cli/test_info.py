"""`bncore info`: who computes, with what, and why."""

from __future__ import annotations

import pytest

import bncore as bn

from .conftest import Command


def test_json(call: Command) -> None:
    done = call("info", "--json")
    assert done.code == 0, done.err
    result = done.json
    assert result["version"] == bn.__version__
    assert result["backend"] in ("native", "numpy")
    assert result["cpus"] >= 1
    pools = result["thread_pools"]
    assert all({"user_api", "num_threads", "filepath"} <= set(pool) for pool in pools)
    assert any(pool["user_api"] == "blas" for pool in pools)


def test_the_numpy_backend_says_so(shell: Command) -> None:
    result = shell("info", "--json", BNCORE_BACKEND="numpy").json
    assert result["backend"] == "numpy"
    assert result["environment"]["BNCORE_BACKEND"] == "numpy"
    assert result["why"] == "BNCORE_BACKEND=numpy"


def test_a_missing_extension_is_said(call: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"backend": "numpy", "available": ["numpy"], "reason": "no compiler", "build": {}}
    monkeypatch.setattr("bncore.backend.info", lambda: found)
    monkeypatch.delenv("BNCORE_BACKEND", raising=False)
    for done in (call("info"), call("info", "--json")):
        assert "pure NumPy" in done.out and "no compiler" in done.out


def test_an_unknown_backend_is_one_line(shell: Command) -> None:
    done = shell("info", BNCORE_BACKEND="abacus")
    assert done.code == 2
    assert len(done.err.splitlines()) == 1 and "abacus" in done.err


def test_text(call: Command) -> None:
    done = call("info")
    assert done.code == 0
    for word in ("version", "backend", "cpus", "blas threads"):
        assert word in done.out


def test_version(shell: Command) -> None:
    done = shell("--version")
    assert (done.code, done.out.strip()) == (0, f"bncore {bn.__version__}")


def test_help_lists_every_command(shell: Command) -> None:
    done = shell("--help")
    assert done.code == 0
    for command in ("train", "eval", "recalibrate", "fold", "info"):
        assert command in done.out
