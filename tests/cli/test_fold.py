"""`bncore fold`: the same answers from fewer layers, or no file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import bncore as bn

from .conftest import Command, Trained


@pytest.mark.parametrize("check", [True, False], ids=["on data", "on random inputs"])
def test_the_folded_net_answers_the_same(
    call: Command, trained: Trained, tmp_path: Path, check: bool
) -> None:
    out = tmp_path / "folded.npz"
    done = call(
        "fold", trained.path, "--out", out, "--json", *(["--check", trained.data] if check else [])
    )
    assert done.code == 0, done.err
    result = done.json
    assert result["fold"]["agree"] is True
    assert result["out"] == str(out)
    assert result["fold"]["norms_folded"] == trained.result["fold"]["norms_folded"]
    assert result["fold"]["max_abs_error"] < 1e-4
    x = bn.data.load(trained.data).x_test
    np.testing.assert_allclose(bn.load(out)(x), bn.load(trained.path)(x), rtol=1e-4, atol=1e-4)


def test_every_norm_is_accounted_for(call: Command, trained: Trained, tmp_path: Path) -> None:
    done = call("fold", trained.path, "--out", tmp_path / "f.npz", "--json")
    fold = done.json["fold"]
    norms = [
        path
        for path, layer in bn.load(trained.path).named_layers()
        if type(layer).__name__ == "BatchNorm"
    ]
    told = [item["path"] for item in fold["folded"]] + [item["path"] for item in fold["kept"]]
    assert len(told) == len(norms)
    assert all(item["why"] for item in fold["kept"])


def test_folding_twice_finds_nothing_more(call: Command, trained: Trained, tmp_path: Path) -> None:
    first = call("fold", trained.path, "--out", tmp_path / "a.npz", "--json").json["fold"]
    second = call("fold", tmp_path / "a.npz", "--out", tmp_path / "b.npz", "--json").json["fold"]
    assert second["norms_folded"] == 0
    assert second["norms_left"] == first["norms_left"]


def test_text_names_each_norm(call: Command, trained: Trained, tmp_path: Path) -> None:
    done = call("fold", trained.path, "--out", tmp_path / "f.npz")
    assert done.code == 0
    assert "folded into" in done.out and "largest |folded - unfolded|" in done.out
    assert "saved" in done.err


def test_disagreement_saves_nothing(
    call: Command, trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fold_net = bn.folding.fold_net

    def wrong(net: object, **options: object) -> object:
        folded, report = fold_net(net, **options)
        state = folded.state_dict()
        folded.load_state_dict({name: array * 1.01 for name, array in state.items()})
        return folded, report

    monkeypatch.setattr(bn.folding, "fold_net", wrong)
    out = tmp_path / "folded.npz"
    done = call("fold", trained.path, "--out", out, "--json")
    assert done.code == 1
    assert done.json["fold"]["agree"] is False
    assert done.json["out"] is None
    assert "nothing was saved" in done.err
    assert not out.exists()


def test_no_overwriting_without_force(call: Command, trained: Trained, tmp_path: Path) -> None:
    out = tmp_path / "f.npz"
    out.write_text("precious")
    assert call("fold", trained.path, "--out", out).code == 2
    assert out.read_text() == "precious"
    assert call("fold", trained.path, "--out", out, "--force").code == 0
    assert bn.load(out) is not None


def test_a_net_whose_file_says_no_shape(call: Command, trained: Trained, tmp_path: Path) -> None:
    bn.save(bn.load(trained.path), tmp_path / "bare.npz")
    done = call("fold", tmp_path / "bare.npz", "--out", tmp_path / "f.npz")
    assert done.code == 2 and "--input-shape" in done.err and "--check" in done.err
    done = call(
        "fold", tmp_path / "bare.npz", "--out", tmp_path / "f.npz", "--input-shape", "1,6,6"
    )
    assert done.code == 0, done.err
    done = call("fold", tmp_path / "bare.npz", "--out", tmp_path / "g.npz", "--input-shape", "1,x")
    assert done.code == 2 and "--input-shape" in done.err


def test_an_mlp_says_its_shape_itself(call: Command, tmp_path: Path) -> None:
    net = bn.Sequential(
        bn.BatchNorm(4),
        bn.Linear(4, 8, rng=0),
        bn.BatchNorm(8, activation="relu"),
        bn.Linear(8, 2, rng=1),
    )
    bn.save(net, tmp_path / "mlp.npz")
    done = call("fold", tmp_path / "mlp.npz", "--out", tmp_path / "f.npz", "--json")
    assert done.code == 0, done.err
    assert done.json["fold"]["norms_left"] == 0
