"""The zoo's models are what they claim: valid, runnable, small, the same every time, and right
twice over.
"""

import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import numpy as np  # noqa: E402

from tests.zoo import DEEP, MODELS  # noqa: E402
from tests.zoo.measures import Judge, counts  # noqa: E402

ALL = MODELS | DEEP
NAMES = sorted(ALL)


@pytest.mark.parametrize("name", NAMES)
def test_valid_small_and_the_same_every_time(name):
    entry = ALL[name]
    model = entry.build()
    onnx.checker.check_model(model, full_check=True)
    onnx.checker.check_model(entry.build(double=True), full_check=True)
    data = model.SerializeToString()
    assert len(data) < 1e6
    assert data == entry.build().SerializeToString()


@pytest.mark.parametrize("name", NAMES)
def test_onnxruntime_agrees_with_the_oracle(name):
    """Two programs that share nothing: what they agree on, to a few roundings, is the model's
    meaning.
    """
    judge = Judge(ALL[name])
    eps = np.finfo(judge.entry.storage).eps
    for own, size in zip(judge.own, judge.sizes()):
        assert size > 1e-3, "an output that tells nothing"
        assert own <= 32 * eps * size * judge.entry.amplifies


@pytest.mark.parametrize("name", NAMES)
def test_the_minimum_is_less_than_there_is_and_has_a_reason(name):
    entry = ALL[name]
    norms, elementwise = counts(entry.build())
    assert 0 <= entry.minimum.norms <= norms
    assert elementwise + entry.minimum.added >= 0
    assert norms or entry.minimum.added < 0
    assert len(entry.minimum.why) > 20


def test_the_zoo_is_large_enough():
    assert len(MODELS) >= 25
