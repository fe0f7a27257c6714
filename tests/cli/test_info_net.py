"""`bncore info --net NET --plan`: the steps of a net, in words and as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import bncore as bn

from .conftest import Command

native = pytest.mark.usefixtures("native")


@native
@pytest.mark.parametrize(
    "net", ["mlp", "cnn", "resnet20", "inception_small", "separable", "recurrent"]
)
@pytest.mark.parametrize("inference", [False, True])
def test_every_reference_net_has_a_plan(call: Command, net: str, inference: bool) -> None:
    how = ["--inference"] if inference else []
    done = call("info", "--net", net, "--plan", *how)
    assert done.code == 0, done.err
    assert done.out.startswith(f"{net}, {'inference' if inference else 'training'}, batches of ")
    assert "million multiplications" in done.out
    assert ("_backward" in done.out) is not inference


@native
def test_text_says_what_is_fused(call: Command) -> None:
    done = call("info", "--net", "resnet20", "--plan", "8x3x16x16")
    assert "batches of 8x3x16x16" in done.out
    for words in ("measures for 2.main.1", "reads through 2.main.1 + ReLU", "sums for 2.main.1"):
        assert words in done.out


@native
def test_json_has_steps_memory_and_work(call: Command) -> None:
    done = call("info", "--net", "cnn", "--plan", "16x1x8x8", "--json")
    found = json.loads(done.out)
    assert found["shape"] == [16, 1, 8, 8]
    assert 0 < found["bytes"] < found["bytes_unshared"]
    assert found["multiplications"] == sum(row["multiplications"] for row in found["steps"])
    assert {"step", "layer", "writes", "notes", "backward"} <= found["steps"][0].keys()


@native
def test_a_net_from_a_file(call: Command, tmp_path: Path) -> None:
    path = tmp_path / "net.npz"
    bn.save(bn.nets.cnn(1, 10), path)
    assert call("info", "--net", str(path), "--plan", "4x1x8x8").code == 0
    done = call("info", "--net", str(path), "--plan")
    assert done.code == 2 and "needs a SHAPE" in done.err
    done = call("info", "--net", str(path), "--plan", "4x2x8x8")
    assert done.code == 2 and "no plan" in done.err


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--net", "cnn"], "--plan, which is missing"),
        (["--inference"], "--plan, which is missing"),
        (["--plan"], "needs a SHAPE"),
        (["--net", "there-is-none.npz", "--plan", "2x3"], "there-is-none.npz"),
    ],
)
def test_what_is_missing_is_said(call: Command, argv: list[str], words: str) -> None:
    done = call("info", *argv)
    assert done.code == 2
    assert words in done.err
