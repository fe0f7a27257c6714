"""Pre-activation: part 4 of the algebra, relu(s·x + t) = s·relu(x + t/s) for s > 0."""

import numpy as np
import pytest

from bncore.folding.onnx.engine import DEFAULT_LEVELS
from tests.folding.onnx.checks import NORM, Builder, check, kinds

ACTIVATIONS = {
    "Relu": lambda b, x: b.node("Relu", x),
    "LeakyRelu": lambda b, x: b.node("LeakyRelu", x, alpha=0.3),
    "PRelu": lambda b, x: b.node("PRelu", x, b.normal(4, 1, 1)),
}


def graph(activation, sign, *, kernel=3, between=()):
    """Norm, activation, convolution; the norm reads something that takes nothing."""
    b = Builder()
    x = b.node("Sigmoid", b.input(2, 4, 6, 6))
    y = ACTIVATIONS[activation](b, b.norm(x, 4, sign=sign))
    for op, how in between:
        y = b.node(op, y, **how)
    k = kernel
    b.output(b.conv(y, 4, 5, k, k, pads=[k // 2] * 4))
    return b


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("kernel", [1, 3])
def test_positive_scales_leave_an_add(activation, kernel):
    """Zero padding is harmless: what comes out of the activation is only scaled."""
    b = graph(activation, 1, kernel=kernel)
    check(b.model(), b.feeds, ops=["Sigmoid", "Add", activation, "Conv"])


@pytest.mark.parametrize("activation", ["Relu", "LeakyRelu"])
def test_mixed_signs_keep_the_norm(activation):
    b = graph(activation, [1, -1, 1, 1])
    _, result = check(b.model(), b.feeds, norms_left=1)
    assert "negative scale" in result.kept[0].why or "shift" in result.kept[0].why


@pytest.mark.parametrize("activation", ["Relu", "LeakyRelu"])
def test_a_scale_of_zero_is_a_constant_for_the_bias(activation):
    b = graph(activation, [1, 0, 1, 0], kernel=1)
    check(b.model(), b.feeds, ops=["Sigmoid", "Add", activation, "Conv"])


SLOPES = {"one": (1,), "per channel": (4, 1, 1), "per place": (4, 6, 6)}


@pytest.mark.parametrize("shape", SLOPES)
def test_prelu_lets_negative_scales_pass_with_other_slopes(shape):
    b = Builder()
    slope = b.const(b.rng.uniform(0.1, 2, SLOPES[shape]))
    y = b.norm(b.node("Sigmoid", b.input(2, 4, 6, 6)), 4, sign=[1, -1, 1, -1])
    b.output(b.conv(b.node("PRelu", y, slope), 4, 5))
    if shape == "per place":  # the scale behind it would be one of places
        check(b.model(), b.feeds, norms_left=1)
    else:
        check(b.model(), b.feeds, ops=["Sigmoid", "Add", "PRelu", "Conv"])


@pytest.mark.parametrize("shape", ["one", "per channel"])
def test_prelu_lets_negative_scales_pass_backward(shape):
    b = Builder()
    slope = b.const(b.rng.uniform(0.1, 2, SLOPES[shape]))
    y = b.node("PRelu", b.conv(b.input(2, 3, 6, 6), 3, 4), slope)
    b.output(b.norm(y, 4, sign=[1, -1, 1, -1], shift=False))
    check(b.model(), b.feeds, ops=["Conv", "PRelu"])


def test_prelu_with_a_slope_that_two_layers_share():
    b = Builder()
    slope = b.const(b.rng.uniform(0.1, 2, (4, 1, 1)))
    x = b.input(2, 3, 6, 6)
    y = b.node("PRelu", b.conv(x, 3, 4), slope)
    y = b.norm(y, 4, sign=[1, -1, 1, -1], shift=False)
    b.output(b.node("Sigmoid", y), b.node("PRelu", b.conv(x, 3, 4), slope))
    check(b.model(), b.feeds, norms_left=0)


def test_prelu_with_a_slope_that_is_computed():
    b = Builder()
    slope = b.node("Sigmoid", b.input(4, 1, 1))
    y = b.norm(b.node("Sigmoid", b.input(2, 4, 6, 6)), 4, sign=-1)
    b.output(b.conv(b.node("PRelu", y, slope), 4, 5))
    check(b.model(), b.feeds, norms_left=1)


def test_a_scale_of_zero_and_zero_padding_keep_the_norm():
    b = graph("Relu", [1, 0, 1, 0])
    b.replace(1, np.ones(4))
    _, result = check(b.model(), b.feeds, norms_left=1)
    assert result.kept


def test_a_scale_of_zero_whose_activation_is_zero():
    """relu(t) = 0 for t < 0: padding sees no difference."""
    b = graph("Relu", [1, 0, 1, 0])
    b.replace(1, -np.ones(4))
    check(b.model(), b.feeds, ops=["Sigmoid", "Add", "Relu", "Conv"])


def test_through_means_behind_the_activation():
    between = [("AveragePool", {"kernel_shape": [3, 3], "pads": [1] * 4, "count_include_pad": 1})]
    b = graph("Relu", 1, between=between)
    check(b.model(), b.feeds, ops=["Sigmoid", "Add", "Relu", "AveragePool", "Conv"])


def test_several_readers_behind_the_activation():
    b = Builder()
    y = b.node("Relu", b.norm(b.node("Sigmoid", b.input(2, 4, 6, 6)), 4, sign=1))
    b.output(b.conv(y, 4, 5, 3, 3, pads=[1] * 4), b.conv(y, 4, 2))
    check(b.model(), b.feeds, ops=["Sigmoid", "Add", "Relu", "Conv", "Conv"])


def test_the_add_that_is_left_goes_back_into_the_producer():
    """Conv, MaxPool, norm, ReLU, Conv, with scales that go forward only."""
    b = Builder()
    y = b.node("MaxPool", b.conv(b.input(2, 3, 6, 6), 3, 4), kernel_shape=[2, 2])
    y = b.node("Relu", b.norm(y, 4, sign=1))
    b.output(b.conv(y, 4, 5))
    check(b.model(), b.feeds, ops=["Conv", "MaxPool", "Relu", "Conv"])


def test_activation_norm_linear_leaves_nothing():
    b = Builder()
    y = b.node("Relu", b.conv(b.input(2, 3, 6, 6), 3, 4))
    b.output(b.conv(b.norm(y, 4), 4, 5))
    check(b.model(), b.feeds, ops=["Conv", "Relu", "Conv"])


def test_activation_norm_and_nothing_linear_leaves_an_add():
    b = Builder()
    y = b.node("Relu", b.conv(b.input(2, 3, 6, 6), 3, 4))
    b.output(b.node("Sigmoid", b.norm(y, 4, sign=1)))
    check(b.model(), b.feeds, ops=["Conv", "Relu", "Add", "Sigmoid"])


def test_activation_norm_padded_convolution():
    b = Builder()
    y = b.node("Relu", b.conv(b.input(2, 3, 6, 6), 3, 4))
    b.output(b.conv(b.norm(y, 4), 4, 5, 3, 3, pads=[1] * 4))
    check(b.model(), b.feeds, ops=["Conv", "Relu", "Add", "Conv"])


def test_preactivation_blocks():
    b = Builder()
    x = b.conv(b.input(2, 3, 6, 6), 3, 4, 3, 3, pads=[1] * 4)
    for _ in range(3):
        y = b.conv(b.node("Relu", b.norm(x, 4, sign=1)), 4, 4, 3, 3, pads=[1] * 4, bias=False)
        y = b.conv(b.node("Relu", b.norm(y, 4)), 4, 4, 3, 3, pads=[1] * 4)
        x = b.node("Add", x, y)
    b.output(b.node("GlobalAveragePool", b.node("Relu", b.norm(x, 4, sign=1))))
    folded, _ = check(b.model(), b.feeds, norms_left=0)
    # three sums, three that are left of norms; the last norm's shift is in a convolution, its scale a Mul
    assert kinds(folded).count("Add") == 6 and kinds(folded).count("Mul") == 1


def test_without_its_level_nothing_passes_a_relu():
    b = graph("Relu", 1)
    levels = DEFAULT_LEVELS - {"relu"}
    _, result = check(b.model(), b.feeds, norms_left=1, levels=levels)
    assert "level relu is off" in result.kept[0].why


@pytest.mark.parametrize("on, ops", [("backward", [NORM, "Conv"]), ("forward", ["Conv", NORM])])
def test_levels_one_by_one(on, ops):
    b = Builder()
    y = b.conv(b.norm(b.input(2, 4, 6, 6), 4), 4, 5)
    b.output(b.norm(y, 5))
    check(b.model(), b.feeds, ops=ops, levels=frozenset({on}))


def test_levels_that_do_not_exist():
    b = graph("Relu", 1)
    with pytest.raises(ValueError, match="levels must be"):
        check(b.model(), b.feeds, levels=frozenset({"backwards"}))
