"""A norm after a linear operation goes into it, also through pools, dropout and Flatten."""

import numpy as np
import pytest

from bncore.layers import (
    AvgPool,
    BatchNorm,
    Conv1d,
    Conv2d,
    ConvTranspose2d,
    Dropout,
    Flatten,
    GlobalAvgPool,
    GlobalMaxPool,
    Linear,
    MaxPool,
    Sequential,
)
from tests.folding.checks import check, kinds, positive, trained

# ---- a norm after a linear operation


@pytest.mark.parametrize("activation", [None, "relu"])
@pytest.mark.parametrize("bias", [True, False])
def test_linear_norm(rng, dtype, bias, activation):
    net = trained(
        Sequential(
            Linear(6, 5, bias, dtype=dtype), BatchNorm(5, activation=activation, dtype=dtype)
        ),
        rng,
    )
    folded, report = check(net, rng.normal(size=(9, 6)).astype(dtype))
    assert kinds(folded) == ["Linear"] and folded[0].activation == activation
    assert report.folded == [("1", "0", "Linear → BatchNorm")]


@pytest.mark.parametrize("axis", [1, -1])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_convolution_norm(rng, dtype, groups, axis):
    conv = {"padding": 1, "groups": groups, "axis": axis, "dtype": dtype}
    net = Sequential(
        Conv2d(4, 8, 3, stride=2, bias=False, **conv), BatchNorm(8, axis=axis, activation="relu", dtype=dtype),
        Conv2d(8, 4, 3, **conv), BatchNorm(4, axis=axis, dtype=dtype),
    )  # fmt: skip
    shape = (2, 4, 9, 7) if axis == 1 else (2, 9, 7, 4)
    folded, _ = check(trained(net, rng), rng.normal(size=shape).astype(dtype))
    assert kinds(folded) == ["Conv2d", "Conv2d"]


def test_one_dimensional_convolution_norm(rng, dtype):
    net = Sequential(Conv1d(3, 6, 3, groups=3, dtype=dtype), BatchNorm(6, dtype=dtype))
    check(trained(net, rng), rng.normal(size=(4, 3, 11)).astype(dtype))


@pytest.mark.parametrize("axis", [1, -1])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_transposed_convolution_norm(rng, dtype, groups, axis):
    net = Sequential(
        ConvTranspose2d(4, 8, 3, 2, 1, 1, groups, axis=axis, dtype=dtype),
        BatchNorm(8, axis=axis, activation="relu", dtype=dtype),
    )
    shape = (2, 4, 5, 4) if axis == 1 else (2, 5, 4, 4)
    check(trained(net, rng), rng.normal(size=shape).astype(dtype))


@pytest.mark.parametrize("how", [{"affine": False}, {"weight": False}, {"bias": False}, {"frozen": True}, {"eps": 0.0},
                                 {"unbiased": False, "momentum": None}])  # fmt: skip
def test_every_kind_of_norm(rng, how):
    check(
        trained(Sequential(Conv2d(3, 4, 3), BatchNorm(4, **how)), rng),
        rng.normal(size=(2, 3, 6, 6)).astype(np.float32),
    )


def test_a_net_that_is_one_norm_stays(rng):
    net = trained(BatchNorm(3), rng)
    folded, report = check(net, rng.normal(size=(4, 3)).astype(np.float32), norms_left=1)
    assert isinstance(folded, BatchNorm) and folded is not net
    assert (
        str(report)
        .splitlines()[1]
        .startswith("  (net)  kept  nothing linear is between it and the net's input")
    )


# ---- what a map and a ReLU pass


@pytest.mark.parametrize("between, home", [
    ([Dropout(0.5)], "0"), ([AvgPool(2)], ""), ([AvgPool(3, 1, 1, count_include_pad=False)], ""), ([GlobalAvgPool()], ""),
    ([MaxPool(2)], "0"), ([MaxPool(3, 2, 1), Dropout(0.1)], "0"), ([GlobalMaxPool()], "0"),
])  # fmt: skip
def test_a_norm_folds_back_through(rng, between, home):
    net = positive(
        trained(Sequential(Conv2d(3, 4, 3), *between, BatchNorm(4, activation="relu")), rng)
    )
    folded, _ = check(net, rng.normal(size=(2, 3, 9, 9)).astype(np.float32))
    # a ReLU commutes with maxima, not with means
    assert (folded[0].activation == "relu") == bool(home)
    assert ("ReLU" in kinds(folded)) != bool(home)


def test_a_norm_of_rows_folds_back_through_a_flatten_of_single_pixels(rng):
    net = trained(Sequential(Conv2d(3, 4, 5), Flatten(), BatchNorm(4, activation="relu")), rng)
    check(net, rng.normal(size=(6, 3, 5, 5)).astype(np.float32))
    net = trained(Sequential(Conv2d(3, 4, 4), Flatten(), BatchNorm(16)), rng)
    _, report = check(net, rng.normal(size=(6, 3, 5, 5)).astype(np.float32), norms_left=1)
    assert "it has 16 channels where 0 Conv2d(3, 4, 4) has 4" in report.kept[0].why


@pytest.mark.parametrize("pool", [MaxPool(2), GlobalMaxPool()])
def test_a_negative_scale_does_not_pass_a_maximum(rng, pool):
    net = trained(Sequential(Conv2d(3, 4, 3), pool, BatchNorm(4)), rng)
    net[2].weight[1] = -1.0
    _, report = check(net, rng.normal(size=(2, 3, 8, 8)).astype(np.float32), norms_left=1)
    assert "does not let a negative scale pass" in report.kept[0].why


def test_a_shift_does_not_pass_counted_padding(rng):
    net = trained(Sequential(Conv2d(3, 4, 3), AvgPool(3, 1, 1), BatchNorm(4)), rng)
    x = rng.normal(size=(2, 3, 8, 8)).astype(np.float32)
    _, report = check(net, x, norms_left=1)
    assert "counts its padding as zeros" in report.kept[0].why
    net[2].running_mean[...] = net[2].bias[...] = 0  # scales do
    check(net, x)
