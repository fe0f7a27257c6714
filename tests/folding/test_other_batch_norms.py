"""Renormalization, ghost batches, moving and frozen statistics: they differ in training, and fold as they evaluate."""

import numpy as np
import pytest

from bncore import nets
from bncore.layers import (
    BatchNorm,
    BatchRenorm,
    Concat,
    Conv2d,
    ConvTranspose2d,
    Flatten,
    Linear,
    Residual,
    Sequential,
)
from tests.folding.checks import check, trained

KINDS = {
    "renorm": lambda c, **how: BatchRenorm(c, **how),
    "ghost": lambda c, **how: BatchNorm(c, ghost_batch_size=2, **how),
    "moving": lambda c, **how: BatchNorm(c, statistics="moving", **how),
    "frozen": lambda c, **how: BatchNorm(c, frozen=True, **how),
    "frozen renorm": lambda c, **how: BatchRenorm(c, frozen=True, **how),
}
kinds = pytest.mark.parametrize("norm", KINDS.values(), ids=KINDS)


@kinds
def test_they_fold_into_what_is_before_them(norm, rng, dtype):
    net = Sequential(
        Conv2d(2, 4, 3, bias=False, dtype=dtype, rng=0),
        norm(4, activation="relu", dtype=dtype),
        ConvTranspose2d(4, 6, 2, groups=2, dtype=dtype, rng=1),
        norm(6, dtype=dtype),
        Flatten(),
        Linear(6 * 49, 3, bias=False, dtype=dtype, rng=2),
        norm(3, dtype=dtype),
    )
    _, report = check(trained(net, rng), rng.normal(size=(5, 2, 8, 8)).astype(dtype))
    assert report.folded[0].rule == f"Conv2d → {type(net[1]).__name__}"


@kinds
def test_they_fold_into_what_is_behind_them(norm, rng, dtype):
    net = Sequential(
        norm(2, dtype=dtype), Conv2d(2, 4, 3, padding=1, dtype=dtype, rng=0), Flatten(), norm(256, dtype=dtype), Linear(256, 3, dtype=dtype, rng=1)
    )  # fmt: skip
    _, report = check(trained(net, rng), rng.normal(size=(5, 2, 8, 8)).astype(dtype))
    assert report.folded[0].rule.startswith(type(net[0]).__name__)


@kinds
def test_they_fold_in_blocks_and_in_rows(norm, rng):
    how = {"dtype": np.float64}
    net = Sequential(
        Residual(Sequential(Conv2d(3, 3, 1, rng=0, **how), norm(3, **how)), None, None),
        norm(3, **how),
        BatchNorm(3, **how),
        Concat(Conv2d(3, 2, 1, rng=1, **how), Conv2d(3, 4, 1, rng=2, **how)),
        norm(6, **how),
    )
    check(trained(net, rng), rng.normal(size=(5, 3, 4, 4)))


def test_renorms_in_a_row_become_one(rng):
    net = trained(Sequential(BatchRenorm(4, dtype=np.float64), BatchRenorm(4, dtype=np.float64), BatchNorm(4, dtype=np.float64)), rng)  # fmt: skip
    folded, _ = check(net, rng.normal(size=(5, 4)), norms_left=1)
    assert isinstance(folded[0], BatchRenorm)


def test_a_channel_that_never_varied_folds(rng, dtype):
    """sigma = sqrt(eps), whose square may be rounded to less than eps."""
    net = Sequential(Linear(3, 2, dtype=dtype, rng=0), BatchRenorm(2, dtype=dtype))
    net[1].set_running([0.0, 1.0], [0.0, 1e-12])
    net[1].running_std[0] = np.nextafter(net[1].running_std[0], dtype.type(0))
    check(net.eval(), rng.normal(size=(5, 3)).astype(dtype))


@pytest.mark.parametrize("name", ["mlp", "cnn", "resnet20", "inception_small", "separable"])
def test_whole_nets_with_renormalization_fold(name, rng):
    make = {
        "mlp": lambda **how: nets.mlp(12, 5, (16, 16), **how),
        "cnn": lambda **how: nets.cnn(3, 5, (8, 8), **how),
        "resnet20": lambda **how: nets.resnet20(3, 5, width=4, blocks=1, **how),
        "inception_small": lambda **how: nets.inception_small(3, 5, width=0.05, **how),
        "separable": lambda **how: nets.separable(3, 5, (8, 8), **how),
    }[name]
    net = trained(make(norm="renorm", dtype=np.float64, rng=0), rng)
    check(net, rng.normal(size=(4, 12) if name == "mlp" else (4, 3, 12, 12)))
