"""`bn.diagnose` on nets whose disease is known: it is named, with its layer, its numbers and its repair."""

from __future__ import annotations

import json

import numpy as np
import pytest

import bncore as bn
from bncore.layers import (
    BatchNorm,
    BatchRenorm,
    Dropout,
    Linear,
    ReLU,
    Residual,
    Sequential,
)

FEATURES, CLASSES = 12, 4


def blobs(n=600, seed=0):
    """Classes as clusters that overlap a little; every feature with a mean and a scale of its own."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % CLASSES
    centres = np.random.default_rng(7).normal(0, 1.2, (CLASSES, FEATURES))
    x = centres[y] + rng.normal(0, 1, (n, FEATURES))
    scale = 1 + np.arange(FEATURES)
    return (x * scale + 2 * scale).astype(np.float32), y


def mlp(between=(), **norm):
    """norm, Linear, norm + ReLU, `between`, Linear, norm + ReLU, Linear"""
    how = {"activation": "relu", **norm}
    return Sequential(
        BatchNorm(FEATURES, affine=False, **norm),
        Linear(FEATURES, 32, False, rng=1), BatchNorm(32, **how), *between,
        Linear(32, 24, False, rng=2), BatchNorm(24, **how),
        Linear(24, CLASSES, rng=3),
    )  # fmt: skip


def trained(net, epochs=6, batch_size=32, lr=0.05, recalibrated=True):
    x, y = blobs()
    bn.fit(
        net, x, y, optimizer=bn.SGD(lr=lr, momentum=0.9), epochs=epochs, batch_size=batch_size, progress=False
    )  # fmt: skip
    if recalibrated:
        bn.recalibrate(net, x)
    return net


def norms(net):
    return {path: layer for path, layer in net.named_layers() if isinstance(layer, BatchNorm)}


def kinds(diagnosis):
    return [finding.kind for finding in diagnosis.findings]


def found(diagnosis, kind):
    """The one finding of a kind, its words in one line."""
    (finding,) = [finding for finding in diagnosis.findings if finding.kind == kind]
    assert " ".join(f"{finding.severity}: {finding.text}".split()) in " ".join(
        diagnosis.verdict.split()
    )
    return finding


def test_a_healthy_net_needs_nothing():
    diagnosis = bn.diagnose(trained(mlp()), blobs())
    assert diagnosis.healthy and diagnosis.findings == [] and diagnosis.repairs == ()
    assert diagnosis.verdict.startswith("verdict: nothing to do. The running statistics are those")
    assert repr(diagnosis) == "<Diagnosis of 3 norms: nothing to do>"
    assert all(norm.from_population.size < 1e-5 for norm in diagnosis.norms)


def test_a_net_as_training_leaves_it_is_healthy_too():
    diagnosis = bn.diagnose(trained(mlp(), epochs=20, lr=0.01, recalibrated=False), blobs())
    assert diagnosis.healthy, diagnosis.verdict
    assert "nothing to do. Recalibrated, accuracy" in diagnosis.verdict


def test_a_small_momentum_stopped_after_100_steps_is_a_start_that_has_not_gone():
    """0.99^100 = 37 % of mean 0 and variance 1 are still in the running statistics."""
    x, y = blobs(800)
    net = mlp(momentum=0.01)
    bn.fit(
        net, x, y, optimizer=bn.SGD(lr=0.05, momentum=0.9), epochs=4, batch_size=32, progress=False
    )
    diagnosis = bn.diagnose(net, x, y)
    assert kinds(diagnosis)[0] == "start"
    finding = found(diagnosis, "start")
    assert "0" in finding.norms  # the raw features are farthest from mean 0 and variance 1
    assert "after 100 updates of weight 0.01" in finding.text and "weighs 37 %" in finding.text
    assert "recalibrate" in finding.advice and "momentum >= 0.045" in finding.advice
    assert diagnosis.repairs[:2] == ("recalibrate", "momentum")
    bn.recalibrate(net, x)
    assert bn.diagnose(net, x, y).healthy


@pytest.mark.parametrize("path", ["0", "2", "4"])
def test_wrong_statistics_in_one_layer_are_found_there(path):
    net = trained(mlp())
    norm = norms(net)[path]
    norm.set_running(norm.running_mean + 1.5 * np.sqrt(norm.running_var), norm.running_var * 9)
    diagnosis = bn.diagnose(net, blobs())
    finding = found(diagnosis, "foreign")
    assert finding.norms == (path,) and finding.severity == "problem"
    assert f"The cause is {path} BatchNorm({norm.num_features}): population statistics there alone close 100 %" in finding.text  # fmt: skip
    off = diagnosis.norm(path).from_batch.to_dict()
    assert f"up to {off['mean_max']:.2g} std off in mean" in finding.text
    assert (
        8 < off["variance_min"] < off["variance_max"] < 10 and "times in variance" in finding.text
    )
    assert finding.repairs == ("recalibrate",)
    assert diagnosis.norm(path).closes > 0.99 and diagnosis.norm(path).opens > 0.99
    others = [n for n in diagnosis.norms if n.path != path]
    assert all(abs(n.closes) < 0.01 and n.opens < 0.01 for n in others)


def test_the_wrong_layer_is_found_inside_a_residual_block():
    x, y = blobs()
    block = Sequential(Linear(16, 16, rng=5), BatchNorm(16, activation="relu"), Linear(16, 16, rng=6), BatchNorm(16))  # fmt: skip
    net = Sequential(Linear(FEATURES, 16, rng=4), BatchNorm(16), Residual(block), Linear(16, CLASSES, rng=7))  # fmt: skip
    trained(net)
    norms(net)["2.main.1"].running_mean[...] += 5
    assert found(bn.diagnose(net, x, y), "foreign").norms == ("2.main.1",)


def test_without_targets_the_outputs_tell():
    net = trained(mlp())
    norms(net)["2"].running_var[...] *= 30
    finding = found(bn.diagnose(net, blobs()[0]), "foreign")
    assert finding.severity == "warning" and finding.norms == ("2",)
    assert finding.text.startswith("With running in place of population statistics the outputs move by")  # fmt: skip


def test_statistics_that_cannot_be_are_found():
    net = trained(mlp())
    norms(net)["2"].running_var[3] = np.nan
    diagnosis = bn.diagnose(net, blobs())
    assert found(diagnosis, "not finite").norms == ("2",)
    assert diagnosis.norm("2").closes == 1.0
    assert "(outputs are not finite). The cause is 2 BatchNorm(32)" in diagnosis.findings[0].text
    assert json.loads(diagnosis.to_json(), parse_constant=pytest.fail)["norms"][1]["path"] == "2"
    norms(net)["2"].running_var[3] = -1.0
    assert found(bn.diagnose(net, blobs()), "not finite").norms == ("2",)


def test_statistics_the_weights_left_behind_are_stale():
    x, y = blobs()
    net = trained(mlp())
    for norm in norms(net).values():
        norm.set_running(norm.running_mean + 2 * np.sqrt(norm.running_var), norm.running_var * 4)
        norm.num_batches_tracked = 5000
    finding = found(bn.diagnose(net, x, y), "stale")
    assert set(finding.norms) <= set(norms(net)) and len(finding.norms) >= 2
    assert "the weights moved on" in finding.text
    assert "learning rate" in finding.advice and finding.repairs == ("recalibrate", "momentum")


def test_an_average_of_momentum_one_scatters_like_its_last_batch():
    x, y = blobs()
    net = trained(mlp())
    for norm in norms(net).values():
        norm.momentum = 1.0
    bn.recalibrate(net, x[:5], "pooled")  # what a last batch of five leaves behind
    diagnosis = bn.diagnose(net, x, y, batch_size=5)
    finding = found(diagnosis, "scatter")
    assert "rate 1 leaves of the scatter of single ones" in finding.text
    assert {"batch size", "renorm", "momentum"} < set(finding.repairs)


def test_averages_of_tiny_batches_are_not_those_of_the_population():
    """Deep norms that never saw a whole batch: they agree with batches of three, not with all data."""
    x, y = blobs()
    net = trained(mlp(), batch_size=3, epochs=2, lr=0.01)
    bn.recalibrate(net, x, "average", batch_size=3)
    diagnosis = bn.diagnose(net, x, y, batch_size=3)
    far = max(diagnosis.norms, key=lambda norm: norm.from_population.size)
    assert far.path != "0" and far.from_batch.size < far.from_population.size
    assert found(diagnosis, "noise")


@pytest.mark.parametrize("norm", [BatchNorm, BatchRenorm])
def test_batches_of_four_are_too_small(norm):
    x, y = blobs()
    net = Sequential(
        norm(FEATURES, affine=False), Linear(FEATURES, 16, False, rng=1), norm(16, activation="relu"),
        Linear(16, CLASSES, rng=2),
    )  # fmt: skip
    diagnosis = bn.diagnose(trained(net, batch_size=4, epochs=2, lr=0.01), x, y, batch_size=4)
    finding = found(diagnosis, "noise")
    assert finding.text.startswith("Batches of 4 are small: in 0 means scatter by 0.")
    assert "4 independent values would give 0.50" in finding.text
    assert "train with batches of about 32" in finding.advice
    assert ("renorm" in finding.repairs) == (norm is BatchNorm)
    assert "noise" not in kinds(bn.diagnose(net, x, y, batch_size=64))


def test_dropout_before_a_norm_is_named_with_both_ratios():
    net = trained(mlp(between=[Dropout(0.5, rng=1)]), epochs=10)
    diagnosis = bn.diagnose(net, blobs())
    finding = found(diagnosis, "dropout")
    effect = diagnosis.norm("5").dropout
    assert finding.norms == ("5",) and effect.layers == (("3", 0.5),)
    assert effect.through == ("4 Linear(32, 24)",)
    assert np.allclose(effect.measured, effect.predicted, rtol=0.15)
    numbers = effect.to_dict()
    assert numbers["measured"] < 0.9 and numbers["measured"] == pytest.approx(
        numbers["predicted"], rel=0.05
    )
    assert "3 Dropout(0.5) through 4 Linear(32, 24)" in finding.text
    assert f"is {numbers['measured']:.2f} times that in training (predicted {numbers['predicted']:.2f} for this dropout alone)" in finding.text  # fmt: skip
    assert "behind the last norm" in finding.advice and "dropout" in diagnosis.repairs
    assert diagnosis.norm("0").dropout is None and diagnosis.norm("2").dropout is None


def test_dropout_that_opens_the_gap_is_its_cause():
    """Running statistics of training with dropout; the last norm's variance is half as large in evaluation."""
    x, y = blobs()
    net = Sequential(
        BatchNorm(FEATURES), Linear(FEATURES, 48, rng=1), ReLU(), Dropout(0.7, rng=1),
        BatchNorm(48), Linear(48, CLASSES, rng=2),
    )  # fmt: skip
    trained(net, epochs=30, lr=0.02, recalibrated=False)
    diagnosis = bn.diagnose(net, x, y)
    finding = found(diagnosis, "dropout")
    assert finding.norms == ("4",) and "The cause is 4 BatchNorm(48)" in finding.text
    assert "off in evaluation" in finding.text and "3 Dropout(0.7)" in finding.text
    # the running statistics answer better, though less surely; without answers nobody can tell
    assert bn.diagnose(net, x).findings[0].repairs == ("recalibrate", "dropout")
    running, right = diagnosis.score("running"), diagnosis.score("sequential")
    # which of them answers better is up to the training run's last digits; the advice must follow
    helps = right.accuracy >= running.accuracy
    assert finding.repairs == (("recalibrate", "dropout") if helps else ("dropout",))
    assert ("recalibrating is no repair here" in finding.text) != helps
    bn.recalibrate(net, x)
    after = found(bn.diagnose(net, x, y), "dropout")
    assert after.severity == "warning" and "The cause is" not in after.text


