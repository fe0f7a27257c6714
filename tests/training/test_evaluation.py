"""evaluate and predict: exact means, any batch size, nothing about the net changed."""

import numpy as np
import pytest

import bncore as bn

from .nets import small_cnn, small_mlp

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(101, 5)), RNG.integers(0, 3, 101)


def test_loss_and_accuracy_are_means_over_samples():
    net = small_mlp().eval()
    logits = net(X)
    log_sum = np.log(np.exp(logits).sum(axis=1))
    expected = (log_sum - logits[np.arange(101), Y]).mean()
    for batch_size in (1, 7, 100, 101, 1000):
        found = bn.evaluate(net, X, Y, batch_size=batch_size)
        assert found["loss"] == pytest.approx(expected, rel=1e-12)
        assert found["accuracy"] == pytest.approx((logits.argmax(axis=1) == Y).mean(), rel=1e-12)
        assert np.allclose(
            bn.predict(net, X, batch_size=batch_size), logits, rtol=1e-12, atol=1e-14
        )


def test_the_net_is_left_as_it_was():
    net = small_cnn(dropout=0.5)
    net.train()
    net[0].eval()  # a layer its owner froze
    before, modes = (
        net.state_dict(),
        [(layer.training, layer.keeps) for _, layer in net.named_layers()],
    )
    x = RNG.normal(size=(20, 1, 8, 8)).astype(np.float32)
    first, second = bn.predict(net, x), bn.predict(net, x)
    assert np.array_equal(first, second)  # no dropout
    assert modes == [(layer.training, layer.keeps) for _, layer in net.named_layers()]
    assert all(np.array_equal(value, before[name]) for name, value in net.state_dict().items())


def test_regression_has_no_accuracy():
    assert set(bn.evaluate(small_mlp(5, 1), X, X[:, 0], "mse")) == {"loss"}


def test_targets_must_fit():
    with pytest.raises(ValueError, match=r"y must .*got 3 for 101"):
        bn.evaluate(small_mlp(), X, Y[:3])
    with pytest.raises(ValueError, match="at least one"):
        bn.evaluate(small_mlp(), X[:0], Y[:0])
