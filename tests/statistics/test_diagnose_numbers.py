"""The numbers of a diagnosis against their definitions, in float64 by NumPy; dropout against all its masks."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

import bncore as bn
from bncore.layers import (
    GELU,
    LSTM,
    AvgPool,
    BatchNorm,
    BatchRenorm,
    Concat,
    Conv2d,
    Dropout,
    Flatten,
    GlobalAvgPool,
    Layer,
    LeakyReLU,
    Linear,
    MaxPool,
    ReLU,
    Residual,
    Sequential,
    Tanh,
)
from bncore.statistics.diagnosis.dropout import predict_dropout
from bncore.statistics.diagnosis.samples import read_samples
from tests.reference.nets import moments


def batches(x, size=8):
    return [x[a : a + size] for a in range(0, len(x), size)]


@pytest.mark.parametrize("axis", [1, -1])
@pytest.mark.parametrize("unbiased", [True, False])
def test_distances_and_noise_follow_their_definitions(rng, dtype, axis, unbiased):
    x = rng.normal(3, 2, (40, 4, 3, 5)) + rng.normal(size=(40, 4, 1, 1))
    x = np.ascontiguousarray(x if axis == 1 else np.moveaxis(x, 1, -1), dtype)
    norm = BatchNorm(4, axis=axis, unbiased=unbiased, dtype=dtype, eps=1e-3)
    norm.set_running(rng.normal(size=4), rng.uniform(1, 5, 4))
    norm.num_batches_tracked = 7
    record = bn.diagnose(norm, batches(x)).norm("")
    running = np.float64(norm.running_mean), np.float64(norm.running_var)
    count, mean, var = moments(np.float64(x), axis)
    by_batch = [moments(np.float64(b), axis) for b in batches(x)]
    m = by_batch[0][0]
    means, variances = (np.array([b[i] for b in by_batch]) for i in (1, 2))
    if unbiased:
        var, variances = var * count / (count - 1), variances * m / (m - 1)
    tight = {"rtol": 1e-5 if dtype == np.float32 else 1e-12}
    for distance, (right_mean, right_var) in (
        (record.from_population, (mean, var)),
        (record.from_batch, (means.mean(axis=0), variances.mean(axis=0))),
    ):
        std = np.sqrt(right_var + 1e-3)
        np.testing.assert_allclose(distance.mean, np.abs(running[0] - right_mean) / std, **tight)
        np.testing.assert_allclose(distance.variance, (running[1] + 1e-3) / std**2, **tight)
        size = np.sqrt((distance.mean**2 + (0.5 * np.log(distance.variance)) ** 2).mean())
        assert distance.size == pytest.approx(size)
    std = np.sqrt(moments(np.float64(x), axis)[2])
    np.testing.assert_allclose(record.noise.mean, means.std(axis=0, ddof=1) / std, **tight)
    spread = variances.std(axis=0, ddof=1) / variances.mean(axis=0)
    np.testing.assert_allclose(record.noise.variance, spread, **tight)
    own = np.float64(x).mean(axis=(2, 3) if axis == 1 else (1, 2))
    np.testing.assert_allclose(
        record.noise.expected, own.std(axis=0, ddof=1) / np.sqrt(8) / std, **tight
    )
    assert record.noise.values == m == 120
    assert record.noise.independent_mean == pytest.approx(120**-0.5)
    assert record.noise.independent_variance == pytest.approx((2 / 119) ** 0.5)
    assert record.start_weight == pytest.approx(0.9**7)


def test_independent_values_scatter_as_predicted(rng):
    """1/sqrt(m) and sqrt(2/(m-1)), also where a batch is a good part of the data."""
    x = rng.normal(5, 3, (3000, 40))
    for size in (10, 100, 600):
        noise = bn.diagnose(BatchNorm(40, dtype=np.float64), x, batch_size=size).norm("").noise
        assert np.sqrt((noise.mean**2).mean()) == pytest.approx(size**-0.5, rel=0.2)
        assert np.sqrt((noise.variance**2).mean()) == pytest.approx((2 / size) ** 0.5, rel=0.2)
        assert noise.excess == pytest.approx(1, rel=0.3)


def test_correlated_positions_count_for_less(rng):
    """Every pixel of an image the same: m counts them all, the scatter is that of the samples."""
    x = np.repeat(rng.normal(size=(800, 3)), 16, axis=1).reshape(800, 3, 4, 4)
    noise = bn.diagnose(BatchNorm(3, dtype=np.float64), x, batch_size=20).norm("").noise
    numbers = noise.to_dict()
    assert numbers["values_per_batch"] == 320
    assert numbers["effective_values"] == pytest.approx(20, rel=0.4)
    assert numbers["mean_if_independent"] == pytest.approx(320**-0.5)


def test_ghost_batches_scatter_by_their_own_size(rng):
    x = rng.normal(size=(640, 30))
    norm = BatchNorm(30, ghost_batch_size=8, dtype=np.float64)
    noise = bn.diagnose(norm, x, batch_size=64).norm("").noise
    assert noise.values == 8 and noise.typical == pytest.approx(8**-0.5, rel=0.2)


@pytest.mark.parametrize(
    "momentum, more, weight",
    [(0.1, {}, 0.9**20), (0.01, {}, 0.99**20), (None, {}, 0), (0.1, {"zero_debias": True}, 0)],
)
def test_the_weight_of_the_start(rng, momentum, more, weight):
    norm = BatchNorm(3, momentum=momentum, **more)
    x = rng.normal(2, 3, (100, 3)).astype(np.float32)
    for _ in range(20):
        norm(x)
    record = bn.diagnose(norm, x, batch_size=100).norm("")
    assert record.start_weight == pytest.approx(weight) and record.updates == 20
    assert record.noise is None
    # one and the same batch every time: what is not the start is that batch
    assert record.from_start == pytest.approx(0, abs=1e-5)


def test_a_gap_is_measured_in_the_spread_of_the_outputs(rng):
    x = rng.normal(2, 3, (200, 4))
    norm = BatchNorm(4, affine=False, dtype=np.float64, unbiased=False, eps=0.0)
    diagnosis = bn.diagnose(norm, x)
    y = (x - x.mean(axis=0)) / x.std(axis=0)
    assert diagnosis.score("running").gap == pytest.approx(np.sqrt(((x - y) ** 2).sum() / (y**2).sum()))  # fmt: skip
    assert diagnosis.score("sequential").gap == 0 and diagnosis.norm("").closes == 1
    assert diagnosis.norm("").opens == 1


def test_scores_are_those_of_evaluate_after_recalibrate(rng):
    x, y = rng.normal(size=(120, 6)), rng.integers(0, 3, 120)
    how = {"dtype": np.float64}
    net = Sequential(Linear(6, 8, rng=1, **how), BatchNorm(8, **how), ReLU(), Linear(8, 5, rng=2, **how), BatchNorm(5, **how), Linear(5, 3, rng=3, **how))  # fmt: skip
    diagnosis = bn.diagnose(net, x, y, batch_size=20)
    running = bn.evaluate(net, x, y)
    assert diagnosis.score("running").loss == pytest.approx(running["loss"])
    for method in ("sequential", "pooled", "average"):
        twin = net.copy()
        bn.recalibrate(twin, list(read_samples(x, y, 20, None, 0)[0]), method)
        score, expected = diagnosis.score(method), bn.evaluate(twin, x, y)
        assert score.loss == pytest.approx(expected["loss"])
        assert score.accuracy == pytest.approx(expected["accuracy"])
    batch = net.copy().train()
    loss = [bn.CrossEntropy().value(batch(a), b) * len(a) for a, b in read_samples(x, y, 20, None, 0)[0].pairs()]  # fmt: skip
    assert diagnosis.score("batch").loss == pytest.approx(sum(loss) / 120)


# ---- dropout


def with_masks(net, x):
    """Variance of what the last layer (a norm) receives in evaluation, and over all masks of all dropout layers."""
    *front, norm = net.layers
    drops = [layer for _, layer in net.named_layers() if isinstance(layer, Dropout)]
    value = Sequential(*(layer.copy() for layer in front)).eval()(x)
    sizes = [drop.size for drop in drops]
    total = square = weight = 0.0
    axes = tuple(a for a in range(value.ndim) if a != norm.axis % value.ndim)
    for kept in product([0, 1], repeat=sum(sizes)):
        masks = np.split(np.array(kept, np.float64), np.cumsum(sizes)[:-1])
        chance = 1.0
        for drop, mask in zip(drops, masks):
            drop.mask = mask / (1 - drop.p)
            chance *= np.prod(np.where(mask, 1 - drop.p, drop.p))
        y = Sequential(*front)(x) if front else x
        total = total + chance * y.mean(axis=axes)
        square = square + chance * (y**2).mean(axis=axes)
        weight += chance
    assert weight == pytest.approx(1)
    return value.var(axis=axes), square - total**2


class Masked(Dropout):
    """Dropout with a mask that is given, the same for all samples."""

    def __init__(self, p, size):
        super().__init__(p)
        self.size, self.mask = size, None

    def forward(self, x):
        return x if self.mask is None else x * self.mask.reshape(x.shape[1:])


def f64(layer, *args, **kwargs):
    return layer(*args, dtype=np.float64, rng=3, **kwargs)


def image(channels, side):
    return lambda rng: rng.normal(1, 2, (50, channels, side, side))


def rows(features):
    return lambda rng: rng.normal(np.arange(features) - 1, 2, (50, features))


EXACT = {
    "directly": (rows(5), lambda: [Masked(0.4, 5)], 5),
    "linear": (rows(6), lambda: [Masked(0.3, 6), f64(Linear, 6, 4)], 4),
    "twice": (rows(4), lambda: [Masked(0.3, 4), Masked(0.2, 4), f64(Linear, 4, 3)], 3),
    "activation": (rows(6), lambda: [Masked(0.5, 6), Tanh()], 6),
    "activations, linear": (rows(6), lambda: [Masked(0.5, 6), ReLU(), LeakyReLU(0.1), f64(Linear, 6, 3)], 3),
    "convolution": (image(2, 2), lambda: [Masked(0.5, 8), f64(Conv2d, 2, 3, 3, padding=1)], 3),
    "average": (image(1, 3), lambda: [Masked(0.5, 9), AvgPool(2, 1, 1)], 1),
    "average inside": (image(1, 3), lambda: [Masked(0.5, 9), AvgPool(2, 1, 1, count_include_pad=False)], 1),
    "global average": (image(2, 2), lambda: [Masked(0.5, 8), GlobalAvgPool()], 2),
    "flatten, linear": (image(2, 2), lambda: [Masked(0.5, 8), Flatten(), GELU(), f64(Linear, 8, 3)], 3),
    "residual": (rows(5), lambda: [Residual(Sequential(Masked(0.4, 5), f64(Linear, 5, 5)), None, None)], 5),
    "concat": (rows(4), lambda: [Concat(Sequential(Masked(0.4, 4)), Sequential()), f64(Linear, 8, 3)], 3),
}  # fmt: skip
# Behind a product values share masks and are not quite normal; what is assumed of them costs so much
CLOSE = {
    "linear, relu": (0.06, rows(9), lambda: [Masked(0.3, 9), f64(Linear, 9, 6, activation="relu")], 6),
    "linear, gelu, linear": (0.15, rows(9), lambda: [Masked(0.3, 9), f64(Linear, 9, 6), GELU(), f64(Linear, 6, 6)], 6),
    "residual, relu": (0.06, rows(9), lambda: [Residual(Sequential(Masked(0.3, 9), f64(Linear, 9, 9)))], 9),
}  # fmt: skip


def prediction(rng, case):
    make, front, channels = case
    x = make(rng)
    net = Sequential(*front(), BatchNorm(channels, dtype=np.float64)).eval()
    path = str(len(net) - 1)
    samples = read_samples([x[:20], x[20:]], None, 1, None, 0)[0]
    ratio = predict_dropout(net, {path: net[-1]}, samples, lambda n: None)[path].ratio()
    evaluation, training = with_masks(net, x)
    return ratio, evaluation / training


@pytest.mark.parametrize("name", EXACT)
def test_predicted_dropout_ratios_are_those_over_all_masks(rng, name):
    predicted, exact = prediction(rng, EXACT[name])
    np.testing.assert_allclose(predicted, exact, rtol=1e-9)


@pytest.mark.parametrize("name", CLOSE)
def test_behind_a_nonlinearity_predictions_are_close(rng, name):
    tolerance, *case = CLOSE[name]
    predicted, exact = prediction(rng, case)
    assert np.median(predicted) == pytest.approx(np.median(exact), rel=tolerance)


def test_directly_in_front_it_is_the_formula_of_li(rng):
    """test/train = v / ((c² + v)/q - c²), 1801.05134; and a real run of dropout agrees."""
    x = rng.normal([0, 1, -3, 10], [1, 2, 1, 3], (20000, 4))
    diagnosis = bn.diagnose(Sequential(Dropout(0.3), BatchNorm(4, dtype=np.float64)), x)
    effect = diagnosis.norm("1").dropout
    c, v, q = x.mean(axis=0), x.var(axis=0), 0.7
    np.testing.assert_allclose(effect.predicted, v / ((c**2 + v) / q - c**2), rtol=1e-12)
    np.testing.assert_allclose(effect.measured, effect.predicted, rtol=0.05)
    assert effect.through == () and effect.layers == (("0", 0.3),)


def test_where_there_is_no_formula_the_report_says_so(rng):
    x = rng.normal(1, 1, (60, 2, 4, 4))
    net = Sequential(Dropout(0.5), MaxPool(2), BatchNorm(2, dtype=np.float64))
    diagnosis = bn.diagnose(net, x)
    effect = diagnosis.norm("2").dropout
    assert effect.predicted is None and 0 < effect.ratio < 1
    assert effect.why == "no formula leads through 1 MaxPool(2)" and effect.why in str(diagnosis)
    assert effect.through == ("1 MaxPool(2)",)


def test_dropout_of_nothing_is_no_dropout(rng):
    net = Sequential(Dropout(0.0), BatchNorm(3, dtype=np.float64))
    assert bn.diagnose(net, rng.normal(size=(40, 3))).norm("1").dropout is None


def test_a_norm_in_between_ends_the_reach_of_dropout_and_a_frozen_one_does_not(rng):
    x = rng.normal(1, 1, (4000, 3))
    fixed = BatchNorm(3, frozen=True, dtype=np.float64)
    fixed.set_running([1, 2, 3], [4, 5, 6])
    how = {"dtype": np.float64}
    net = Sequential(Dropout(0.5, rng=1), fixed, BatchNorm(3, **how), BatchNorm(3, **how))
    diagnosis = bn.diagnose(net, x)
    effect = diagnosis.norm("2").dropout
    np.testing.assert_allclose(effect.predicted, 1 / 3, rtol=0.1)  # v = c² = 1, q = 1/2
    np.testing.assert_allclose(effect.measured, effect.predicted, rtol=0.1)
    assert diagnosis.norm("3").dropout is None


class Own(Layer):
    """A container of one's own with dropout inside, but no norm."""

    def __init__(self):
        self.drop = Dropout(0.5, rng=2)

    def children(self):
        return [("drop", self.drop)]

    def forward(self, x):
        return self.drop(x)