def test_dropout_behind_the_last_norm_is_nobodys_trouble():
    net = mlp()
    net.insert(5, Dropout(0.5, rng=1))
    diagnosis = bn.diagnose(trained(net), blobs())
    assert diagnosis.healthy and all(norm.dropout is None for norm in diagnosis.norms)


def test_sorted_batches_are_called_unmixed():
    x, y = blobs()
    order = np.argsort(y, kind="stable")
    batches = [(x[order[a : a + 30]], y[order[a : a + 30]]) for a in range(0, 600, 30)]
    diagnosis = bn.diagnose(trained(mlp()), batches)
    finding = found(diagnosis, "mixing")
    assert finding.severity == "problem" and finding.repairs == ("shuffle", "renorm")
    assert "times as much as those of batches drawn at random" in finding.text
    assert "With batch statistics accuracy" in finding.text
    mixed = [(x[a : a + 30], y[a : a + 30]) for a in range(0, 600, 30)]
    assert bn.diagnose(trained(mlp()), mixed).healthy


def test_a_net_that_answers_by_its_batch_is_told_so(rng):
    """Right answers only relative to the batch's mean: no fixed statistics can give them."""
    offsets = rng.normal(0, 30, (40, 1, 2))
    x = rng.normal(0, 1, (40, 16, 2)) + offsets
    y = (x - offsets > 0)[:, :, 0].astype(np.int64)
    net = Sequential(BatchNorm(2, dtype=np.float64), Linear(2, 2, dtype=np.float64))
    net[1].weight[...], net[1].bias[...] = [[-1, 0], [1, 0]], 0
    bn.recalibrate(net, list(x))
    diagnosis = bn.diagnose(net, list(zip(x, y)))
    assert kinds(diagnosis) == ["mixing", "unreachable"]
    assert "The net answers by what else is in the batch" in found(diagnosis, "unreachable").text


