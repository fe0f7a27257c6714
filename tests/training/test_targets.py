"""Regression in any unit: the net is trained around one and answers in the target's own."""

import numpy as np
import pytest

import bncore as bn
from bncore.training import TargetScale

from .nets import small_mlp

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 5))
Y = np.stack([3e5 + 1e5 * X[:, 0], 1e-6 * X[:, 1], np.full(60, 7.0)], axis=1)


def test_absorbing_turns_standard_answers_into_the_targets_units():
    net, scale = small_mlp(), TargetScale.of(Y)
    net.pack()
    standard = bn.predict(net, X)
    scale.absorb(net)
    assert np.allclose(bn.predict(net, X), standard * scale.std + scale.mean, rtol=1e-12)
    assert np.shares_memory(net[-1].weight, net.parameters_flat)


def test_standardized_targets_have_mean_zero_and_spread_one():
    standard = TargetScale.of(Y).standardize(Y)
    assert np.allclose(standard.mean(axis=0), 0, atol=1e-9)
    assert np.allclose(standard.std(axis=0), [1, 1, 0], atol=1e-9)
    vector = TargetScale.of(Y[:, 0].astype(np.float32)).standardize(Y[:, 0].astype(np.float32))
    assert vector.shape == (60,)
    assert vector.dtype == np.float32


def test_prices_are_learnt():
    y = Y[:, :1]
    net, scale = small_mlp(5, 1), TargetScale.of(y)
    bn.fit(
        net,
        X,
        scale.standardize(y),
        loss="mse",
        optimizer=bn.AdamW(0.02),
        progress=False,
        epochs=60,
    )
    scale.absorb(net)
    assert bn.evaluate(net, X, y, "mse")["loss"] < 0.05 * y.var()


def test_what_cannot_absorb_is_refused():
    scale = TargetScale.of(Y)
    with pytest.raises(ValueError, match="3 outputs, got 1"):
        scale.absorb(small_mlp(5, 1))
    with pytest.raises(ValueError, match=r"end in a Linear with bias, got ReLU"):
        scale.absorb(bn.Sequential(bn.Linear(5, 3, rng=0), bn.ReLU()))
    with pytest.raises(TypeError, match="y"):
        TargetScale.of(np.arange(3))
