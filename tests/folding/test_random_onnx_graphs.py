"""Random ONNX graphs: whatever is folded, the answers, the interface and the validity stay.

BNCORE_EXPLORE=1 looks at other graphs in every run.
"""

import os
import secrets

import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from tests.zoo.measures import Judge, interface  # noqa: E402
from tests.zoo.random_graphs import random_entry  # noqa: E402

START = secrets.randbelow(10**9) if os.environ.get("BNCORE_EXPLORE") == "1" else 0
SEEDS = range(START, START + 100)


def folded(model):
    from bncore.folding.onnx import engine, store

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    engine.fold_model(copy, store.Store())
    return copy


@pytest.mark.parametrize("seed", SEEDS)
def test_a_random_graph_is_valid_and_the_oracle_agrees_with_onnxruntime(seed):
    entry = random_entry(seed)
    onnx.checker.check_model(entry.build(), full_check=True)
    judge = Judge(entry)
    assert all(own <= 1e-5 * (size or 1) for own, size in zip(judge.own, judge.sizes()))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_random_graph_answers_as_before(seed):
    entry = random_entry(seed)
    original = entry.build()
    model = folded(original)
    onnx.checker.check_model(model, full_check=True)
    assert interface(model) == interface(original)
    judge = Judge(entry)
    for error, limit in zip(judge.errors(model), judge.limits(), strict=True):
        assert error <= 5 * limit  # values may cancel by chance, which no trained network's do
    assert folded(model).SerializeToString() == model.SerializeToString()
