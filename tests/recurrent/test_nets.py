"""Recurrent layers in nets: the reference net trains, folds, is recalibrated and saved; the command line knows it."""

from __future__ import annotations

import json

import numpy as np
import pytest

import bncore as bn
from bncore.cli import main
from bncore.training import recipes

KINDS = ("lstm", "gru", "rnn")
kinds = pytest.mark.parametrize("kind", KINDS)


def small(kind="lstm", norm="batch", **options):
    """A net with statistics and norm parameters that are not their start."""
    net = bn.nets.recurrent(
        4,
        3,
        5,
        kind=kind,
        norm=norm,
        **{"num_layers": 2, "bidirectional": True, "rng": 0, **options},
    )
    rng = np.random.default_rng(1)
    state = net.state_dict()
    for key, value in state.items():
        if key.endswith(("running_var", "running_std")):
            value[...] = rng.uniform(0.5, 2, value.shape)
        elif "norm" in key and value.ndim:
            value += rng.standard_normal(value.shape).astype(value.dtype)
    net.load_state_dict(state)
    x = (3 + rng.standard_normal((8, 6, 4))).astype(np.float32)
    return net.eval(), x


# ---- training


@kinds
@pytest.mark.parametrize("norm", ["batch", "layer", "none"])
def test_digits_are_read_row_by_row(kind, norm, native):
    pytest.importorskip("sklearn")
    data = bn.data.load("digits")
    recipe = recipes.recipe_for(data, kind)
    net = recipe.build_net(data, norm=norm, rng=0)
    bn.fit(net, data.x_train, data.y_train, progress=False, **recipe.fit_options(data))
    accuracy = bn.evaluate(net, data.x_test, data.y_test)["accuracy"]
    # without a norm a plain RNN learns slowly at this rate: the norm is what makes the difference
    assert accuracy > (0.75 if (kind, norm) == ("rnn", "none") else 0.95)


def test_the_command_trains_saves_and_folds(native, tmp_path, capsys):
    pytest.importorskip("sklearn")
    out = str(tmp_path / "net.npz")
    assert (
        main(
            ["train", "digits", "--net", "gru", "--epochs", "15", "--json", "--quiet", "--out", out]
        )
        == 0
    )
    result = json.loads(capsys.readouterr().out)
    assert result["net"]["name"] == "gru" and result["test_accuracy"] > 0.95
    assert result["fold"]["norms_folded"] == 1 and result["fold"]["agree"]
    assert main(["fold", out, "--out", str(tmp_path / "folded.npz"), "--json", "--quiet"]) == 0


def test_sequences_fit_the_recipe_and_tables_do_not():
    x, y = np.zeros((4, 7, 3), np.float32), np.zeros(4, np.int64)
    data = bn.data.Dataset("mine", x, y, x, y, task="classification", classes=("a", "b"))
    net = recipes.recipe_for(data, "lstm").build_net(data, rng=0)
    assert net.eval()(x).shape == (4, 2)
    table = bn.data.Dataset(
        "mine", x[:, 0], y, x[:, 0], y, task="classification", classes=("a", "b")
    )
    with pytest.raises(ValueError, match=r"lstm needs images or sequences"):
        recipes.recipe_for(table, "lstm").build_net(table)


def test_images_are_sequences_of_rows(rng):
    x = rng.standard_normal((2, 3, 4, 5))
    steps = bn.ImageRows()(x)
    np.testing.assert_array_equal(steps[1, 2], np.concatenate([x[1, c, 2] for c in range(3)]))
    last = bn.ImageRows(axis=-1)(np.ascontiguousarray(np.moveaxis(x, 1, -1)))
    np.testing.assert_array_equal(last.reshape(2, 4, 5, 3), np.moveaxis(x, 1, -1))
    with pytest.raises(ValueError, match="x must be images or sequences"):
        bn.ImageRows()(x[0, 0])


@pytest.mark.parametrize("options", [{"kind": "elman"}, {"norm": "group"}, {"hidden": 0}], ids=str)
def test_bad_nets_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        bn.nets.recurrent(4, 3, **options)


# ---- folding


