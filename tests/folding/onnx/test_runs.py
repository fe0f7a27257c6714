"""A fold as a whole: limits, bytes, depth, time, stores; models that are left alone."""

import time

import numpy as np
import pytest

from bncore.folding.onnx import engine
from tests.folding.onnx.checks import (
    NORM,
    Builder,
    check,
    conv_norm,
    fold,
    norms,
    numpy_helper,
    onnx,
    run,
)  # fmt: skip


@pytest.mark.parametrize("limit", range(4))
def test_a_limit_takes_the_first_rewrites(limit):
    b = Builder()
    y = b.input(2, 3, 5, 5)
    for _ in range(3):
        y = b.node("Relu", b.norm(b.conv(y, 3, 3), 3))
    b.output(y)
    _, everything = check(b.model(), b.feeds, norms_left=0)
    folded, some = fold(b.model(), limit=limit)
    assert some.applied == everything.applied[:limit] and norms(folded) == 3 - limit
    np.testing.assert_allclose(
        run(folded, b.feeds)[0], run(b.model(), b.feeds)[0], rtol=1e-4, atol=1e-5
    )


def test_the_same_bytes_every_time():
    def folded():
        b = conv_norm(Builder(seed=3))
        return fold(b.model())[0].SerializeToString()

    assert folded() == folded()


def test_identity_norms_disappear():
    """What a folded state dict leaves in an unchanged module."""
    b = Builder()
    y = b.node("Sigmoid", b.input(2, 4, 5, 5))
    parts = [b.const(np.full(4, v)) for v in (np.sqrt(1 + 1e-5), 0.0, 0.0, 1.0)]
    b.output(b.node("Sigmoid", b.node(NORM, y, *parts)))
    check(b.model(), b.feeds, ops=["Sigmoid", "Sigmoid"])


def test_a_deep_chain_does_not_exhaust_the_stack():
    b = Builder()
    y = b.conv(b.input(1, 3, 4, 4), 3, 3)
    for _ in range(400):
        y = b.node("Identity", y)
    b.output(b.norm(y, 3))
    check(b.model(), b.feeds)


def residual_blocks(count):
    b = Builder()
    x = b.input(1, 16, 4, 4)
    for _ in range(count):
        y = b.node("Relu", b.norm(b.conv(x, 16, 16, 3, 3, pads=[1] * 4, bias=False), 16))
        y = b.norm(b.conv(y, 16, 16, 3, 3, pads=[1] * 4, bias=False), 16)
        x = b.node("Relu", b.node("Add", x, y))
    return b.output(x)


def long_sums(count):
    """Sums of sums, with a norm behind every other one."""
    b = Builder()
    x = b.input(1, 16, 4, 4)
    total = b.conv(x, 16, 16)
    for i in range(count):
        total = b.node("Add", total, b.conv(x, 16, 16))
        total = b.norm(total, 16) if i % 2 else total
    return b.output(total)


@pytest.mark.parametrize("build, count", [(residual_blocks, 150), (long_sums, 300)])
def test_300_layers_fold_in_3_seconds(build, count):
    """A fraction of a second each; what is asked of them is an order more, for busy machines."""
    model = build(count).model()
    start = time.process_time()
    folded, _ = fold(model)
    assert norms(folded) == 0 and time.process_time() - start < 3


def test_a_model_without_norms_is_not_touched():
    b = Builder()
    b.output(b.node("Relu", b.conv(b.input(2, 3, 5, 5), 3, 4)))
    _, result = check(b.model(), b.feeds)
    assert result == engine.ModelFold()


def test_a_store_of_its_own_is_asked_for_values():
    class Counting(engine.Store):
        read_names, written = (), ()

        def read(self, tensor):
            self.read_names += (tensor.name,)
            return super().read(tensor)

        def write(self, name, values, data_type):
            self.written += (name,)
            return super().write(name, values, data_type)

    b = conv_norm(Builder())
    store, model = Counting(), b.model()
    engine.fold_model(model, store)
    assert set(store.read_names) == {f"w{i}" for i in range(6)} and store.written == ("w0", "w1")


def test_tensors_that_lie_in_other_files(tmp_path):
    """The model is folded without its weights; only what is asked for is read."""

    class Beside(engine.Store):
        def read(self, tensor):
            return numpy_helper.to_array(tensor, base_dir=str(tmp_path))

    b = Builder()
    y = b.norm(b.conv(b.input(2, 3, 5, 5), 3, 4, 3, 3), 4)
    b.output(b.conv(b.node("Relu", y), 4, 2, 3, 3))
    model = b.model()
    expected = run(model, b.feeds)[0]
    path = str(tmp_path / "model.onnx")
    onnx.save(model, path, save_as_external_data=True, location="weights", size_threshold=0)
    folded = onnx.load(path, load_external_data=False)
    result = engine.fold_model(folded, Beside())
    assert not result.kept
    where = {w.name: w.data_location for w in folded.graph.initializer}
    assert where == {"w0": 0, "w1": 0, "w6": 1, "w7": 1}  # 1: still beside, unread
    onnx.load_external_data_for_model(folded, str(tmp_path))
    np.testing.assert_allclose(run(folded, b.feeds)[0], expected, rtol=1e-5, atol=1e-5)