def test_dropout_inside_other_layers_is_seen(rng):
    net = Sequential(Own(), BatchNorm(3, dtype=np.float64))
    effect = bn.diagnose(net, rng.normal(1, 1, (400, 3))).norm("1").dropout
    assert effect.layers == (("0.drop", 0.5),) and effect.predicted is None
    assert effect.ratio == pytest.approx(1 / 3, rel=0.2)


# ---- other norms


def test_norms_inside_recurrent_layers(rng):
    x = rng.normal(2, 1, (60, 5, 4)).astype(np.float32)
    net = Sequential(
        Dropout(0.2), LSTM(4, 6, num_layers=2, norm="batch", dropout=0.3, bidirectional=True, output="last", rng=1),
        Linear(12, 3, rng=2),
    )  # fmt: skip
    bn.recalibrate(net, x)
    paths = ["1.norm_l0", "1.norm_l0_reverse", "1.norm_l1", "1.norm_l1_reverse"]
    diagnosis = bn.diagnose(net, x, batch_size=16)
    assert [norm.path for norm in diagnosis.norms] == paths
    for norm in diagnosis.norms:
        assert norm.from_population.size < 1e-5 and norm.noise.expected is None
    assert diagnosis.norm(paths[0]).dropout.layers == (("0", 0.2),)
    assert diagnosis.norm(paths[3]).dropout.layers == (("1.dropout_l0", 0.3),)
    net[1].norm_l1.running_mean[...] += 20
    finding = bn.diagnose(net, x).findings[0]
    assert finding.kind == "foreign" and finding.norms == ("1.norm_l1",)


