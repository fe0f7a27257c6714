"""Norms that take their statistics from each sample stay, with the reason; instance norm by running ones folds."""

import numpy as np
import pytest

from bncore import folding
from bncore.layers import (
    BatchNorm,
    Conv2d,
    Flatten,
    GlobalAvgPool,
    GroupNorm,
    InstanceNorm,
    LayerNorm,
    Linear,
    RMSNorm,
    Sequential,
)
from tests.folding.checks import check, trained

OWN = "it normalizes every sample by statistics of its own"
KINDS = {
    "group": lambda c: GroupNorm(2, c),
    "instance": lambda c: InstanceNorm(c, affine=True),
    "layer": lambda c: LayerNorm(c, axis=1),
    "rms": lambda c: RMSNorm(c, axis=1),
}


@pytest.mark.parametrize("norm", KINDS.values(), ids=KINDS)
def test_own_statistics_stay_and_say_so(norm, rng):
    net = Sequential(
        Conv2d(2, 4, 3, rng=0), norm(4), Conv2d(4, 4, 3, rng=1), BatchNorm(4), norm(4), GlobalAvgPool(), Linear(4, 3, rng=2)
    )  # fmt: skip
    x = rng.normal(size=(5, 2, 8, 8)).astype(np.float32)
    _, report = check(trained(net, rng), x, norms_left=2)
    assert [entry.path for entry in report.folded] == ["3"]
    assert report.kept == [("1", OWN, "kept"), ("4", OWN, "kept")]


@pytest.mark.parametrize("norm", KINDS.values(), ids=KINDS)
def test_nothing_folds_through_them(norm, rng):
    net = Sequential(Conv2d(2, 4, 3, rng=0), norm(4), BatchNorm(4), norm(4), Conv2d(4, 2, 1, rng=1))
    x = rng.normal(size=(5, 2, 6, 6)).astype(np.float32)
    _, report = check(trained(net, rng), x, norms_left=3)
    why = {entry.path: entry.why for entry in report.kept}
    name = net[1].brief()
    assert why["2"] == (
        f"1 {name} is before it, which is not linear; 3 {name} is after it, which is not linear"
    )


@pytest.mark.parametrize("affine", [True, False])
def test_instance_norm_by_running_statistics_folds(affine, rng, dtype):
    def norm(c, **how):
        return InstanceNorm(c, affine=affine, track_running_stats=True, dtype=dtype, **how)

    net = Sequential(
        norm(2),
        Conv2d(2, 4, 3, padding=1, dtype=dtype, rng=0),
        norm(4, activation="relu"),
        Conv2d(4, 3, 3, dtype=dtype, rng=1),
        norm(3),
        Flatten(),
        Linear(108, 2, dtype=dtype, rng=2),
    )
    x = rng.normal(size=(5, 2, 8, 8)).astype(dtype)
    _, report = check(trained(net, rng), x)
    assert [entry.rule for entry in report.folded] == [
        "InstanceNorm → Pad + Conv2d",
        "Conv2d → InstanceNorm",
        "Conv2d → InstanceNorm",
    ]


def test_a_norm_between_two_batch_norms_keeps_its_rank(rng):
    """What is behind it knows the rank of its input."""
    net = trained(Sequential(Conv2d(2, 4, 3, rng=0), GroupNorm(2, 4), Conv2d(4, 4, 1, rng=1), BatchNorm(4, axis=-3)), rng)  # fmt: skip
    _, report = folding.fold_net(net)
    assert [entry.path for entry in report.folded] == ["3"]
