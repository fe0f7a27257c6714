"""Recalibration against brute force over the whole data set in float64: all methods, all conventions."""

from itertools import pairwise

import numpy as np
import pytest

import bncore as bn
from bncore import nets
from bncore.layers import (
    AvgPool,
    BatchNorm,
    Concat,
    Conv2d,
    Dropout,
    Flatten,
    GlobalAvgPool,
    Linear,
    MaxPool,
    ReLU,
    Residual,
    Sequential,
)
from bncore.support.progress import Progress

STORED = {np.dtype(np.float32): 1e-6, np.dtype(np.float64): 1e-12}  # a rounding of the statistics


def chain(dtype, unbiased=True):
    """Norms one after another, dropout between them, biased and unbiased ones."""
    how = {"unbiased": unbiased, "dtype": dtype}
    return Sequential(
        BatchNorm(2, affine=False, **how),
        Conv2d(2, 4, 3, padding=1, dtype=dtype, rng=1),
        BatchNorm(4, activation="relu", **how),
        Dropout(0.5, rng=1),
        MaxPool(2),
        Flatten(),
        Linear(36, 5, dtype=dtype, rng=2),
        BatchNorm(5, dtype=dtype, unbiased=not unbiased),
    )


def branched(dtype):
    """Residual blocks with and without a shortcut, parallel branches, norms behind both."""

    def conv(inputs, outputs, stride=1, activation=None):
        return [
            Conv2d(inputs, outputs, 3, stride, 1, dtype=dtype, rng=inputs + outputs),
            BatchNorm(outputs, activation=activation, dtype=dtype),
        ]

    return Sequential(
        *conv(2, 4, activation="relu"),
        Residual(Sequential(*conv(4, 4, activation="relu"), *conv(4, 4))),
        Residual(Sequential(*conv(4, 6, 2)), Sequential(*conv(4, 6, 2)), None),
        BatchNorm(6, dtype=dtype),
        Concat(Sequential(*conv(6, 3, activation="relu")), Sequential(AvgPool(3, 1, 1), *conv(6, 2)), Sequential()),
        ReLU(),
        BatchNorm(11, dtype=dtype),
        GlobalAvgPool(),
    )  # fmt: skip


def data(rng, dtype, n=37):
    return rng.normal(3, 2, (n, 2, 6, 6)).astype(dtype)


def norms(net):
    return {path: layer for path, layer in net.named_layers() if isinstance(layer, BatchNorm)}


def received_in_evaluation(net, x, monkeypatch):
    """{path: what that norm receives} in evaluation, over all of x in one batch."""
    seen = {}
    paths = {id(norm): path for path, norm in norms(net).items()}
    original = BatchNorm.forward

    def forward(self, x, *others):
        seen[paths[id(self)]] = x.astype(np.float64)
        return original(self, x, *others)

    with monkeypatch.context() as patch:
        patch.setattr(BatchNorm, "__call__", forward)
        net.eval()(x)
    return seen


def moments(x, axis=1):
    """Count, mean and biased variance of every channel, literally."""
    rows = np.moveaxis(x, axis, -1).reshape(-1, x.shape[axis])
    return len(rows), rows.mean(axis=0), rows.var(axis=0)


def stored_variance(norm, var, count):
    return var * count / (count - 1) if norm.unbiased else var


@pytest.mark.parametrize("make", [chain, branched])
@pytest.mark.parametrize("batch_size", [5, 16, 1000])
def test_sequential_gives_every_norm_the_statistics_of_what_it_receives(
    rng, dtype, backend, make, batch_size, monkeypatch
):
    net, x = make(dtype), data(rng, dtype)
    report = bn.recalibrate(net, x, batch_size=batch_size)
    seen = received_in_evaluation(net, x, monkeypatch)
    assert set(seen) == set(norms(net)) == {change.path for change in report.layers}
    for path, norm in norms(net).items():
        count, mean, var = moments(seen[path])
        std = np.sqrt(var)
        assert (np.abs(norm.running_mean - mean) <= STORED[dtype] * (std + np.abs(mean))).all(), (
            path
        )
        expected = stored_variance(norm, var, count)
        assert (np.abs(norm.running_var - expected) <= 4 * STORED[dtype] * expected).all(), path


def by_training_batches(net, x, borders):
    """Per norm and batch: (count, mean, biased variance) where norms normalize by their batch, in float64."""
    rows = {path: [] for path in norms(net)}
    paths = {id(norm): path for path, norm in norms(net).items()}

    def forward(self, x, residual=None, activation=None):
        x = x.astype(np.float64)
        count, mean, var = moments(x)
        rows[paths[id(self)]].append((count, mean, var))
        shape = (-1, *[1] * (x.ndim - 2))
        y = (x - mean.reshape(shape)) / np.sqrt(var + self.eps).reshape(shape)
        if self.weight is not None:
            y = y * self.weight.reshape(shape) + self.bias.reshape(shape)
        if residual is not None:
            y = y + residual
        return np.maximum(y, 0) if (self.activation or activation) else y

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BatchNorm, "__call__", forward)
        for begin, end in pairwise(borders):
            net.eval()(x[begin:end].astype(np.float64))
    return rows