def test_batch_renorm_is_diagnosed_by_what_it_stores(rng):
    x = rng.normal(3, 2, (200, 4))
    norm = BatchRenorm(4, dtype=np.float64)
    bn.recalibrate(norm, x)
    assert bn.diagnose(norm, x).norm("").from_population.size < 1e-6
    norm.running_std[1] *= 2
    distance = bn.diagnose(norm, x).norm("").from_population
    np.testing.assert_allclose(distance.variance, [1, 4, 1, 1], rtol=1e-6)


def test_all_nets_of_the_house_can_be_diagnosed(rng):
    x, y = rng.normal(size=(24, 1, 8, 8)).astype(np.float32), rng.integers(0, 3, 24)
    for make, more in (
        (bn.nets.mlp, {}), (bn.nets.cnn, {}), (bn.nets.resnet20, {"width": 4, "blocks": 1}),
        (bn.nets.inception_small, {"width": 0.05}),
    ):  # fmt: skip
        net = make(64 if make is bn.nets.mlp else 1, 3, rng=0, **more)
        diagnosis = bn.diagnose(net, x, y, batch_size=8)
        count = sum(isinstance(layer, BatchNorm) for _, layer in net.named_layers())
        assert len(diagnosis.norms) == count and "closes" in str(diagnosis)