def test_dead_and_constant_channels_are_listed():
    x, y = blobs()
    x = x.copy()
    x[:, 5] = 3.0
    net = mlp()
    bn.fit(
        net, x, y, optimizer=bn.SGD(lr=0.05, momentum=0.9), epochs=4, batch_size=32, progress=False
    )
    norms(net)["2"].weight[[3, 17]] = [0.0, 1e-5]
    bn.recalibrate(net, x)
    diagnosis = bn.diagnose(net, x, y)
    assert diagnosis.norm("2").dead == (3, 17) and diagnosis.norm("4").dead == ()
    assert diagnosis.norm("0").constant == (5,) and diagnosis.norm("2").constant == ()
    assert "2 of 32 channels (3, 17) have a weight (gamma) below 0.01" in found(diagnosis, "dead").text  # fmt: skip
    assert "Constant channels in 0: 1 of 12 channels (5) never vary" in found(diagnosis, "constant").text  # fmt: skip
    assert diagnosis.healthy and "verdict: nothing to do" in diagnosis.verdict
    assert all(np.isfinite(norm.from_batch.size) for norm in diagnosis.norms)


def test_a_norm_of_zero_weights_is_dead_as_a_whole_and_a_tiny_input_is_told_from_a_constant_one():
    x, y = blobs()
    net = Sequential(
        BatchNorm(FEATURES, affine=False), Linear(FEATURES, CLASSES), BatchNorm(CLASSES, zero_gamma=True)
    )  # fmt: skip
    diagnosis = bn.diagnose(net, 1e-5 * x, y)
    assert diagnosis.norm("2").dead == tuple(range(CLASSES))
    assert "Channels that hardly vary in 0: 12 of 12 channels (0, 1, 2, 3, 4, 5, 6, 7, ...)" in found(diagnosis, "constant").text  # fmt: skip


