"""Recalibration of renormalization, ghost batches, moving and frozen statistics."""

import numpy as np
import pytest

import bncore as bn
from bncore.layers import BatchNorm, BatchRenorm, Linear, Sequential

KINDS = {
    "renorm": lambda **how: BatchRenorm(4, **how),
    "ghost": lambda **how: BatchNorm(4, ghost_batch_size=3, **how),
    "moving": lambda **how: BatchNorm(4, statistics="moving", **how),
    "zero-debiased": lambda **how: BatchNorm(4, zero_debias=True, **how),
    "biased": lambda **how: BatchNorm(4, unbiased=False, **how),
}
kinds = pytest.mark.parametrize("norm", KINDS.values(), ids=KINDS)


def chain(norm, dtype):
    how = {"dtype": dtype}
    return Sequential(
        Linear(3, 4, rng=0, **how), norm(activation="relu", **how), Linear(4, 4, rng=1, **how), norm(**how)
    )  # fmt: skip


@kinds
@pytest.mark.parametrize("method", ["sequential", "pooled", "average"])
def test_every_kind_takes_population_statistics(norm, method, rng, dtype):
    x = rng.normal(2, 3, (37, 3)).astype(dtype)
    net = chain(norm, dtype)
    report = bn.recalibrate(net, x, method, batch_size=37)
    assert not report.skipped
    assert [change.path for change in report.layers] == ["1", "3"]
    received = net[:1].eval()(x).astype(np.float64)
    factor = 37 / 36 if net[1].unbiased else 1.0
    var = received.var(0) * factor
    rtol = 1e-5 if dtype == np.float32 else 1e-10
    np.testing.assert_allclose(net[1].running_mean, received.mean(0), rtol=rtol, atol=rtol)
    np.testing.assert_allclose(net[1].running_var, var, rtol=rtol)


@kinds
def test_sequential_statistics_are_those_of_what_evaluation_sees(norm, rng):
    x = rng.normal(2, 3, (50, 3))
    net = chain(norm, np.float64)
    bn.recalibrate(net, x, batch_size=8)
    received = net[:3].eval()(x)
    factor = 50 / 49 if net[3].unbiased else 1.0
    np.testing.assert_allclose(net[3].running_mean, received.mean(0), rtol=1e-10)
    np.testing.assert_allclose(net[3].running_var, received.var(0) * factor, rtol=1e-10)


def test_renormalization_stores_the_standard_deviation_with_eps(rng):
    layer = BatchRenorm(3, eps=0.5, dtype=np.float64)
    x = rng.normal(0, 2, (20, 3))
    bn.recalibrate(Sequential(layer), x)
    np.testing.assert_allclose(layer.running_std, np.sqrt(x.var(0) + 0.5), rtol=1e-13)
    y = layer.eval()(x)
    np.testing.assert_allclose(y, (x - x.mean(0)) / np.sqrt(x.var(0) + 0.5), rtol=1e-10, atol=1e-12)
    assert layer.num_batches_tracked == 0


@kinds
def test_frozen_ones_are_left_alone(norm, rng):
    net = Sequential(norm(frozen=True))
    before = net.state_dict()
    report = bn.recalibrate(net, rng.normal(size=(9, 4)).astype(np.float32))
    assert report.skipped == [("0", "its statistics are frozen")]
    assert all(np.array_equal(value, before[name]) for name, value in net.state_dict().items())


@kinds
def test_an_error_leaves_every_bit_as_it_was(norm, rng):
    net = chain(norm, np.float32)
    for _, layer in net.named_layers():
        if isinstance(layer, BatchNorm):
            layer.set_running(rng.normal(size=4), rng.uniform(0.1, 3, 4))
    net[2].weight[0] = np.inf  # the first norm is stored by the time the second one fails
    before = net.state_dict()
    with pytest.raises(ValueError, match="statistics of 3 .* not finite"):
        bn.recalibrate(net, rng.normal(size=(9, 3)).astype(np.float32))
    after = net.state_dict()
    assert all(np.array_equal(after[name], value) for name, value in before.items())
