"""Folding the reference nets after training; the report, the verification and errors."""

import numpy as np
import pytest

import bncore as bn
from bncore import folding, nets
from bncore.layers import GELU, BatchNorm, Linear, Sequential
from tests.folding.checks import check, trained

# ---- whole nets


def reference_nets(dtype):
    """Each with a first norm that standardizes raw inputs, in front of a padded convolution."""
    how = {"standardize": True, "dtype": dtype, "rng": 1}
    return {
        "mlp": (nets.mlp(12, 5, (16, 16), dropout=0.2, **how), (12,)),
        "cnn": (nets.cnn(1, 10, **how), (1, 8, 8)),
        "cnn-last": (nets.cnn(3, 5, (8, 8), axis=-1, **how), (8, 8, 3)),
        "resnet20": (nets.resnet20(classes=5, width=4, **how), (3, 12, 12)),
        "separable": (nets.separable(3, 5, (8, 8), **how), (3, 12, 12)),
        "inception": (nets.inception_small(classes=5, width=0.05, **how), (3, 12, 12)),
        "inception-last": (
            nets.inception_small(classes=5, width=0.05, axis=-1, **how),
            (12, 12, 3),
        ),
    }


@pytest.mark.parametrize("name", list(reference_nets(np.float32)))
def test_reference_nets_fold_completely_after_training(rng, dtype, name):
    net, shape = reference_nets(dtype)[name]
    x = rng.normal(3, 2, (24, *shape)).astype(dtype)
    bn.fit(
        net,
        x,
        rng.integers(0, 5, 24),
        epochs=2,
        batch_size=8,
        seed=0,
        optimizer=bn.SGD(lr=0.01),
        progress=False,
    )
    folded, report = check(net, x)
    result = folding.verify(net, folded, x)
    assert result.max_abs_error < (1e-5 if dtype == np.float32 else 1e-12)
    assert result.folded_error < (1e-5 if dtype == np.float32 else 1e-12)
    assert not report.kept and "BatchNorm" not in repr(folded)


def test_folded_nets_are_saved_and_loaded(rng, tmp_path):
    net, shape = reference_nets(np.float32)["cnn"]
    folded, _ = folding.fold_net(trained(net, rng))
    bn.save(folded, tmp_path / "folded.npz")
    x = rng.normal(size=(4, *shape)).astype(np.float32)
    assert (bn.load(tmp_path / "folded.npz")(x) == folded(x)).all()


# ---- reports and errors


def test_the_report_is_a_table_and_a_dict(rng):
    net = trained(Sequential(Linear(3, 4), BatchNorm(4), GELU(), BatchNorm(4)), rng)
    _, report = folding.fold_net(net)
    assert str(report).splitlines() == [
        "1 of 2 norms folded",
        "  1  into 0  Linear → BatchNorm",
        "  3  kept    2 GELU() is before it, which is not linear; nothing linear is between it and the net's output",
    ]
    assert report.to_dict() == {
        "norms_folded": 1, "norms_left": 1,
        "folded": [{"path": "1", "into": "0", "rule": "Linear → BatchNorm"}],
        "kept": [{"path": "3", "why": report.kept[0].why, "rule": "kept"}],
    }  # fmt: skip
    assert str(folding.fold_net(Linear(2, 2))[1]) == "0 of 0 norms folded"


def test_wrong_arguments_are_named():
    with pytest.raises(TypeError, match="net must be a Layer, got int"):
        folding.fold_net(3)
    with pytest.raises(ValueError, match="input_ndim must be an integer >= 2, got 1"):
        folding.fold_net(Linear(2, 2), input_ndim=1)


def test_verify_sees_a_difference_and_says_where_it_stands(rng):
    net = trained(Sequential(Linear(3, 4), BatchNorm(4)), rng)
    folded, _ = folding.fold_net(net)
    x = rng.normal(size=(30, 3)).astype(np.float32)
    good = folding.verify(net, folded, x, batch_size=7)
    assert 0 < good.folded_error < 1e-5 and 0 < good.net_error < 1e-5
    folded[0].bias[2] += 0.5
    bad = folding.verify(net, folded, x)
    assert abs(bad.max_abs_error - 0.5) < 1e-5 and abs(bad.folded_error - 0.5) < 1e-5
    assert bad.to_dict()["max_abs_error"] == bad.max_abs_error and "largest difference 0.5" in str(
        bad
    )
    with pytest.raises(ValueError, match="folded must give outputs of shape"):
        folding.verify(net, Linear(3, 5), x)