def test_the_repair_of_a_real_net_works():
    """Digits, momentum 0.01: what the diagnosis says recalibration gives, it gives."""
    pytest.importorskip("sklearn")
    data = bn.data.load("digits")
    net = bn.nets.cnn(1, 10, rng=0)
    for norm in norms(net).values():
        norm.momentum = 0.01
    bn.fit(
        net, data.x_train, data.y_train, optimizer=bn.SGD(lr=0.1, momentum=0.9), epochs=4, batch_size=58, progress=False
    )  # fmt: skip
    diagnosis = bn.diagnose(net, data)
    assert kinds(diagnosis) == ["start"] and found(diagnosis, "start").severity == "problem"
    assert "after 100 updates of weight 0.01" in diagnosis.findings[0].text
    running, right = diagnosis.score("running"), diagnosis.score("sequential")
    assert right.accuracy > running.accuracy + 0.05
    before = bn.evaluate(net, data.x_test, data.y_test)
    assert running.accuracy == pytest.approx(before["accuracy"])
    bn.recalibrate(net, data.x_train)
    after = bn.evaluate(net, data.x_test, data.y_test)
    assert right.accuracy == pytest.approx(after["accuracy"])
    assert right.loss == pytest.approx(after["loss"], rel=1e-3)
    assert bn.diagnose(net, data).healthy


def test_nets_without_such_norms_get_a_clear_message():
    x, y = blobs()
    diagnosis = bn.diagnose(Sequential(Linear(FEATURES, CLASSES)), x, y)
    assert diagnosis.norms == [] and diagnosis.healthy and diagnosis.repairs == ()
    assert "no norm with running statistics, so training and evaluation normalize alike" in str(diagnosis)  # fmt: skip
    assert json.loads(diagnosis.to_json())["norms"] == []
    net = Sequential(
        BatchNorm(FEATURES, frozen=True), BatchNorm(FEATURES, track_running_stats=False)
    )
    text = str(bn.diagnose(net, x))
    assert "0: its statistics are frozen" in text and "1: it has no running statistics" in text
    assert "no norm with running statistics to measure" in text


def test_a_norm_is_a_net():
    diagnosis = bn.diagnose(BatchNorm(FEATURES), blobs()[0])
    assert "(net)" in str(diagnosis) and "its one norm, (net) BatchNorm(12)" in diagnosis.findings[0].text  # fmt: skip
