"""`bncore diagnose` on a saved net: healthy as trained, sick as made so; text, JSON and picture."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import bncore as bn
from bncore.cli import diagnose, main
from bncore.statistics.diagnosis.diagnose import METHODS

from .conftest import Command, Trained


@pytest.fixture
def sick(trained: Trained, tmp_path: Path) -> Path:
    """The trained net with wrong statistics in its second norm."""
    net = bn.load(trained.path)
    norms = [layer for _, layer in net.named_layers() if isinstance(layer, bn.BatchNorm)]
    norms[1].set_running(norms[1].running_mean + 3, norms[1].running_var * 20)
    path = tmp_path / "sick.npz"
    bn.save(net, path, meta=bn.load_meta(trained.path))
    return path


def second_norm(path: Path) -> str:
    named = bn.load(path).named_layers()
    return [name for name, layer in named if isinstance(layer, bn.BatchNorm)][1]


def test_a_trained_net_is_healthy(call: Command, trained: Trained) -> None:
    """train recalibrates what it saves."""
    before = trained.path.read_bytes()
    done = call("diagnose", trained.path, trained.data, "--quiet")
    assert done.code == 0 and done.err == ""
    assert "verdict: nothing to do. The running statistics are those of the population" in done.out
    assert "running statistics: distance of means" in done.out
    assert trained.path.read_bytes() == before


def test_a_sick_net_is_told_where_and_what_to_do(
    call: Command, trained: Trained, sick: Path
) -> None:
    done = call("diagnose", sick, trained.data, "--quiet")
    assert done.code == 0
    text = " ".join(done.out.split())
    assert "1. problem: With running statistics accuracy" in text
    assert f"The cause is {second_norm(sick)} BatchNorm(" in text and "repair: recalibrate." in text


def test_batches_are_of_the_size_that_trained(call: Command, images: Path, tmp_path: Path) -> None:
    path = tmp_path / "net.npz"
    assert call("train", images, "--epochs", "1", "--batch-size", "9", "--out", path, "--quiet").code == 0  # fmt: skip
    assert call("diagnose", path, images, "--json", "--quiet").json["batch_size"] == 9
    meta = {k: v for k, v in bn.load_meta(path).items() if k != "batch_size"}
    bn.save(bn.load(path), path, meta=meta, force=True)
    assert call("diagnose", path, images, "--json", "--quiet").json["batch_size"] == 64


def test_json(call: Command, trained: Trained, sick: Path) -> None:
    done = call("diagnose", sick, trained.data, "--json", "--quiet", "--batch-size", "20")
    result = done.json
    assert (result["command"], result["net"], result["plot"]) == ("diagnose", str(sick), None)
    assert result["batch_size"] == 20 and not result["healthy"]
    finding = result["findings"][0]
    assert finding["kind"] == "foreign" and finding["norms"] == [second_norm(sick)]
    assert result["repairs"][0] == "recalibrate"
    scores = {score["statistics"]: score for score in result["scores"]}
    assert set(scores) == {"running", "batch", "sequential", "pooled", "average"}
    shown = call("eval", sick, trained.data, "--json").json
    assert scores["running"]["accuracy"] == pytest.approx(shown["accuracy"])
    json.dumps(result, allow_nan=False)


def test_the_advice_repairs_it(call: Command, trained: Trained, sick: Path, tmp_path: Path) -> None:
    out = tmp_path / "repaired.npz"
    assert call("recalibrate", sick, trained.data, "--out", out, "--quiet").code == 0
    assert call("diagnose", out, trained.data, "--json", "--quiet").json["healthy"]


def test_options(call: Command, trained: Trained) -> None:
    done = call("diagnose", trained.path, trained.data, "--batches", "2", "--batch-size", "16", "--method", "pooled", "--json", "--quiet")  # fmt: skip
    assert (done.json["samples"], done.json["batches"], done.json["method"]) == (32, 2, "pooled")
    assert set(diagnose.METHODS) == set(METHODS)
    assert call("diagnose", trained.path, trained.data, "--method", "ema").code == 2


def test_the_picture(call: Command, trained: Trained, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "net.png"
    done = call("diagnose", trained.path, trained.data, "--plot", path)
    assert done.code == 0 and f"saved {path}" in done.err
    assert path.read_bytes().startswith(b"\x89PNG")
    refused = call("diagnose", trained.path, trained.data, "--plot", path)
    assert refused.code == 2 and "--force" in refused.err and refused.out == ""
    assert call("diagnose", trained.path, trained.data, "--plot", path, "--force", "--quiet").code == 0  # fmt: skip


def test_what_cannot_be_drawn_is_refused_before_measuring(
    call: Command, trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = call("diagnose", trained.path, trained.data, "--plot", tmp_path / "net.jpg")
    assert done.code == 2 and "ends in .png" in done.err and done.out == ""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    done = call("diagnose", trained.path, trained.data, "--plot", tmp_path / "net.png")
    assert done.code == 2 and "bncore[plot]" in done.err and done.out == ""


def test_a_net_without_norms(call: Command, trained: Trained, tmp_path: Path) -> None:
    path = tmp_path / "plain.npz"
    assert call("train", trained.data, "--epochs", "1", "--norm", "none", "--out", path, "--quiet").code == 0  # fmt: skip
    done = call("diagnose", path, trained.data, "--quiet")
    assert done.code == 0 and "no norm with running statistics" in done.out
    done = call("diagnose", path, trained.data, "--plot", tmp_path / "net.png", "--quiet")
    assert done.code == 2 and "plot: this diagnosis has no norm" in done.err


def test_a_regression(call: Command, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    path = tmp_path / "diabetes.npz"
    assert call("train", "diabetes", "--epochs", "2", "--out", path, "--quiet").code == 0
    done = call("diagnose", path, "diabetes", "--quiet")
    assert done.code == 0 and "statistics  loss" in done.out


def test_a_recurrent_net(call: Command, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    path = tmp_path / "lstm.npz"
    assert call("train", "digits", "--net", "lstm", "--epochs", "1", "--out", path, "--quiet").code == 0  # fmt: skip
    done = call("diagnose", path, "digits", "--json", "--quiet")
    assert done.code == 0 and [norm["path"] for norm in done.json["norms"]] == ["1.norm_l0"]


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `bncore train digits` leaves, shortened; an mlp, whose input norm sees every pixel."""
    pytest.importorskip("sklearn")
    path = tmp_path_factory.mktemp("digits") / "mlp.npz"
    options = ["--net", "mlp", "--epochs", "6", "--augment", "none", "--quiet"]
    assert main(["train", "digits", *options, "--out", str(path)]) == 0
    return path


