"""Losses as objects: values agree with their gradients, shapes are matched but never broadcast."""

import numpy as np
import pytest

import bncore as bn
from bncore.training import losses

RNG = np.random.default_rng(0)
CASES = {
    "cross_entropy": (RNG.normal(size=(6, 4)), RNG.integers(0, 4, 6)),
    "mse": (RNG.normal(size=(6, 4)), RNG.normal(size=(6, 4))),
    "bce_with_logits": (RNG.normal(size=(6, 4)), RNG.random((6, 4))),
}


@pytest.mark.parametrize("loss", [*CASES, bn.CrossEntropy(label_smoothing=0.2)], ids=str)
def test_the_gradient_is_that_of_the_value(loss):
    judge = losses.resolve(loss)
    pred, target = CASES[loss if isinstance(loss, str) else "cross_entropy"]
    value, gradient = judge(pred, target)
    assert value == judge.value(pred, target)
    direction = np.random.default_rng(1).normal(size=pred.shape)
    h = 1e-6
    slope = (
        judge.value(pred + h * direction, target) - judge.value(pred - h * direction, target)
    ) / (2 * h)
    assert slope == pytest.approx((gradient * direction).sum(), rel=1e-6)


def test_a_column_of_predictions_takes_a_vector_of_targets():
    pred, target = RNG.normal(size=(5, 1)), RNG.normal(size=5)
    assert bn.MSE()(pred, target)[0] == pytest.approx(((pred[:, 0] - target) ** 2).mean())
    bits = np.array([0, 1, 1, 0, 1])
    assert (
        bn.BCEWithLogits()(pred, bits)[0]
        == bn.BCEWithLogits()(pred, bits.astype(float)[:, None])[0]
    )
    assert bn.BCEWithLogits().accuracy(pred, bits > 0) == ((pred[:, 0] > 0) == bits).mean()


def test_other_shapes_are_refused_not_broadcast():
    for loss in (bn.MSE(), bn.BCEWithLogits()):
        with pytest.raises(ValueError, match="target"):
            loss(np.zeros((5, 2)), np.zeros(5))
        with pytest.raises(ValueError, match="target"):
            loss(np.zeros(5), np.zeros((5, 1)))


def test_label_smoothing_is_a_probability():
    with pytest.raises(ValueError, match="label_smoothing"):
        bn.CrossEntropy(label_smoothing=1.5)
