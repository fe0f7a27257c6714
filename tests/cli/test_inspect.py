"""`bncore inspect`: every norm with its place, whether it folds, and what looks wrong, for nets and state dicts."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import numpy as np
import pytest

import bncore as bn
from bncore.folding.inspection import NormRow, inspect_net

from .conftest import Command, Trained
from .state_files import arrays, write
from .test_errors import assert_refused


def test_a_trained_net(call: Command, trained: Trained) -> None:
    result = call("inspect", trained.path, "--json").json
    net = bn.load(trained.path)
    norms = [path for path, layer in net.named_layers() if isinstance(layer, bn.BatchNorm)]
    assert [row["norm"] for row in result["rows"]] == norms
    assert result["kind"] == "net" and result["norms"] == len(norms)
    assert result["foldable"] == trained.result["fold"]["norms_folded"]
    assert all(row["producer"] and row["consumers"] and row["why"] for row in result["rows"])
    text = call("inspect", trained.path).out
    assert text.startswith(
        f"a net saved by bncore: {len(norms)} norms, {result['foldable']} can be"
    )


def test_places_and_reasons_in_a_net() -> None:
    net = bn.Sequential(
        bn.BatchNorm(4), bn.Linear(4, 8, rng=0), bn.ReLU(), bn.BatchNorm(8), bn.ReLU(), bn.LayerNorm(8)
    )  # fmt: skip
    first, second, third = inspect_net(net)
    assert (first.norm, first.producer, first.consumers) == (
        "0",
        "the net's input",
        ["1 Linear(4, 8)"],
    )
    assert first.foldable and first.why == "into 1 (BatchNorm → Linear)"
    assert second.producer.startswith("2 ReLU") and second.consumers[0].startswith("4 ReLU")
    assert not second.foldable and "which is not linear" in second.why
    assert (third.op, third.consumers, third.findings) == ("LayerNorm", ["the net's output"], [])
    assert [finding.code for finding in first.findings] == ["never_updated"]


def test_norms_inside_recurrent_layers_and_other_kinds() -> None:
    net = bn.Sequential(
        bn.GRU(3, 4, norm="batch", rng=0), bn.BatchRenorm(4), bn.Linear(4, 2, rng=0)
    )
    rows = inspect_net(net)
    assert [row.op for row in rows][-1] == "BatchRenorm"
    assert all(row.norm.startswith("0.") and row.producer == "0" for row in rows[:-1])
    assert rows[0].foldable


def test_a_state_dict(call: Command, tmp_path: Path) -> None:
    state = arrays()
    state["bn2.running_var"][1] = 1e-12
    state["bn2.weight"][0] = 0
    path = write(tmp_path / "s.safetensors", state)
    rows = call("inspect", path, "--json", "--quiet").json["rows"]
    assert [(r["norm"], r["producer"], r["foldable"], r["channels"]) for r in rows] == [
        ("bn1", "conv1", True, 8),
        ("bn2", "conv2", True, 4),
    ]
    codes = {entry["code"]: entry["channels"] for entry in rows[1]["findings"]}
    assert codes == {"near_zero_variance": 1, "dead_channels": 1}
    done = call("inspect", path)
    assert "1 of 4 channels: running_var not above eps" in done.out and "told by names" in done.err


def test_pairs_and_their_options_are_those_of_fold(call: Command, tmp_path: Path) -> None:
    state = arrays() | {"fc.weight": np.ones((2, 4), np.float32)}
    path = write(tmp_path / "s.npz", state)
    rows = call("inspect", path, "--json", "--pairs", "bn2 -> fc").json["rows"]
    assert rows[0]["why"] == "no pair names it" and rows[0]["producer"] == ""
    assert rows[1]["consumers"] == ["fc"] and rows[1]["why"].startswith("into fc (norm → linear")


def test_norms_without_statistics_are_listed(call: Command, tmp_path: Path) -> None:
    path = write(
        tmp_path / "s.npz", {f"ln.{m}": np.ones(3, np.float32) for m in ("weight", "bias")}
    )
    (row,) = call("inspect", path, "--json").json["rows"]
    assert row["channels"] is None and row["why"].startswith("it has no running statistics")
    assert "stays" in call("inspect", path).out


def test_a_model_without_norms(call: Command, tmp_path: Path) -> None:
    bn.save(bn.Linear(2, 2, rng=0), tmp_path / "net.npz")
    assert (
        call("inspect", tmp_path / "net.npz").out
        == "a net saved by bncore: 0 norms, 0 can be folded\n"
    )


def test_onnx_models_are_left_to_their_own_part(
    call: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in = types.ModuleType("bncore.folding.onnx.inspect")
    stand_in.inspect_model = lambda path: [NormRow("bn", "BatchNormalization", 3, "Conv", ["Relu"])]
    monkeypatch.setitem(sys.modules, "bncore.folding.onnx", types.ModuleType("bncore.folding.onnx"))
    monkeypatch.setitem(sys.modules, "bncore.folding.onnx.inspect", stand_in)
    (tmp_path / "m.onnx").write_bytes(b"")
    (row,) = call("inspect", tmp_path / "m.onnx", "--json").json["rows"]
    assert row["norm"] == "bn" and row["consumers"] == ["Relu"]


def test_bad_input_is_one_line(call: Command, tmp_path: Path) -> None:
    bn.save(bn.Linear(2, 2, rng=0), tmp_path / "net.npz")
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04")
    assert_refused(call("inspect", tmp_path / "nothing.npz"), "nothing.npz")
    assert_refused(call("inspect", tmp_path / "bad.npz"), "bad.npz")
    assert_refused(call("inspect", tmp_path / "net.npz", "--eps", "1"), "--eps is for a state dict")
    assert_refused(call("inspect"), "MODEL")
