"""`bncore train` keeps the statistics that fit the training data: the rule, what is said, what is saved."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

import bncore as bn
from bncore.cli import kept
from bncore.training.data import Dataset

from .conftest import Command


@pytest.mark.parametrize(
    ("before", "after", "least", "expected"),
    [
        (0.10, 0.09, 1e-3, False),
        (0.10, 0.1049, 1e-3, False),  # within 5 %
        (0.10, 0.1051, 1e-3, True),
        (1e-4, 1e-3, 1e-3, False),  # ten times as much, but of nothing
        (1e-4, 2e-3, 1e-3, True),
        (0.10, math.nan, 1e-3, True),
        (math.nan, 5.0, 1e-3, False),
        (math.inf, math.nan, 1e-3, False),
        (1e6, 1.04e6, 1e3, False),
    ],
)
def test_a_rise_is_more_than_a_share_and_more_than_nothing(
    before: float, after: float, least: float, expected: bool
) -> None:
    assert kept.rises(before, after, least) is expected


def regression(scale: float, norm: type[bn.BatchNorm]) -> tuple[bn.Layer, Dataset]:
    """Targets are what the net answers with its odd running statistics: as if it had been trained for them."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 5))
    net = bn.Sequential(norm(5, dtype=np.float64), bn.Linear(5, 1, dtype=np.float64, rng=1))
    net[0].set_running(np.full(5, 0.5), np.full(5, 3.0))
    net[1].weight[...] *= scale
    net[1].bias[...] *= scale
    y = net.eval()(x)
    return net, Dataset("made", x[:150], y[:150], x[150:], y[150:], "regression")


@pytest.mark.parametrize("norm", [bn.BatchNorm, bn.BatchRenorm])
@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_a_net_keeps_the_statistics_it_was_trained_for(
    scale: float, norm: type[bn.BatchNorm]
) -> None:
    """Whatever the unit of a regression's targets."""
    net, data = regression(scale, norm)
    chosen, section = kept.choose_statistics(net, data, measure=True)
    assert chosen is net and section["kept"] == "running"
    assert section["train"]["running"]["loss"] < section["train"]["population"]["loss"]
    assert section["before"]["loss"] < section["after"]["loss"]
    np.testing.assert_array_equal(net[0].running_mean, 0.5)
    net[0].set_running(np.full(5, 9.0), np.full(5, 3.0))
    chosen, section = kept.choose_statistics(net, data, measure=True)
    assert chosen is not net and section["kept"] == "population"
    np.testing.assert_allclose(chosen[0].running_mean, data.x_train.mean(axis=0))


def test_running_statistics_that_are_kept_are_said_and_saved(
    call: Command, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "rises", lambda *_: True)
    argv = ("train", images, "--epochs", "2", "--quiet")
    done = call(*argv)
    assert done.code == 0, done.err
    assert "running averages kept, for with statistics of 192 training samples" in done.out
    assert "with these statistics: accuracy" in done.out and "before:" not in done.out
    path = tmp_path / "kept.npz"
    result = call(*argv, "--json", "--out", path).json
    section = result["recalibration"]
    assert section["kept"] == "running" and section["method"] == "sequential" and section["layers"]
    assert result["test_loss"] == section["before"]["loss"] != section["after"]["loss"]
    assert call("eval", path, images, "--json").json["loss"] == pytest.approx(result["test_loss"])
    train = call("eval", path, images, "--split", "train", "--json").json
    assert train["loss"] == pytest.approx(section["train"]["running"]["loss"])


def test_population_statistics_are_kept_by_default(call: Command, images: Path) -> None:
    result = call("train", images, "--epochs", "1", "--json", "--quiet").json
    section = result["recalibration"]
    assert section["kept"] == "population" and result["test_loss"] == section["after"]["loss"]
    assert section["train"]["population"]["loss"] < section["train"]["running"]["loss"]


def test_a_net_without_running_statistics_has_nothing_to_choose(
    call: Command, images: Path
) -> None:
    argv = ("train", images, "--norm", "layer", "--epochs", "1", "--quiet")
    assert "recalibration: no norm with running averages" in call(*argv).out
    section = call(*argv, "--json").json["recalibration"]
    assert section["kept"] == "running" and section["layers"] == []


def test_no_recalibrate_leaves_something_to_find(
    call: Command, images: Path, tmp_path: Path
) -> None:
    path = tmp_path / "raw.npz"
    argv = ("train", images, "--epochs", "1", "--no-recalibrate", "--quiet")
    done = call(*argv)
    assert done.code == 0 and "recalibration: none, running averages as training left" in done.out
    section = call(*argv, "--out", path, "--json").json["recalibration"]
    assert section["kept"] == "running" and section["method"] == "ema" and section["train"] is None
    assert section["before"] == section["after"]
    found = call("diagnose", path, images, "--json", "--quiet").json
    assert not found["healthy"] and found["repairs"][0] == "recalibrate"
