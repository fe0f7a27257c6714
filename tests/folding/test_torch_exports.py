"""What PyTorch's exporters write comes down to its minimum too; the oracle is the module in
float64.
"""

import importlib.util

import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("torch")

import numpy as np  # noqa: E402

from tests.zoo import measures  # noqa: E402
from tests.zoo.torch_exports import CASES, STYLES, export, inputs, run_double  # noqa: E402

HAVE_DYNAMO = importlib.util.find_spec("onnxscript") is not None
PAIRS = [
    pytest.param(
        name,
        style,
        marks=pytest.mark.skipif(
            "dynamo" in style and not HAVE_DYNAMO, reason="the newer exporter needs onnxscript"
        ),
    )
    for name in CASES
    for style in STYLES
]


def error(model, name):
    """The largest error over three inputs, and the largest output."""
    worst = size = 0.0
    for seed in measures.SEEDS:
        x = inputs(name, seed)
        exact = run_double(name, x)
        worst = max(worst, measures.distance(measures.run(model, {"x": x})[0], exact))
        size = max(size, float(np.abs(exact).max()))
    return worst, size


@pytest.mark.parametrize(("name", "style"), PAIRS)
def test_exports_are_valid_and_agree_with_the_module(name, style):
    model = export(name, style)
    onnx.checker.check_model(model, full_check=True)
    worst, size = error(model, name)
    assert worst <= 32 * np.finfo(np.float32).eps * size


@pytest.mark.parametrize(("name", "style"), PAIRS)
def test_folded_to_the_minimum_and_as_exact_as_before(name, style):
    from bncore.folding.onnx import engine, store

    original, model = export(name, style), onnx.ModelProto()
    model.CopyFrom(original)
    engine.fold_model(model, store.Store(), levels=frozenset({"backward", "forward", "relu"}))
    (left, elementwise), (_, before) = measures.counts(model), measures.counts(original)
    minimum = CASES[name].minimum
    assert left <= minimum.norms, minimum.why
    assert elementwise - before <= minimum.added, minimum.why
    onnx.checker.check_model(model, full_check=True)
    assert measures.interface(model) == measures.interface(original)
    (own, size), (now, _) = error(original, name), error(model, name)
    assert now <= 2 * own + measures.FLOOR * np.finfo(np.float32).eps * size