def changed(path: Path, where: str, change: Callable[[bn.BatchNorm], None]) -> Path:
    """The net with one norm changed, in a file beside it."""
    net = bn.load(path)
    change(dict(net.named_layers())[where])
    out = path.with_name("changed.npz")
    bn.save(net, out, meta=bn.load_meta(path), force=True)
    return out


def test_digits_trained_is_healthy_with_pixels_that_never_change(
    call: Command, digits: Path
) -> None:
    result = call("diagnose", digits, "digits", "--json", "--quiet").json
    assert result["healthy"] and [f["kind"] for f in result["findings"]] == ["constant"]
    assert "1: 3 of 64 channels (0, 32, 39)" in result["findings"][0]["text"]


def test_digits_in_batches_of_four(call: Command, digits: Path) -> None:
    done = call("diagnose", digits, "digits", "--batch-size", "4", "--json", "--quiet").json
    noise = next(f for f in done["findings"] if f["kind"] == "noise")
    assert "Batches of 4 are small: in 1 means scatter by 0.50 std" in noise["text"]
    # whether recalibrating helps, too, is up to the last digits of the training run
    assert noise["repairs"] in (["batch size", "renorm"], ["batch size", "renorm", "recalibrate"])


def test_digits_with_one_wrong_norm(call: Command, digits: Path) -> None:
    def overwrite(norm: bn.BatchNorm) -> None:
        norm.set_running(norm.running_mean + 5, norm.running_var * 10)

    done = call("diagnose", changed(digits, "3", overwrite), "digits", "--json", "--quiet").json
    assert done["findings"][0]["kind"] == "foreign" and done["findings"][0]["norms"] == ["3"]
    norm = next(n for n in done["norms"] if n["path"] == "3")
    assert norm["closes"] > 0.99 and done["scores"][0]["accuracy"] < 0.8


def test_digits_with_dead_channels(call: Command, digits: Path) -> None:
    def kill(norm: bn.BatchNorm) -> None:
        norm.weight[[7, 70]] = 0

    done = call("diagnose", changed(digits, "5", kill), "digits", "--json", "--quiet").json
    dead = [f for f in done["findings"] if f["kind"] == "dead"]
    assert [f["norms"] for f in dead] == [["5"]] and "2 of 128 channels (7, 70)" in dead[0]["text"]


def test_digits_with_dropout_before_a_norm(call: Command, digits: Path) -> None:
    net = bn.load(digits)
    net.insert(4, bn.Dropout(0.5))
    path = digits.with_name("dropout.npz")
    bn.save(net, path, meta=bn.load_meta(digits), force=True)
    done = call("diagnose", path, "digits", "--json", "--quiet").json
    finding = next(f for f in done["findings"] if f["kind"] == "dropout")
    assert finding["norms"] == ["6"] and "4 Dropout(0.5) through 5 Linear" in finding["text"]
    effect = next(n for n in done["norms"] if n["path"] == "6")["dropout"]
    assert effect["measured"] == pytest.approx(effect["predicted"], rel=0.03)
    assert effect["measured"] < 0.85
