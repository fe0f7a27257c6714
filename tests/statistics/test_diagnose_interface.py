"""What `bn.diagnose` takes, gives and leaves alone: data of all kinds, the net as it was, text, JSON and pictures."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

import bncore as bn
from bncore.layers import BatchNorm, BatchRenorm, Dropout, InstanceNorm, Linear, Sequential
from bncore.statistics.diagnosis.words import TITLES
from bncore.support.progress import Progress
from bncore.training.data import Dataset


def net_with_everything():
    return Sequential(
        BatchNorm(5, activation="relu"), Dropout(0.3, rng=1), Linear(5, 8, rng=1), BatchNorm(8, momentum=None),
        BatchRenorm(8, schedule="constant"), Linear(8, 3, rng=2),
    )  # fmt: skip


@pytest.fixture
def x(rng):
    return rng.normal(2, 3, (60, 5)).astype(np.float32)


@pytest.fixture
def y():
    return np.arange(60) % 3


def everything(net):
    """State, modes, counters and random streams of a net."""
    streams = [layer.rng.bit_generator.state for _, layer in net.named_layers() if hasattr(layer, "rng")]  # fmt: skip
    modes = [(layer.training, layer.keeps) for _, layer in net.named_layers()]
    return {name: value.copy() for name, value in net.state_dict().items()}, modes, streams


def same(a, b):
    return (
        a[0].keys() == b[0].keys()
        and all(np.array_equal(a[0][name], b[0][name]) for name in a[0])
        and a[1:] == b[1:]
    )


def test_the_net_and_the_data_are_left_as_they_were(x, y):
    net = net_with_everything()
    net(x)
    net.pack()
    net[3].training = False
    before, flat, kept = everything(net), net.parameters_flat.copy(), x.copy()
    bn.diagnose(net, x, y)
    assert same(before, everything(net)) and np.array_equal(flat, net.parameters_flat)
    assert np.array_equal(x, kept)
    net.backward(np.ones((60, 3), np.float32))  # what forward saved is still there


class Breaking:
    """Batches that fail in the middle of some pass."""

    def __init__(self, x, reads):
        self.x, self.reads = x, reads

    def __iter__(self):
        for a in range(0, len(self.x), 10):
            self.reads -= 1
            if self.reads < 0:
                raise OSError("the disk is gone")
            yield self.x[a : a + 10]


@pytest.mark.parametrize("reads", [0, 3, 20, 40, 80, 120])
def test_after_an_error_too(x, reads):
    net = net_with_everything()
    before = everything(net)
    with pytest.raises(OSError, match="the disk is gone"):
        bn.diagnose(net, Breaking(x, reads))
    assert same(before, everything(net))
    with pytest.raises(TypeError, match="0 BatchNorm"):
        bn.diagnose(net, x.astype(np.float64))
    assert same(before, everything(net))


def test_data_of_every_kind_say_the_same(x, y):
    net = net_with_everything()
    plain = bn.diagnose(net, x, y, batch_size=20).to_dict()
    assert bn.diagnose(net, (x, y), batch_size=20).to_dict() == plain
    order = np.random.default_rng(0).permutation(60)
    batches = [(x[order[a : a + 20]], y[order[a : a + 20]]) for a in (0, 20, 40)]
    given = bn.diagnose(net, batches).to_dict()
    assert {**given, "random_batches": True, "batch_size": 20} == plain
    unlabelled = bn.diagnose(net, x, batch_size=20)
    assert unlabelled.scores[0].loss is None and unlabelled.to_dict()["norms"] == plain["norms"]
    data = Dataset("mine", x[:40], y[:40], x[40:], y[40:], "classification", ("a", "b", "c"))
    diagnosis = bn.diagnose(net, data)
    assert (diagnosis.samples, diagnosis.scored_samples) == (40, 20)
    loss = bn.evaluate(net, x[40:], y[40:])["loss"]
    assert diagnosis.score("running").loss == pytest.approx(loss, rel=1e-5)


def test_the_same_seed_gives_the_same_diagnosis_and_batches_limit_it(x, y):
    net = net_with_everything()
    first = bn.diagnose(net, x, y, batch_size=10, batches=3, seed=4)
    assert first.samples == 30 and first.batches == 3
    assert bn.diagnose(net, x, y, batch_size=10, batches=3, seed=4).to_dict() == first.to_dict()
    assert bn.diagnose(net, x, y, batch_size=10, batches=3, seed=5).to_dict() != first.to_dict()
    assert bn.diagnose(net, [x[:10], x[10:20], x[20:30]], batches=2).samples == 20


@pytest.mark.parametrize("method", ["sequential", "pooled", "average"])
def test_any_population_method_can_be_the_measure(x, y, method):
    diagnosis = bn.diagnose(net_with_everything(), x, y, method=method)
    assert diagnosis.score(method).gap == 0 and f"from {method}: mean" in str(diagnosis)


def test_losses_of_all_kinds(x, rng):
    net = Sequential(BatchNorm(5), Linear(5, 1, rng=1))
    target = rng.normal(size=(60, 1)).astype(np.float32)
    diagnosis = bn.diagnose(net, x, target)
    assert diagnosis.score("running").accuracy is None
    assert diagnosis.score("running").loss == pytest.approx(bn.evaluate(net, x, target, "mse")["loss"])  # fmt: skip
    bits = (target > 0).astype(np.float32)
    assert bn.diagnose(net, x, bits, loss="bce_with_logits").score("batch").accuracy is not None


def test_a_regression_that_suffers_is_told_by_its_loss(x):
    net = Sequential(BatchNorm(5, affine=False), Linear(5, 1, rng=1))
    bn.recalibrate(net, x)
    target = net.eval()(x)
    net[0].running_var *= 16
    finding = bn.diagnose(net, x, target).findings[0]
    assert finding.severity == "problem" and "With running statistics loss 0." in finding.text


def test_single_batches_and_single_samples(x, y):
    net = Sequential(BatchNorm(5), Linear(5, 3, rng=1))
    one = bn.diagnose(net, x, y, batch_size=100)
    assert one.norm("0").noise is None and "takes two batches" in str(one)
    single = bn.diagnose(net, x, y, batch_size=1)
    assert single.norm("0").noise.typical == pytest.approx(1, rel=0.02)
    assert [score.kind for score in single.scores] == ["running", "batch", "sequential", "pooled"]
    with pytest.raises(ValueError, match="an unbiased variance needs 2"):
        bn.diagnose(net, x[:1])


@pytest.mark.parametrize(
    "data, target, error, match",
    [
        (3, None, TypeError, "data must be an array, a pair"),
        ("digits", None, TypeError, "data must be an array, a pair.*got str"),
        (np.zeros(5, np.float32), None, ValueError, "samples along axis 0"),
        (np.zeros((0, 5), np.float32), None, ValueError, "at least one sample"),
        (np.zeros((4, 5), int), None, TypeError, "data must be float32 or float64"),
        (np.zeros((4, 5), np.float32), np.zeros(3, int), ValueError, "target must have as many"),
        ([], None, ValueError, "at least one sample"),
        ([np.zeros((4, 5), np.float32)], np.zeros(4), TypeError, "target must be None unless"),
        (iter([np.zeros((4, 5), np.float32)]), None, ValueError, "can be iterated again"),
        ([[1.0, 2.0, 3.0]], None, TypeError, "got inputs of batch 0 as a list"),
        ([(np.zeros((4, 5), np.float32), np.zeros(3))], None, ValueError, "got 3 for 4 in batch 0"),
    ],
)
def test_wrong_data_are_named(data, target, error, match):
    with pytest.raises(error, match=match):
        bn.diagnose(Sequential(BatchNorm(5)), data, target)


@pytest.mark.parametrize(
    "wrong, error",
    [
        ({"method": "ema"}, ValueError), ({"batch_size": 0}, ValueError), ({"batches": 0}, ValueError),
        ({"seed": -1}, ValueError), ({"loss": "hinge"}, ValueError), ({"batch_size": 2.5}, TypeError),
    ],
)  # fmt: skip
def test_wrong_arguments_are_named(x, wrong, error):
    with pytest.raises(error, match=next(iter(wrong))):
        bn.diagnose(Sequential(BatchNorm(5)), x, **wrong)
    with pytest.raises(TypeError, match="net must be a Layer"):
        bn.diagnose("net", x)


def test_data_that_are_not_finite_are_an_error_with_the_layer(x):
    x[3, 2] = np.inf
    with pytest.raises(ValueError, match=r"statistics of 0 BatchNorm\(5\) are not finite"):
        bn.diagnose(net_with_everything(), x)


def test_instance_norms_are_left_alone_and_named(rng):
    x = rng.normal(size=(6, 3, 4, 4)).astype(np.float32)
    net = Sequential(BatchNorm(3), InstanceNorm(3, track_running_stats=True), InstanceNorm(3))
    text = str(bn.diagnose(net, x, batch_size=2))
    assert "1: averages over single samples are not measured" in text and "diagnosis of 1 norm" in text  # fmt: skip


def test_progress_hears_of_every_batch(x):
    with Progress(show=False) as progress:
        bn.diagnose(net_with_everything(), x, batch_size=20, progress=progress)
    assert progress.done % 3 == 0 and progress.done >= 3 * 15


def test_text_shows_every_table(x, y):
    text = str(bn.diagnose(net_with_everything(), x, y, batch_size=20))
    for part in (
        "diagnosis of 3 norms on 60 samples in 3 random batches of 20",
        "running statistics: distance of means in standard deviations",
        "norm  channels  from batch: mean",
        "noise of batch statistics",
        "dropout in front of norms",
        "1 (p 0.3)",
        "answers on 60 samples",
        "sequential",
        "verdict",
    ):
        assert part in text
    assert max(map(len, text.splitlines())) < 150


def test_json_is_json_of_plain_numbers(x, y):
    diagnosis = bn.diagnose(net_with_everything(), x, y)
    loaded = json.loads(diagnosis.to_json(), parse_constant=pytest.fail)
    assert loaded == diagnosis.to_dict()
    assert {"verdict", "healthy", "repairs", "findings", "scores", "norms"} <= loaded.keys()
    norm = loaded["norms"][1]
    assert norm["path"] == "3" and norm["dropout"]["layers"] == [{"path": "1", "p": pytest.approx(0.3)}]  # fmt: skip
    assert {"mean_max", "mean_median", "variance_min", "variance_median", "variance_max"} <= norm["from_population"].keys()  # fmt: skip
    assert all(finding["kind"] in TITLES for finding in loaded["findings"])


@pytest.mark.parametrize("targets", ["classes", "quantities", None])
def test_the_picture_has_four_panels(x, y, tmp_path, targets):
    pytest.importorskip("matplotlib")
    target = {"classes": y, "quantities": np.float32(x[:, :3]), None: None}[targets]
    diagnosis = bn.diagnose(net_with_everything(), x, target, batch_size=20)
    path = tmp_path / "picture.png"
    figure = diagnosis.plot(path)
    assert path.read_bytes().startswith(b"\x89PNG") and len(figure.axes) == 4
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[0] == "Distance of running means" and titles[3].startswith(
        {"classes": "Accuracy", "quantities": "Loss", None: "Outputs move by"}[targets]
    )
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert labels == ["0", "3", "4"]


@pytest.mark.parametrize("broken", [np.nan, np.inf, -1.0])
def test_a_picture_of_broken_statistics_says_so(x, tmp_path, broken):
    pytest.importorskip("matplotlib")
    net = net_with_everything()
    net[0].running_var[1] = broken
    figure = bn.diagnose(net, x).plot(tmp_path / "picture.png")
    assert "not finite or negative" in [text.get_text() for text in figure.axes[1].texts]


def test_a_healthy_picture_does_not_blow_up_rounding(x):
    pytest.importorskip("matplotlib")
    net = Sequential(BatchNorm(5), Linear(5, 3, rng=1))
    bn.recalibrate(net, x)
    figure = bn.diagnose(net, x).plot()
    assert figure.axes[0].get_xlim()[1] >= 0.1 and figure.axes[1].get_xlim()[1] >= 1.4
    assert "Nothing to do" in figure.get_suptitle()


def test_a_picture_without_matplotlib_names_the_extra(x, monkeypatch):
    diagnosis = bn.diagnose(net_with_everything(), x)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"bncore\[plot\]"):
        diagnosis.plot()


def test_a_picture_of_nothing_is_an_error(x):
    with pytest.raises(ValueError, match="no norm with running statistics"):
        bn.diagnose(Sequential(Linear(5, 2)), x).plot()
