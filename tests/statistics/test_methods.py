"""All four methods against brute force on the whole set, for every kind of net, layout and type.

Also what makes "sequential" the default: evaluation then normalizes exactly what it sees.
"""

from __future__ import annotations

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
from bncore.training.batches import batch_borders
from tests.reference import nets as reference

METHODS = ["sequential", "pooled", "average", "ema"]
SAMPLES, BATCH = 45, 12
# Rounding of float32 grows through the layers, each of which divides by a standard deviation
EXACT = {np.dtype(np.float32): 2e-5, np.dtype(np.float64): 1e-11}


def plain(axis, dtype, unbiased):
    """Norms one behind the other, dropout between them."""
    how = {"dtype": dtype, "unbiased": unbiased}
    return Sequential(
        BatchNorm(7, affine=False, **how), Linear(7, 9, False, dtype=dtype, rng=1), BatchNorm(9, **how), ReLU(),
        Dropout(0.5), Linear(9, 6, dtype=dtype, rng=2), BatchNorm(6, **how), BatchNorm(6, activation="relu", **how),
    )  # fmt: skip


def conv(axis, dtype, unbiased):
    def block(inputs, outputs, **how):
        return [
            Conv2d(inputs, outputs, 3, padding=1, axis=axis, dtype=dtype, rng=outputs),
            BatchNorm(outputs, axis=axis, dtype=dtype, unbiased=unbiased, **how),
        ]

    return Sequential(
        *block(2, 4, activation="relu"), MaxPool(2, axis=axis), *block(4, 5), Dropout(0.3),
        AvgPool(2, axis=axis), Flatten(), Linear(5, 3, dtype=dtype, rng=2), BatchNorm(3, dtype=dtype),
    )  # fmt: skip


def residual(axis, dtype, unbiased):
    net = nets.resnet20(2, 3, width=3, blocks=1, axis=axis, dtype=dtype, rng=4)
    return _convention(net, unbiased)


def concat(axis, dtype, unbiased):
    def branch(inputs, outputs, kernel):
        return Sequential(
            Conv2d(inputs, outputs, kernel, 1, kernel // 2, axis=axis, dtype=dtype, rng=kernel),
            BatchNorm(outputs, axis=axis, activation="relu", dtype=dtype, unbiased=unbiased),
        )

    return Sequential(
        Concat(branch(2, 3, 1), branch(2, 4, 3), Sequential(), axis=axis),
        Concat(Residual(branch(9, 9, 3)), Sequential(*branch(9, 2, 1), *branch(2, 3, 3)), axis=axis),
        BatchNorm(12, axis=axis, dtype=dtype), GlobalAvgPool(axis=axis),
    )  # fmt: skip


def mlp(axis, dtype, unbiased):
    net = nets.mlp(6 * 6 * 2, 4, hidden=(11, 8), dropout=0.2, dtype=dtype, rng=5)
    return _convention(net, unbiased)


def _convention(net, unbiased):
    for norm in norms(net).values():
        norm.unbiased = unbiased
    return net


def norms(net):
    return {path: layer for path, layer in net.named_layers() if isinstance(layer, BatchNorm)}


def data(make, axis, dtype, rng):
    """Inputs whose channels differ in mean and spread; the samples do, too, so that batches disagree."""
    if make is plain:
        x = rng.normal(np.arange(7), 1 + np.arange(7), (SAMPLES, 7))
    else:
        x = rng.normal(3, 2, (SAMPLES, 2, 6, 6)) * [[[[1]], [[10]]]]
        x += np.linspace(-1, 4, SAMPLES)[:, None, None, None]
        x = x if axis == 1 else np.moveaxis(x, 1, -1)
    return np.ascontiguousarray(x, dtype)


def trained(make, axis, dtype, unbiased, rng):
    """A net whose weights, biases and running statistics are anything but their starts."""
    net = make(axis, dtype, unbiased)
    for norm in norms(net).values():
        for name, low, high in (("weight", 0.5, 2), ("bias", -1, 1), ("running_mean", -1, 1), ("running_var", 0.5, 2)):  # fmt: skip
            if getattr(norm, name) is not None:
                getattr(norm, name)[...] = rng.uniform(low, high, norm.num_features)
    return net


@pytest.mark.parametrize("make", [plain, conv, residual, concat, mlp])
@pytest.mark.parametrize("axis", [1, -1])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("unbiased", [True, False])
def test_every_method_agrees_with_brute_force(rng, dtype, make, axis, method, unbiased):
    x = data(make, axis, dtype, rng)
    net = trained(make, axis, dtype, unbiased, rng)
    borders = batch_borders(SAMPLES, BATCH)
    expected = reference.population(net, x, method, borders)
    report = bn.recalibrate(net, x, method, batch_size=BATCH)
    assert set(expected) == set(norms(net)) == {change.path for change in report.layers}
    for path, norm in norms(net).items():
        mean, var = expected[path]
        scale = np.sqrt(var) + np.abs(mean)
        assert (np.abs(norm.running_mean - mean) <= EXACT[dtype] * scale).all(), path
        assert (np.abs(norm.running_var - var) <= EXACT[dtype] * var).all(), path


def watched(net, x, monkeypatch):
    """{path: (what the norm receives, what it gives before weight, bias and activation)} in evaluation."""
    seen = {}
    paths = {id(norm): path for path, norm in norms(net).items()}
    original = BatchNorm.forward

    def forward(self, x, *others):
        bare = BatchNorm(
            self.num_features, axis=self.axis, eps=self.eps, affine=False, dtype=self.dtype
        )
        bare.running_mean[...], bare.running_var[...] = self.running_mean, self.running_var
        seen[paths[id(self)]] = x, original(bare.eval(), x)
        return original(self, x, *others)

    with monkeypatch.context() as patch:
        patch.setattr(BatchNorm, "__call__", forward)
        net.eval()(x)
    return seen


@pytest.mark.parametrize("make", [plain, conv, residual, concat, mlp])
@pytest.mark.parametrize("axis", [1, -1])
@pytest.mark.parametrize("unbiased", [True, False])
def test_after_sequential_recalibration_evaluation_normalizes_exactly_what_it_sees(
    rng, dtype, make, axis, unbiased, monkeypatch
):
    """Layer by layer: mean 0, variance var / (stored var + eps), to 1e-6 in both types."""
    x = data(make, axis, dtype, rng)
    net = trained(make, axis, dtype, unbiased, rng)
    bn.recalibrate(net, x, batch_size=BATCH)
    seen = watched(net, x, monkeypatch)
    assert set(seen) == set(norms(net))
    for path, norm in norms(net).items():
        received, given = (np.float64(a) for a in seen[path])
        count, _, var = reference.moments(received, norm.axis)
        _, mean, variance = reference.moments(given, norm.axis)
        expected = var / (reference.stored(norm, count, var) + norm.eps)
        assert np.abs(mean).max() < 1e-6, path
        assert np.abs(variance - expected).max() < 1e-6, path


@pytest.mark.parametrize("method", ["pooled", "average", "ema"])
def test_the_other_methods_do_not_in_deeper_layers(rng, method, monkeypatch):
    """What "sequential" is for: the difference is far above 1e-6."""
    x = data(residual, 1, np.float64, rng)
    net = trained(residual, 1, np.dtype(np.float64), True, rng)
    bn.recalibrate(net, x, method, batch_size=BATCH)
    given = [y for _, y in watched(net, x, monkeypatch).values()]
    assert max(np.abs(reference.moments(y, 1)[1]).max() for y in given) > 1e-2
