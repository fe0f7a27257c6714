"""`bncore eval` and `bncore recalibrate` on a saved net."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import bncore as bn

from .conftest import Command, Trained


def test_eval_agrees_with_train(call: Command, trained: Trained) -> None:
    """Also without --seed: the file knows how the data were split, so that no training sample is tested on."""
    done = call("eval", trained.path, trained.data, "--json")
    assert done.code == 0, done.err
    assert done.json["accuracy"] == pytest.approx(trained.result["test_accuracy"])
    assert done.json["loss"] == pytest.approx(trained.result["test_loss"])
    assert done.json["samples"] == trained.result["data"]["test"]


def test_eval_splits(call: Command, trained: Trained) -> None:
    count = {
        split: call("eval", trained.path, trained.data, "--split", split, "--json").json["samples"]
        for split in ("train", "test", "all")
    }
    assert count["train"] + count["test"] == count["all"] == 240


def test_eval_text(call: Command, trained: Trained) -> None:
    done = call("eval", trained.path, trained.data)
    assert done.code == 0 and "accuracy" in done.out and done.err == ""


@pytest.mark.parametrize("method", ["sequential", "pooled", "average", "ema"])
def test_recalibrate(call: Command, trained: Trained, tmp_path: Path, method: str) -> None:
    before = trained.path.read_bytes()
    out = tmp_path / "new.npz"
    done = call(
        "recalibrate",
        trained.path,
        trained.data,
        "--method",
        method,
        "--out",
        out,
        "--json",
        "--quiet",
    )
    assert done.code == 0, done.err
    result = done.json
    assert result["method"] == method
    assert {"loss", "accuracy"} <= set(result["before"]) and {"loss", "accuracy"} <= set(
        result["after"]
    )
    assert result["before"]["loss"] == pytest.approx(trained.result["test_loss"])
    assert trained.path.read_bytes() == before
    assert call("eval", out, trained.data, "--json").json["loss"] == pytest.approx(
        result["after"]["loss"]
    )


def test_sequential_measures_what_evaluation_computes(
    call: Command, trained: Trained, tmp_path: Path
) -> None:
    """train has done it already: doing it again changes nothing but the last digits."""
    out = tmp_path / "new.npz"
    assert call("recalibrate", trained.path, trained.data, "--out", out, "--quiet").code == 0
    old, new = bn.load(trained.path).state_dict(), bn.load(out).state_dict()
    for name in old:
        np.testing.assert_allclose(new[name], old[name], rtol=1e-4, atol=1e-5, err_msg=name)


def test_recalibrate_refuses_to_overwrite(call: Command, trained: Trained) -> None:
    done = call("recalibrate", trained.path, trained.data, "--out", trained.path)
    assert done.code == 2 and "--force" in done.err