@kinds
@pytest.mark.parametrize("norm", ["batch", "renorm"])
@pytest.mark.parametrize("standardize", [False, True], ids=["raw", "standardized"])
def test_folded_nets_compute_the_same(kind, norm, standardize, dtype):
    net, x = small(kind, norm, standardize=standardize, dtype=dtype)
    x = x.astype(dtype)
    folded, report = bn.folding.fold_net(net)
    assert not report.kept
    assert not [layer for _, layer in folded.named_layers() if isinstance(layer, bn.BatchNorm)]
    tolerance = 2e-5 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(folded(x), net(x), rtol=tolerance, atol=tolerance)
    paths = [entry.path for entry in report.folded]
    place = 2 if standardize else 1
    inner = [f"{place}.norm_l{layer}{side}" for layer in (0, 1) for side in ("", "_reverse")]
    assert paths == ["1", *inner] if standardize else paths == inner
    assert report.folded[-1].into == f"{place}.weight_ih_l1_reverse"
    name = "BatchNorm" if norm == "batch" else "BatchRenorm"
    assert report.folded[-1].rule == f"{kind.upper()} input → {name}"
    again, report = bn.folding.fold_net(folded)
    np.testing.assert_array_equal(again(x), folded(x))
    assert not report.folded and not report.kept


def test_folding_leaves_the_net_as_it_was(tmp_path):
    net, x = small()
    before, want = net.state_dict(), net(x)
    folded, _ = bn.folding.fold_net(net)
    np.testing.assert_array_equal(net(x), want)
    assert all(np.array_equal(value, before[name]) for name, value in net.state_dict().items())
    bn.save(folded, tmp_path / "folded.npz")
    np.testing.assert_array_equal(bn.load(tmp_path / "folded.npz")(x), folded(x))


@pytest.mark.parametrize("norm", [None, "batch"])
def test_biases_are_made_where_there_were_none(norm):
    net = bn.Sequential(
        bn.BatchNorm(4, axis=-1, momentum=1.0),
        bn.GRU(4, 5, 2, bidirectional=True, bias=False, norm=norm, rng=0),
    )
    x = (2 + np.random.default_rng(0).standard_normal((5, 6, 4))).astype(np.float32)
    net(x)
    folded, report = bn.folding.fold_net(net.eval())
    assert not report.kept
    np.testing.assert_allclose(folded(x), net(x), rtol=2e-5, atol=2e-5)


def test_all_norms_of_a_layer_stay_if_one_has_to():
    net, x = small(standardize=True)
    net[2].norm_l0_reverse.running_mean[2] = np.nan
    folded, report = bn.folding.fold_net(net)
    assert not report.folded
    why = {entry.path: entry.why for entry in report.kept}
    assert "a norm of the input products of 2 LSTM(4, 5) stays" in why["1"]
    assert "NaN or infinity (channel 2)" in why["2.norm_l0_reverse"]
    assert why["2.norm_l1"] == "norm_l0_reverse stays, and a layer has all of its norms or none"
    np.testing.assert_array_equal(folded(x), net(x))


@pytest.mark.parametrize("norm", ["layer", "rms"])
def test_norms_of_single_steps_stay(norm):
    net, x = small(norm=norm, standardize=True)
    folded, report = bn.folding.fold_net(net)
    assert not report.folded
    assert [entry.path for entry in report.kept] == ["1", *(f"2.{n}" for n, _ in net[2].children())]
    assert report.kept[-1].why == "it normalizes every sample by statistics of its own"
    np.testing.assert_array_equal(folded(x), net(x))


# ---- statistics


def test_population_statistics_reach_the_norms_inside():
    """Sequential recalibration: every norm has the statistics of what it sees when those before it are fixed."""
    net, x = small(dtype=np.float64, norm_options={"unbiased": False})
    x = x.astype(np.float64)
    report = bn.recalibrate(net, [x[:3], x[3:]])
    assert [change.path for change in report.layers] == [
        f"1.norm_l{layer}{side}" for layer in (0, 1) for side in ("", "_reverse")
    ]
    assert report.passes == 2  # both directions of a layer share a pass

    def call(name, norm, rows):
        np.testing.assert_allclose(norm.running_mean, rows.mean(0), rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(norm.running_var, rows.var(0), rtol=1e-10)
        return norm(rows)

    net[1].forward_through(net[0](x), call)
