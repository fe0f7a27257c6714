"""Advice that would do harm is not given: nets better left alone, channels that say nothing about the others."""

from __future__ import annotations

import numpy as np
import pytest

import bncore as bn
from bncore.layers import BatchNorm, BatchRenorm, Linear, ReLU, Sequential
from bncore.statistics.diagnosis.records import Distance
from tests.statistics.test_diagnose import (
    CLASSES,
    FEATURES,
    blobs,
    found,
    kinds,
    mlp,
    norms,
    trained,
)


def renorms():
    """A net with batch renormalization whose running statistics are far from what its data give."""
    net = Sequential(BatchRenorm(FEATURES), Linear(FEATURES, 16, rng=1), BatchRenorm(16), Linear(16, CLASSES, rng=2))  # fmt: skip
    trained(net)
    for norm in norms(net).values():
        norm.set_running(norm.running_mean + 2 * np.sqrt(norm.running_var), norm.running_var * 4)
        norm.num_batches_tracked = 5000
    return net


@pytest.fixture
def renormed():
    """With targets that are its answers: as if it had been trained for its statistics."""
    net, (x, _) = renorms(), blobs()
    return net, x, net(x).argmax(axis=1)


def test_a_renormed_net_that_answers_best_as_it_is_is_left_alone(renormed):
    diagnosis = bn.diagnose(*renormed)
    running, right = diagnosis.score("running"), diagnosis.score("sequential")
    assert running.accuracy > right.accuracy + 0.01 and running.gap > 0.25
    assert diagnosis.healthy and diagnosis.repairs == () and kinds(diagnosis) == ["renorm"]
    finding = found(diagnosis, "renorm")
    assert "The running statistics answer better: recalibrating is no repair here." in finding.text
    assert "BatchRenorm trains towards its running statistics" in finding.text
    assert finding.advice.startswith("keep the running statistics") and not finding.repairs
    assert diagnosis.verdict.startswith("verdict: nothing to do. Keep the running statistics.")


def test_without_targets_nobody_knows_which_statistics_of_a_renorm_are_better(renormed):
    net, x, _ = renormed
    finding = found(bn.diagnose(net, x), "renorm")
    assert finding.repairs == () and finding.advice.startswith("give targets")


def test_renormed_statistics_that_answer_worse_are_measured_afresh():
    x, y = blobs()
    net = renorms()
    finding = found(bn.diagnose(net, x, y), "renorm")
    assert finding.severity == "problem" and finding.repairs == ("recalibrate",)
    bn.recalibrate(net, x)
    assert bn.diagnose(net, x, y).healthy


def test_any_norms_statistics_are_kept_where_they_answer_better():
    """Targets that are the answers given with odd running statistics: nothing answers better than these."""
    x, _ = blobs()
    net = trained(mlp())
    norm = norms(net)["2"]
    norm.set_running(norm.running_mean + 1.5 * np.sqrt(norm.running_var), norm.running_var * 9)
    for target, measure in ((net(x).argmax(axis=1), "accuracy"), (net(x), "loss")):
        diagnosis = bn.diagnose(net, x, target, batch_size=4)
        finding = found(diagnosis, "foreign")
        assert finding.severity == "note" and finding.norms == ("2",)
        assert f"With running statistics {measure}" in finding.text
        assert "answer better: recalibrating is no repair" in finding.text
        assert "noise" in kinds(diagnosis)
        assert all("recalibrate" not in (*f.repairs, f.advice) for f in diagnosis.findings)
        assert "recalibrate" not in diagnosis.verdict and "recalibrate" not in diagnosis.repairs


def test_at_equal_accuracy_the_loss_decides_and_is_said():
    x, _ = blobs()
    net = Sequential(BatchNorm(FEATURES, affine=False), Linear(FEATURES, 2, rng=1))
    bn.recalibrate(net, x)
    net[0].set_running(net[0].running_mean, net[0].running_var / 4)  # surer of the same answers
    net[1].bias[...] = 0
    y = net(x).argmax(axis=1)
    (finding,) = [f for f in bn.diagnose(net, x, y).findings if f.kind != "noise"]
    assert finding.severity == "note" and "answer better (loss 0." in finding.text


# ---- constant channels


def behind_dead_units(weight=1.0, dead=(2, 5)):
    """A net whose units died after the norm behind them saw them alive."""
    x, y = blobs()
    net = Sequential(
        BatchNorm(FEATURES, affine=False), Linear(FEATURES, 16, rng=1), ReLU(), BatchNorm(16),
        Linear(16, CLASSES, rng=2),
    )  # fmt: skip
    trained(net, lr=0.01, epochs=20)
    net[1].bias[list(dead)] = -1e4
    net[4].weight[:, list(dead)] *= weight
    return net, x, y


def test_dead_units_do_not_speak_for_the_other_channels():
    net, x, y = behind_dead_units()
    diagnosis = bn.diagnose(net, x, y)
    norm = diagnosis.norm("3")
    assert norm.constant == (2, 5) and norm.from_batch.variance.max() > 1e3
    for far in (norm.from_batch.to_dict(), norm.from_population.to_dict()):
        assert far["left_out"] == 2 and far["worst_channel"] not in (2, 5)
        assert far["mean_max"] < 0.5 and 0.5 < far["variance_min"] <= far["variance_max"] < 2
    assert "constant channels left out: 3 2 of 16" in str(diagnosis)
    assert "e+0" not in str(diagnosis)
    assert "Constant channels in 3: 2 of 16 channels (2, 5)" in found(diagnosis, "constant").text


def test_a_gap_that_dead_units_open_is_told_as_theirs():
    net, x, _ = behind_dead_units(weight=20.0)
    diagnosis = bn.diagnose(net, x)
    finding = found(diagnosis, "stopped")
    assert finding.norms == ("3",) and finding.repairs == ("recalibrate", "prune")
    assert "in 3 2 of 16 channels (2, 5) are constant now" in finding.text
    assert "(2 constant channels left out)" in finding.text


def test_distances_leave_constant_channels_out_but_not_what_is_no_number():
    running = np.array([1.0, 9.0, 3.0]), np.array([1.0, 4.0, 4.0])
    other = np.array([0.0, 0.0, 3.0]), np.array([1.0, 0.0, 1.0])
    far = Distance.between(running, other, 1e-5, constant=(1,))
    told = far.to_dict()
    assert told["mean_max"] == pytest.approx(1, rel=1e-4) and told["worst_channel"] == 0
    assert told["variance_max"] == pytest.approx(4, rel=1e-4) and told["left_out"] == 1
    assert far.size == pytest.approx(np.sqrt((1 + np.log(2) ** 2) / 2), rel=1e-4)
    assert far.whole > 2 * far.size
    running[0][1] = np.nan
    assert Distance.between(running, other, 1e-5, constant=(1,)).size == np.inf
    everything = Distance.between(running, other, 1e-5, constant=(0, 1, 2))
    assert everything.constant == () and everything.to_dict()["left_out"] == 0