@pytest.mark.parametrize("make", [chain, branched])
@pytest.mark.parametrize("method", ["pooled", "average"])
def test_one_pass_methods_follow_their_definitions(rng, make, method):
    net, x = make(np.float64), data(rng, np.float64)
    borders = [0, 12, 24, 36, 37] if method == "pooled" else [0, 15, 35, 37]
    batches = [x[a:b] for a, b in pairwise(borders)]
    expected = by_training_batches(make(np.float64), x, borders)
    report = bn.recalibrate(net, batches, method)
    assert report.passes == 1 and report.samples == 37
    for path, norm in norms(net).items():
        counts, means, variances = (np.array(part) for part in zip(*expected[path], strict=True))
        total = counts.sum()
        weights = counts[:, None] / total
        mean = (weights * means).sum(axis=0)
        if method == "average":
            unbiased = (weights * variances * (counts / (counts - 1))[:, None]).sum(axis=0)
            expected_var = unbiased if norm.unbiased else unbiased * (total - 1) / total
        else:
            var = (weights * (variances + (means - mean) ** 2)).sum(axis=0)
            expected_var = stored_variance(norm, var, total)
        assert np.abs(norm.running_mean - mean).max() < 1e-10, path
        assert np.abs(norm.running_var - expected_var).max() < 1e-10, path


def test_average_misses_the_variance_between_batches_and_pooled_does_not(rng):
    x = np.concatenate([rng.normal(0, 1, (50, 3)), rng.normal(10, 1, (50, 3))])
    pooled, average = BatchNorm(3, dtype=np.float64), BatchNorm(3, dtype=np.float64)
    bn.recalibrate(pooled, [x[:50], x[50:]], "pooled")
    bn.recalibrate(average, [x[:50], x[50:]], "average")
    assert np.abs(pooled.running_var - x.var(axis=0, ddof=1)).max() < 1e-10
    assert (average.running_var < 2).all() and (pooled.running_var > 20).all()


def test_ema_changes_nothing_and_reads_nothing(rng):
    net = chain(np.float32)
    net(data(rng, np.float32))
    before = net.state_dict()
    report = bn.recalibrate(net, iter([]), "ema")
    assert all((value == net.state_dict()[name]).all() for name, value in before.items())
    assert len(report.layers) == 3 and report.passes == 0
    assert all(
        change.mean_shift.max() == 0 and (change.variance_ratio == 1).all()
        for change in report.layers
    )


def test_short_batches_weigh_what_they_hold_and_empty_ones_nothing(rng):
    x = data(rng, np.float64)
    whole, pieces = chain(np.float64), chain(np.float64)
    bn.recalibrate(whole, x)
    bn.recalibrate(pieces, [x[:30], x[30:30], x[30:36], x[36:]])
    for path, norm in norms(whole).items():
        assert np.abs(norm.running_mean - norms(pieces)[path].running_mean).max() < 1e-12
        assert np.abs(norm.running_var - norms(pieces)[path].running_var).max() < 1e-12


def test_parallel_norms_share_a_pass(rng):
    net = branched(np.float32)
    report = bn.recalibrate(net, data(rng, np.float32))
    # 0-1 | 2.main.1 | 2.main.3 | 3 (two at once) | 4 | 5 (two at once) | 7
    assert len(norms(net)) == 9 and report.passes == 7


class Loader:
    """Batches made anew at every pass, as a data loader does."""

    def __init__(self, x, size):
        self.x, self.size, self.passes = x, size, 0

    def __iter__(self):
        self.passes += 1
        return (self.x[a : a + self.size] for a in range(0, len(self.x), self.size))


def test_anything_that_can_be_iterated_again_will_do(rng):
    x, net, other = data(rng, np.float32), chain(np.float32), chain(np.float32)
    loader = Loader(x, 10)
    report = bn.recalibrate(net, loader)
    assert loader.passes == report.passes == 3 and report.samples == 37
    bn.recalibrate(other, [x[a : a + 10] for a in range(0, 37, 10)])
    assert all(
        (value == other.state_dict()[name]).all() for name, value in net.state_dict().items()
    )


def test_an_exhaustible_iterator_is_refused_where_one_pass_is_not_enough(rng):
    x = data(rng, np.float32)
    net = chain(np.float32)
    with pytest.raises(
        ValueError, match="reads the data once per norm layer.*can be iterated again"
    ):
        bn.recalibrate(net, iter([x]))
    bn.recalibrate(net, iter([x]), "pooled")
    bn.recalibrate(BatchNorm(2), iter([x]))  # one norm, one pass


