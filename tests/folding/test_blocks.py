"""Folding inside, before and behind residual blocks and concatenations."""

import numpy as np
import pytest

from bncore import folding
from bncore.layers import GELU, AvgPool, BatchNorm, Concat, Conv2d, Flatten, Residual, Sequential
from tests.folding.checks import check, kinds, trained


def block(rng, main, shortcut, activation="relu", **around):
    net = [
        *around.get("before", []),
        Residual(main, shortcut, activation),
        *around.get("after", []),
    ]
    return trained(Sequential(*net), rng)


@pytest.mark.parametrize("activation", [None, "relu"])
def test_norms_inside_residual_blocks(rng, dtype, activation):
    conv = {"padding": 1, "bias": False, "dtype": dtype}
    main = Sequential(Conv2d(3, 4, 3, 2, **conv), BatchNorm(4, activation="relu", dtype=dtype),
                      Conv2d(4, 4, 3, **conv), BatchNorm(4, dtype=dtype))  # fmt: skip
    shortcut = Sequential(Conv2d(3, 4, 1, 2, dtype=dtype), BatchNorm(4, dtype=dtype))
    net = block(rng, main, shortcut, activation)
    folded, _ = check(net, rng.normal(size=(2, 3, 8, 8)).astype(dtype))
    assert kinds(folded) == ["Conv2d"] * 3


def test_a_norm_behind_a_plain_sum_goes_into_every_summand(rng):
    net = block(
        rng,
        Conv2d(3, 4, 1),
        Sequential(Conv2d(3, 4, 1), BatchNorm(4)),
        None,
        after=[BatchNorm(4, activation="relu")],
    )
    folded, report = check(net, rng.normal(size=(2, 3, 5, 5)).astype(np.float32))
    assert report.folded[1] == ("1", "0.main, 0.shortcut.0", "Conv2d → BatchNorm")
    assert kinds(folded) == ["Conv2d", "Conv2d", "ReLU"]


@pytest.mark.parametrize("shortcut, activation, why", [
    (None, None, "a branch of 0 Residual cannot take it (nothing linear is between it and the input of 0 Residual"),
    ("conv", "relu", "the ReLU of 0 Residual is before it"),
])  # fmt: skip
def test_a_norm_behind_a_sum_that_cannot_take_it_stays(rng, shortcut, activation, why):
    shortcut = Conv2d(4, 4, 1) if shortcut else None
    net = block(rng, Conv2d(4, 4, 1), shortcut, activation, after=[BatchNorm(4), GELU()])
    _, report = check(net, rng.normal(size=(2, 4, 5, 5)).astype(np.float32), norms_left=1)
    assert why in report.kept[0].why


def test_a_norm_before_a_block_goes_into_every_branch(rng):
    x = rng.normal(size=(2, 3, 8, 8)).astype(np.float32)
    net = block(rng, Conv2d(3, 4, 3, 2, 1), Conv2d(3, 4, 1, 2), before=[BatchNorm(3)])
    folded, report = check(net, x)
    assert report.folded == [("0", "1.main, 1.shortcut", "BatchNorm → Pad + Conv2d")]
    assert kinds(folded) == ["Pad", "Conv2d", "Conv2d"]
    net = block(rng, Conv2d(3, 3, 3, 1, 1), None, before=[BatchNorm(3)])
    _, report = check(net, x, norms_left=1)
    assert "a branch of 1 Residual cannot take it" in report.kept[0].why


def test_a_norm_at_the_end_or_start_of_a_branch_stays_with_the_sum_or_the_shared_input(rng):
    net = block(rng, Sequential(BatchNorm(4), GELU(), BatchNorm(4)), None)
    _, report = check(net, rng.normal(size=(3, 4)).astype(np.float32), norms_left=2)
    assert "the input of 0 Residual, which its other branches read too" in report.kept[0].why
    assert "1 GELU() is after it" in report.kept[0].why
    assert "nothing linear is between it and the sum of 0 Residual" in report.kept[1].why


def test_a_relu_before_a_sum_stays_before_it(rng):
    net = block(rng, Sequential(Conv2d(4, 4, 1), AvgPool(1), BatchNorm(4, activation="relu")), None)
    check(net, rng.normal(size=(2, 4, 5, 5)).astype(np.float32))


@pytest.mark.parametrize("axis", [1, -1])
def test_norms_inside_and_behind_concatenations(rng, dtype, axis):
    how = {"axis": axis, "dtype": dtype}
    branches = [Sequential(Conv2d(3, 2, 1, **how), BatchNorm(2, **how)), Conv2d(3, 4, 1, **how),
                Sequential(Conv2d(3, 3, 1, **how), BatchNorm(3, **how), AvgPool(1, axis=axis))]  # fmt: skip
    net = Sequential(Concat(*branches, axis=axis), BatchNorm(9, activation="relu", **how))
    shape = (2, 3, 5, 4) if axis == 1 else (2, 5, 4, 3)
    _, report = check(trained(net, rng), rng.normal(size=shape).astype(dtype))
    assert report.folded[-1].into == "0.0.0, 0.1, 0.2.0"


def test_a_norm_behind_a_concatenation_with_its_input_stays(rng):
    net = trained(Sequential(Concat(Conv2d(3, 4, 1), Sequential()), BatchNorm(7), GELU()), rng)
    _, report = check(net, rng.normal(size=(2, 3, 5, 4)).astype(np.float32), norms_left=1)
    assert "the branches of 0 Concat do not tell their numbers of channels" in report.kept[0].why


def test_a_norm_behind_blocks_inside_blocks(rng):
    """The numbers of channels are found through nested blocks, pools and activations."""
    inner = Concat(Conv2d(3, 2, 1), Sequential(Conv2d(3, 1, 1), AvgPool(1)))
    added = Residual(Conv2d(3, 4, 1), Sequential(Conv2d(3, 4, 1), BatchNorm(4)), None)
    net = Sequential(Concat(inner, added), BatchNorm(7, activation="relu"))
    _, report = check(trained(net, rng), rng.normal(size=(2, 3, 5, 4)).astype(np.float32))
    assert report.folded[-1].into == "0.0.0, 0.0.1.0, 0.1.main, 0.1.shortcut.0"
    net = Sequential(Concat(inner, Sequential(Conv2d(3, 4, 1), Flatten())), BatchNorm(7), GELU())
    assert "do not tell" in folding.fold_net(trained(net, rng))[1].kept[0].why
