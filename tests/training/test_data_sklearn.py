"""The data sets inside scikit-learn: shapes, raw values, the same split every time."""

import sys

import numpy as np
import pytest

import bncore as bn

SHAPES = {
    "digits": ((1, 8, 8), 1797, 10),
    "wine": ((13,), 178, 3),
    "breast_cancer": ((30,), 569, 2),
    "iris": ((4,), 150, 3),
    "diabetes": ((10,), 442, 1),
}


@pytest.mark.parametrize("name", SHAPES)
def test_shapes(name):
    pytest.importorskip("sklearn")
    shape, n, outputs = SHAPES[name]
    data = bn.data.load(name)
    assert data.shape == shape
    assert len(data.x_train) + len(data.x_test) == n
    assert data.outputs == outputs
    assert data.x_train.dtype == np.float32
    assert data.x_train.flags.c_contiguous
    assert data.y_train.dtype == (np.float32 if name == "diabetes" else np.int64)
    assert len(data.feature_names) in (0, shape[0])


def test_digits_are_raw():
    pytest.importorskip("sklearn")
    data = bn.data.load("digits")
    assert data.x_train.min() == 0
    assert data.x_train.max() == 16
    assert np.ptp(np.bincount(data.y_test)) <= 3


def test_the_split_is_the_same_until_the_seed_changes():
    pytest.importorskip("sklearn")
    a, b, c = bn.data.load("iris"), bn.data.load("iris"), bn.data.load("iris", seed=1)
    assert np.array_equal(a.x_test, b.x_test)
    assert not np.array_equal(a.x_test, c.x_test)


def test_without_scikit_learn_the_extra_is_named(monkeypatch):
    for name in [m for m in sys.modules if m.partition(".")[0] == "sklearn"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ImportError, match=r"bncore\[sklearn\]"):
        bn.data.load("digits")
