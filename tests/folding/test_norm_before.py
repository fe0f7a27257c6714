"""A norm before a linear operation goes into it; zero padding becomes a border of its own."""

import numpy as np
import pytest

from bncore import folding
from bncore.layers import (
    GELU,
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
    ReLU,
    Sequential,
)
from tests.folding.checks import check, kinds, positive, trained

# ---- a norm before a linear operation


def test_norm_linear(rng, dtype):
    net = trained(
        Sequential(BatchNorm(6, dtype=dtype), Dropout(0.2), Linear(6, 5, False, dtype=dtype)), rng
    )
    folded, report = check(net, rng.normal(2, 3, size=(9, 6)).astype(dtype))
    assert kinds(folded) == ["Dropout", "Linear"]
    assert report.folded == [("0", "2", "BatchNorm → Linear")]


@pytest.mark.parametrize("groups", [1, 2])
def test_norm_convolution_without_padding(rng, dtype, groups):
    net = trained(
        Sequential(ReLU(), BatchNorm(4, dtype=dtype), Conv2d(4, 6, 3, groups=groups, dtype=dtype)),
        rng,
    )
    folded, _ = check(net, rng.normal(size=(2, 4, 6, 6)).astype(dtype))
    assert kinds(folded) == ["ReLU", "Conv2d"]


@pytest.mark.parametrize("axis", [1, -1])
@pytest.mark.parametrize("conv", [{"padding": 1}, {"padding": (0, 2), "stride": 2}, {"padding": "same", "dilation": 2},
                                  {"kernel_size": (2, 4), "padding": "same"}])  # fmt: skip
def test_norm_convolution_with_padding_gets_a_border_of_its_own(rng, dtype, conv, axis):
    conv = Conv2d(4, 6, **({"kernel_size": 3} | conv), axis=axis, dtype=dtype)
    net = trained(Sequential(BatchNorm(4, axis=axis, dtype=dtype), conv), rng)
    shape = (2, 4, 7, 6) if axis == 1 else (2, 7, 6, 4)
    folded, report = check(net, rng.normal(size=shape).astype(dtype))
    assert kinds(folded) == ["Pad", "Conv2d"]
    assert report.folded == [("0", "1", "BatchNorm → Pad + Conv2d")]


def test_a_pure_scale_keeps_the_zero_padding(rng):
    net = trained(Sequential(BatchNorm(4, bias=False), Conv2d(4, 6, 3, padding=1)), rng)
    net[0].running_mean[...] = 0
    folded, _ = check(net, rng.normal(size=(2, 4, 7, 6)).astype(np.float32))
    assert kinds(folded) == ["Conv2d"] and folded[0].padding == (1, 1)


def test_a_dead_channel_has_no_border_value(rng):
    net = trained(Sequential(BatchNorm(4), Conv2d(4, 6, 3, padding=1)), rng)
    net[0].weight[2] = 0
    x = rng.normal(size=(2, 4, 7, 6)).astype(np.float32)
    _, report = check(net, x, norms_left=1)
    assert "channel 2 has scale 0" in report.kept[0].why
    net[0].bias[2] = 0
    check(net, x)


def test_one_dimensional_border(rng):
    net = trained(Sequential(BatchNorm(3), Conv1d(3, 4, 3, padding=1)), rng)
    check(net, rng.normal(size=(2, 3, 8)).astype(np.float32))


def test_norm_transposed_convolution(rng):
    x = rng.normal(size=(2, 4, 5, 5)).astype(np.float32)
    check(trained(Sequential(ReLU(), BatchNorm(4), ConvTranspose2d(4, 6, 1, groups=2)), rng), x)
    net = trained(Sequential(ReLU(), BatchNorm(4), ConvTranspose2d(4, 6, 3, 2)), rng)
    _, report = check(net, x, norms_left=1)
    assert "a shift before a transposed convolution" in report.kept[0].why


@pytest.mark.parametrize("axis", [1, -1])
@pytest.mark.parametrize("pools", [[], [AvgPool(2)], [MaxPool(2)]])
def test_norm_flatten_linear(rng, dtype, axis, pools):
    for pool in pools:
        pool.axis = axis
    features = 3 * (4 * 6 if not pools else 2 * 3)
    net = [
        BatchNorm(3, axis=axis, dtype=dtype),
        *pools,
        Flatten(),
        Linear(features, 5, dtype=dtype),
    ]
    net = positive(trained(Sequential(*net), rng))
    shape = (7, 3, 4, 6) if axis == 1 else (7, 4, 6, 3)
    check(net, rng.normal(size=shape).astype(dtype))


@pytest.mark.parametrize("axis", [1, -1])
@pytest.mark.parametrize("pool", [GlobalAvgPool, GlobalMaxPool])
def test_norm_global_pool_linear(rng, pool, axis):
    net = Sequential(BatchNorm(3, axis=axis), pool(axis=axis), Dropout(0.5), Linear(3, 5))
    shape = (7, 3, 4, 6) if axis == 1 else (7, 4, 6, 3)
    check(positive(trained(net, rng)), rng.normal(size=shape).astype(np.float32))


def test_a_distant_mean_stays_where_float32_would_lose_it(rng, dtype):
    net = trained(Sequential(BatchNorm(3, dtype=dtype), Linear(3, 4, dtype=dtype)), rng)
    net[0].running_mean[1] = 1e5
    x = rng.normal(size=(9, 3)).astype(dtype)
    x[:, 1] += 1e5
    folded, report = folding.fold_net(net)
    if dtype == np.float64:
        assert folding.verify(net, folded, x).max_rel_error < 1e-10 and not report.kept
    else:
        assert "the mean of channel 1 lies" in report.kept[0].why


# ---- norms in a row, both sides at once


def test_norms_in_a_row_all_go(rng, dtype):
    norm = {"dtype": dtype}
    net = Sequential(BatchNorm(3, **norm), BatchNorm(3, affine=False, **norm), Linear(3, 4, **norm),
                     BatchNorm(4, **norm), Dropout(0.1), BatchNorm(4, activation="relu", **norm))  # fmt: skip
    folded, report = check(trained(net, rng), rng.normal(size=(9, 3)).astype(dtype))
    assert kinds(folded) == ["Linear", "Dropout"]
    assert [entry.into for entry in report.folded] == ["2", "0", "2", "2"]


def test_norms_in_a_row_between_activations_become_one(rng):
    net = Sequential(
        GELU(), BatchNorm(3, affine=False), BatchNorm(3), BatchNorm(3, activation="relu"), GELU()
    )
    folded, report = check(
        trained(net, rng), rng.normal(size=(9, 3)).astype(np.float32), norms_left=1
    )
    assert kinds(folded) == ["GELU", "BatchNorm", "GELU"] and folded[1].activation == "relu"
    assert report.kept[0].path == "1" and [entry.path for entry in report.folded] == ["2", "3"]


def test_a_norm_of_batch_statistics_takes_the_norm_behind_it(rng):
    net = Sequential(BatchNorm(3, track_running_stats=False), BatchNorm(3))
    _, report = check(trained(net, rng), rng.normal(size=(9, 3)).astype(np.float32), norms_left=1)
    assert report.folded == [("1", "0", "BatchNorm → BatchNorm")]
    assert report.kept[0].why == "it has no running statistics and normalizes by those of the batch"