class Shrinking(Loader):
    def __iter__(self):
        self.x = self.x[1:]
        return super().__iter__()


@pytest.mark.parametrize("method", ["sequential", "pooled", "average"])
def test_an_error_leaves_the_net_as_it_was(rng, method):
    net = chain(np.float32)
    net(data(rng, np.float32))
    net[2].training = False  # a mode of its own, which must survive as well
    x = data(rng, np.float32)
    x[20, 1] = np.nan
    before = net.state_dict()
    with pytest.raises(
        ValueError, match=r"statistics of 0 BatchNorm\(2\) are not finite in float32 \(channel 1\)"
    ):
        bn.recalibrate(net, x, method)
    with pytest.raises(TypeError, match="^1 Conv2d|^0 BatchNorm"):
        bn.recalibrate(net, data(rng, np.float64), method)
    after = net.state_dict()
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert net.training and net[0].training and not net[2].training


def test_data_that_changes_between_passes_is_an_error(rng):
    with pytest.raises(ValueError, match="the same data every time, got 36 samples, then 35"):
        bn.recalibrate(chain(np.float32), Shrinking(data(rng, np.float32), 10))


def test_single_values_have_no_variance(rng):
    x = rng.normal(size=(9, 3)).astype(np.float32)
    with pytest.raises(ValueError, match="method 'average' needs batches of more than one value"):
        bn.recalibrate(Sequential(BatchNorm(3)), [x[:8], x[8:]], "average")
    with pytest.raises(ValueError, match="sees 1 values per channel, an unbiased variance needs 2"):
        bn.recalibrate(Sequential(BatchNorm(3)), x[:1])
    norm = BatchNorm(3, unbiased=False)
    bn.recalibrate(norm, x[:1])
    assert (norm.running_mean == x[0]).all() and (norm.running_var == 0).all()


def test_frozen_norms_and_norms_without_statistics_are_left_alone(rng):
    net = Sequential(
        BatchNorm(3, frozen=True), BatchNorm(3, track_running_stats=False), BatchNorm(3), BatchNorm(3)
    )  # fmt: skip
    x = rng.normal(5, 2, (20, 3)).astype(np.float32)
    report = bn.recalibrate(net, x)
    assert [change.path for change in report.layers] == ["2", "3"] and report.passes == 2
    assert report.skipped == [
        ("0", "its statistics are frozen"),
        ("1", "it has no running statistics"),
    ]
    assert (net[0].running_mean == 0).all() and (net[0].running_var == 1).all()
    assert "1: left alone, it has no running statistics" in str(report)


@bn.layers.register
class _Wrapped(bn.layers.Layer):
    def __init__(self, child):
        self.child = child

    def children(self):
        return [("child", self.child)]

    def forward(self, x):
        return self.child(x)


def test_norms_in_containers_of_unknown_kind_are_an_error_not_a_guess(rng):
    x = rng.normal(size=(20, 3)).astype(np.float32)
    bn.recalibrate(Sequential(BatchNorm(3), _Wrapped(Linear(3, 3)), BatchNorm(3)), x)
    with pytest.raises(TypeError, match="1 _Wrapped.*norms inside a container other than"):
        bn.recalibrate(Sequential(BatchNorm(3), _Wrapped(BatchNorm(3))), x)


class _TwoLayersDeep(bn.layers.Layer):
    """As recurrent layers do: norms inside, which somebody else may apply, or leave for later."""

    def __init__(self, features):
        self.first, self.second = BatchNorm(features), BatchNorm(features, activation="relu")

    def children(self):
        return [("first", self.first), ("second", self.second)]

    def forward(self, x):
        return self.forward_through(x, lambda name, child, rows: child(rows))

    def forward_through(self, x, call):
        y = call("first", self.first, 3 * x)
        y = None if y is None else call("second", self.second, np.tanh(y))
        return None if y is None else y + 1


@pytest.mark.parametrize("method", ["sequential", "pooled", "average"])
def test_layers_that_let_others_apply_their_norms_are_walked_through(rng, method):
    x = rng.normal(5, 2, (20, 3)).astype(np.float32)
    net = Sequential(BatchNorm(3), _TwoLayersDeep(3), BatchNorm(3))
    plain = Sequential(
        BatchNorm(3),
        _Times(3), BatchNorm(3), bn.Tanh(), BatchNorm(3, activation="relu"), _Plus(1),
        BatchNorm(3),
    )  # fmt: skip
    report, expected = bn.recalibrate(net, x, method), bn.recalibrate(plain, x, method)
    assert report.passes == expected.passes
    assert [change.path for change in report.layers] == ["0", "1.first", "1.second", "2"]
    for mine, theirs in zip(norms(net).values(), norms(plain).values()):
        assert np.allclose(mine.running_mean, theirs.running_mean, atol=1e-6)
        assert np.allclose(mine.running_var, theirs.running_var)


