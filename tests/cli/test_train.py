"""`bncore train`: what it prints, what it saves, and what it refuses before it starts."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

import bncore as bn
import bncore.backend

from .conftest import Command, Trained


def test_json_holds_what_scripts_rely_on(trained: Trained) -> None:
    result = trained.result
    assert result["epochs"] == 3
    assert 0.9 < result["test_accuracy"] <= 1.0
    assert result["seconds"] > 0.0
    fold = result["fold"]
    assert isinstance(fold["norms_folded"], int) and isinstance(fold["norms_left"], int)
    assert fold["norms_folded"] >= 1
    assert fold["norms_left"] == len(fold["kept"]) and fold["norms_folded"] == len(fold["folded"])
    assert fold["agree"] is True
    assert 0.0 <= fold["max_abs_error"] < 1e-5
    latency = result["latency_us"]
    assert latency["batch_size"] == 1 and latency["batched"]["batch_size"] == 64
    assert (
        min(
            latency["before"],
            latency["after"],
            latency["batched"]["before"],
            latency["batched"]["after"],
        )
        > 0.0
    )
    assert {"method", "samples", "layers", "before", "after"} <= set(result["recalibration"])


def test_the_saved_net_does_what_train_reported(trained: Trained) -> None:
    net = bn.load(trained.path)
    data = bn.data.load(trained.data, seed=5)
    accuracy = float(np.mean(net(data.x_test).argmax(axis=1) == data.y_test))
    assert accuracy == pytest.approx(trained.result["test_accuracy"])
    assert bn.load_meta(trained.path)["input_shape"] == [1, 6, 6]


def test_text_for_people_on_stdout_and_progress_on_stderr(shell: Command, images: Path) -> None:
    done = shell("train", images, "--epochs", "1")
    assert done.code == 0, done.err
    for expected in (
        "test accuracy",
        "before:",
        "after:",
        "folded into",
        "largest |folded - unfolded|",
        "µs",
    ):
        assert expected in done.out
    assert "training" in done.err


def test_quiet_says_nothing_but_the_result(shell: Command, images: Path) -> None:
    done = shell("train", images, "--epochs", "1", "--quiet")
    assert done.code == 0
    assert done.err == ""
    assert "test accuracy" in done.out


def test_same_seed_same_net_whatever_the_threads(
    call: Command, images: Path, tmp_path: Path
) -> None:
    if bn.backend.active.NAME == "numpy":
        pytest.skip("BLAS decides how NumPy's sums are split among threads")
    losses = []
    for threads in ("1", "2"):
        done = call(
            "train",
            images,
            "--epochs",
            "1",
            "--seed",
            "3",
            "--threads",
            threads,
            "--json",
            "--quiet",
        )
        losses.append((done.json["test_loss"], done.json["train_loss"]))
    assert losses[0] == losses[1]


@pytest.mark.parametrize("net", ["mlp", "cnn"])
@pytest.mark.parametrize("norm", ["batch", "none"])
def test_every_small_net_trains(call: Command, images: Path, net: str, norm: str) -> None:
    done = call(
        "train",
        images,
        "--net",
        net,
        "--norm",
        norm,
        "--lr",
        "0.02",
        "--epochs",
        "1",
        "--json",
        "--quiet",
    )
    assert done.code == 0, done.err
    fold = done.json["fold"]
    # an mlp's raw inputs are standardized by a norm in any case
    assert fold["norms_folded"] + fold["norms_left"] == {"mlp": 1, "cnn": 0}[net] + 3 * (
        norm == "batch"
    ) - (net == "mlp" and norm == "batch")
    assert math.isfinite(done.json["test_loss"])


@pytest.mark.parametrize(
    "options",
    [
        ["--optimizer", "adamw"],
        ["--schedule", "step"],
        ["--dtype", "float64"],
        ["--clip-norm", "1"],
    ],
)
def test_options_reach_the_training(call: Command, images: Path, options: list[str]) -> None:
    done = call("train", images, "--net", "mlp", "--epochs", "1", "--json", "--quiet", *options)
    assert done.code == 0, done.err
    if "float64" in options:
        assert done.json["fold"]["max_abs_error"] < 1e-12


def test_regression_from_a_csv_file(call: Command, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 3))
    # a price far from zero: targets are standardized in training, answers are prices again
    rows = np.column_stack([x, 1e4 + 500.0 * (x @ [1.0, -2.0, 0.5])])
    path = tmp_path / "table.csv"
    np.savetxt(path, rows, delimiter=",", header="a,b,c,price", comments="")
    done = call(
        "train",
        path,
        "--target",
        "price",
        "--epochs",
        "20",
        "--json",
        "--quiet",
        "--out",
        tmp_path / "r.npz",
    )
    assert done.code == 0, done.err
    assert done.json["test_accuracy"] is None
    assert done.json["test_r2"] > 0.8
    again = call("eval", tmp_path / "r.npz", path, "--target", "price", "--json")
    assert again.json["loss"] == pytest.approx(done.json["test_loss"])


def test_history_as_json(call: Command, images: Path, tmp_path: Path) -> None:
    done = call(
        "train", images, "--epochs", "2", "--history", tmp_path / "h.json", "--quiet", "--json"
    )
    assert done.code == 0, done.err
    epochs = json.loads((tmp_path / "h.json").read_text())["epochs"]
    assert [record["epoch"] for record in epochs] == [1, 2]


def test_history_as_a_plot(call: Command, images: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    done = call(
        "train", images, "--epochs", "1", "--history", tmp_path / "h.png", "--quiet", "--json"
    )
    assert done.code == 0, done.err
    assert (tmp_path / "h.png").read_bytes().startswith(b"\x89PNG")


def test_early_stopping_needs_something_to_watch(call: Command, images: Path) -> None:
    done = call("train", images, "--patience", "2")
    assert done.code == 2 and "--validation" in done.err
    done = call(
        "train",
        images,
        "--patience",
        "1",
        "--validation",
        "0.2",
        "--epochs",
        "3",
        "--json",
        "--quiet",
    )
    assert done.code == 0, done.err
    assert 1 <= done.json["epochs"] <= 3


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def fit(*args: object, **kwargs: object) -> None:
        raise AssertionError("training started although its output cannot be written")

    monkeypatch.setattr(bn.training, "fit", fit)


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize("option", ["--out", "--history"])
class TestOutputsAreTriedBeforeTraining:
    def test_no_overwriting_without_force(
        self, call: Command, images: Path, tmp_path: Path, option: str
    ) -> None:
        path = tmp_path / "taken.json"
        path.write_text("precious")
        done = call("train", images, option, path)
        assert done.code == 2
        assert str(path) in done.err and "--force" in done.err
        assert path.read_text() == "precious"

    def test_missing_folder(self, call: Command, images: Path, tmp_path: Path, option: str) -> None:
        done = call("train", images, option, tmp_path / "nowhere" / "file.json")
        assert done.code == 2 and "nowhere" in done.err

    def test_a_folder_for_a_file(
        self, call: Command, images: Path, tmp_path: Path, option: str
    ) -> None:
        done = call("train", images, option, tmp_path)
        assert done.code == 2 and "folder" in done.err

    @pytest.mark.skipif(
        not Path("/proc/self").is_dir(), reason="needs a folder nobody can write to"
    )
    def test_unwritable_folder(self, call: Command, images: Path, option: str) -> None:
        done = call("train", images, option, "/proc/self/file.json")
        assert done.code == 2 and "/proc/self/file.json" in done.err


@pytest.mark.usefixtures("no_training")
def test_a_plot_needs_matplotlib_before_training(
    call: Command, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    done = call("train", images, "--history", tmp_path / "h.png")
    assert done.code == 2 and "bncore[plot]" in done.err


@pytest.mark.usefixtures("no_training")
def test_history_in_an_unknown_format(call: Command, images: Path, tmp_path: Path) -> None:
    done = call("train", images, "--history", tmp_path / "h.docx")
    assert done.code == 2 and ".json or .png" in done.err


def test_force_overwrites(call: Command, images: Path, tmp_path: Path) -> None:
    path = tmp_path / "net.npz"
    path.write_text("old")
    done = call(
        "train", images, "--net", "mlp", "--epochs", "1", "--out", path, "--force", "--quiet"
    )
    assert done.code == 0, done.err
    assert bn.load(path) is not None


@pytest.mark.parametrize("norm", [name for name in bn.nets.NORMS if name not in ("batch", "none")])
def test_every_norm_trains_with_small_batches(norm: str, call: Command, images: Path) -> None:
    argv = ("--norm", norm, "--batch-size", "4", "--epochs", "4", "--lr", "0.02")
    done = call("train", images, *argv, "--json", "--quiet")
    assert done.code == 0, done.err
    result = json.loads(done.out)
    assert result["test_accuracy"] > 0.9
    assert result["fold"]["agree"] is True
    assert result["fold"]["norms_left"] == (0 if norm == "renorm" else 3)


def test_a_norm_that_makes_no_sense_is_one_line(call: Command) -> None:
    pytest.importorskip("sklearn")
    done = call("train", "iris", "--norm", "instance", "--quiet")
    assert done.code == 2
    assert "'instance'" in done.err
    assert len(done.err.splitlines()) == 1