class _Times(bn.layers.Layer):
    def __init__(self, factor):
        self.factor = factor

    def forward(self, x):
        return self.factor * x


class _Plus(_Times):
    def forward(self, x):
        return x + self.factor


class _Silent(_TwoLayersDeep):
    def forward_through(self, x, call):
        return x


def test_a_norm_that_never_receives_anything_is_an_error_not_an_endless_loop(rng):
    x = rng.normal(size=(20, 3)).astype(np.float32)
    with pytest.raises(ValueError, match="brought nothing to '0.first', '0.second'"):
        bn.recalibrate(Sequential(_Silent(3)), x)


class _Chain(Sequential):
    """A container of one's own that passes values on as Sequential does."""


def test_subclasses_of_the_containers_are_walked_through(rng):
    x = rng.normal(5, 2, (20, 3)).astype(np.float32)
    report = bn.recalibrate(_Chain(BatchNorm(3), _Chain(BatchNorm(3))), x)
    assert [change.path for change in report.layers] == ["0", "1.0"]


def test_a_net_without_norms_is_not_even_run(rng):
    report = bn.recalibrate(Linear(3, 2), np.zeros((5, 3), np.float32))
    assert report.layers == [] and report.passes == 0 and "0 norms" in str(report)


def test_modes_and_counters_survive(rng):
    net = chain(np.float32)
    net(data(rng, np.float32))
    bn.recalibrate(net, data(rng, np.float32))
    assert net.training and net[2].num_batches_tracked == 1
    assert all(layer.training and layer.keeps for _, layer in net.named_layers())


def test_the_report_tells_what_changed(rng):
    net = Sequential(BatchNorm(2, dtype=np.float64))
    x = rng.normal([3, -4], [2, 0.5], (4000, 2))
    report = bn.recalibrate(net, x)
    (change,) = report.layers
    var = x.var(axis=0, ddof=1) + 1e-5
    assert np.allclose(change.mean_shift, np.abs(x.mean(axis=0)) / np.sqrt(var))
    assert np.allclose(change.variance_ratio, var / (1 + 1e-5)) and change.count == 4000
    assert report.to_dict()["layers"][0] == {
        "path": "0", "channels": 2, "count": 4000.0, "mean_shift": change.mean_shift.max(),
        "variance_ratio": [change.variance_ratio.min(), change.variance_ratio.max()],
    }  # fmt: skip
    lines = str(report).splitlines()
    assert lines[0] == "recalibration, method 'sequential': 1 norms, 4000 samples read once"
    assert lines[1].split() == ["norm", "channels", "mean", "moved", "by", "variance", "times"]


def test_progress_hears_of_every_batch(rng):
    with Progress(show=False) as progress:
        bn.recalibrate(chain(np.float32), data(rng, np.float32), batch_size=10, progress=progress)
    assert progress.done == 3 * 4


@pytest.mark.parametrize("x, error, match", [
    (3, TypeError, "x must be an array or an iterable of arrays, got int"),
    (np.zeros((0, 3), np.float32), ValueError, "x must hold at least one sample"),
    ([], ValueError, "x must hold at least one sample"),
    (np.zeros(3, np.float32), ValueError, "x must have samples along axis 0"),
    ([[1.0, 2.0]], TypeError, "got batch 0 as a list"),
])  # fmt: skip
def test_wrong_data_is_named(x, error, match):
    with pytest.raises(error, match=match):
        bn.recalibrate(BatchNorm(3), x)


def test_wrong_arguments_are_named():
    x = np.zeros((4, 3), np.float32)
    with pytest.raises(TypeError, match="net must be a Layer"):
        bn.recalibrate("net", x)
    with pytest.raises(ValueError, match="method must be one of 'sequential'"):
        bn.recalibrate(BatchNorm(3), x, "precise")
    with pytest.raises(ValueError, match="batch_size"):
        bn.recalibrate(BatchNorm(3), x, batch_size=0)


@pytest.mark.parametrize("make", [nets.resnet20, nets.inception_small])
def test_reference_nets_see_what_their_norms_say(rng, make, monkeypatch):
    net = make(2, 5, width=4 if make is nets.resnet20 else 0.05, rng=3)
    x = data(rng, np.float32)
    bn.recalibrate(net, x, batch_size=10)
    seen = received_in_evaluation(net, x, monkeypatch)
    for path, norm in norms(net).items():
        count, mean, var = moments(seen[path])
        assert np.abs(norm.running_mean - mean).max() < 1e-5 * np.sqrt(var).max(), path
        assert np.allclose(norm.running_var, stored_variance(norm, var, count), rtol=1e-5), path
