"""A plan gives what the layers give, called one by one, on every instruction set and for any number of threads."""

from __future__ import annotations

import numpy as np
import pytest

import bncore as bn
from bncore import backend as backends
from bncore.plan import Run, Unsupported, lower

from .cases import CASES

TOLERANCE = {"float32": 4e-6, "float64": 1e-14}


@pytest.fixture(params=["generic", "avx2", "avx512"])
def isa(request, native):
    module = backends.native_module()
    if request.param not in module.available_isas():
        pytest.skip("not on this machine")
    before = module.isa
    module.use_isa(request.param)
    yield request.param
    module.use_isa(before)


def prepared(name, dtype, seed=0):
    """A net with gradients to its parameters only, a batch, and a gradient of its output."""
    net, shape = CASES[name](np.dtype(dtype))
    rng = np.random.default_rng(seed)
    for _, parameter in net.named_parameters():
        parameter.value[...] += rng.normal(size=parameter.value.shape) * 0.05
    net.train()
    net.require_input_gradient(False)
    x = rng.normal(size=shape).astype(dtype)
    dy = rng.normal(size=net.copy()(x).shape).astype(dtype)
    return net, x, dy


def by_layers(net, x, dy):
    net.require_input_gradient(False)
    y = net(x)
    net.backward(dy)
    return y, net.flat_vectors().gradients.copy(), net.state_dict()


def by_plan(net, x, dy, **how):
    run = Run(lower(net, x.shape, **how))
    run.x[...] = x
    run.forward()
    y = run.y.copy()
    run.gradient[...] = dy
    run.backward()
    return y, net.flat_vectors().gradients.copy(), net.state_dict()


def near(a, b, tolerance):
    scale = max(np.abs(a).max(initial=0), 1e-30)
    return np.abs(a - b).max(initial=0) <= tolerance * scale


@pytest.mark.parametrize("name", CASES)
def test_a_plan_gives_what_the_layers_give(isa, name, dtype):
    net, x, dy = prepared(name, dtype)
    y, gradients, state = by_layers(net.copy(), x, dy)
    y2, gradients2, state2 = by_plan(net.copy(), x, dy)
    tolerance = TOLERANCE[dtype.name]
    assert near(y, y2, tolerance)
    # a ReLU may open for a value that rounds across 0: gradients get ten times as much
    assert near(gradients, gradients2, 10 * tolerance)
    for key, array in state.items():
        if "running" in key:
            assert near(array, state2[key], tolerance), key


@pytest.mark.parametrize("name", CASES)
def test_the_bits_do_not_depend_on_threads(native, name):
    module = backends.native_module()
    results = []
    for threads in (1, 2, 3):
        net, x, dy = prepared(name, np.float32)
        module.force_threads(threads)
        try:
            results.append(by_plan(net, x, dy))
        finally:
            module.force_threads(0)
    for y, gradients, _ in results[1:]:
        assert np.array_equal(y, results[0][0])
        assert np.array_equal(gradients, results[0][1])


@pytest.mark.parametrize("name", ["cnn", "resnet20", "odd sizes", "one image"])
def test_winograd_or_not(native, name):
    net, x, dy = prepared(name, np.float32)
    with bn.winograd(False):
        _, expected, _ = by_layers(net.copy(), x, dy)
        _, direct, _ = by_plan(net.copy(), x, dy)
    _, tiled, _ = by_plan(net.copy(), x, dy)
    assert near(expected, direct, 4e-5)
    assert near(expected, tiled, 4e-5)


def test_nothing_is_allocated_after_the_first_run(native):
    net, x, dy = prepared("resnet20", np.float32)
    run = Run(lower(net, x.shape))
    run.x[...], run.gradient[...] = x, dy
    run.forward(), run.backward()
    before = bn.pool.statistics()
    for _ in range(3):
        run.forward(), run.backward()
    after = bn.pool.statistics()
    assert after["misses"] == before["misses"]
    assert after["live_bytes"] == before["live_bytes"]


@pytest.mark.parametrize("name", CASES)
def test_computed_again_or_kept_the_bits_are_the_same(native, name):
    net, x, dy = prepared(name, np.float32)
    y, gradients, _ = by_plan(net.copy(), x, dy)
    y2, gradients2, _ = by_plan(net.copy(), x, dy, recompute=True)
    assert np.array_equal(y, y2)
    assert np.array_equal(gradients, gradients2)


def test_computing_again_takes_less_memory(native):
    net = bn.nets.resnet20()
    plan, again = (lower(net, (32, 3, 32, 32), recompute=way) for way in (False, True))
    assert again.memory < 0.9 * plan.memory
    assert "again" in str(again)


def test_inputs_are_left_alone(native):
    net, x, dy = prepared("odd sizes", np.float32)
    kept = x.copy(), dy.copy()
    by_plan(net, x, dy)
    assert np.array_equal(x, kept[0])
    assert np.array_equal(dy, kept[1])


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_nothing_is_read_before_it_is_written(native, name, recompute):
    net, x, _ = prepared(name, np.float32)
    for plan in (
        lower(net, x.shape, recompute=recompute),
        lower(net.eval(), x.shape, training=False),
    ):
        written = {value.owner() for value in (plan.x, plan.gradient) if value is not None}
        for step in plan.steps:
            assert {value.owner() for value in step.reads} <= written, (step.op, step.path)
            written |= {value.owner() for value in step.writes}


def test_printed_it_tells_what_is_fused(native):
    net, x, _ = prepared("resnet20", np.float32)
    text = str(lower(net, x.shape))
    assert "reads through" in text and "measures for" in text and "sums for" in text
    assert "million multiplications" in text


def test_what_a_layer_refuses_has_no_plan(native):
    net = bn.Sequential(bn.Conv2d(3, 4, 3), bn.BatchNorm(4))
    for shape in ((2, 5, 8, 8), (2, 3, 1, 1), (2, 3)):
        with pytest.raises(Unsupported):
            lower(net, shape)
    with pytest.raises(Unsupported):  # one value per channel has no variance
        lower(bn.Sequential(bn.Linear(3, 4), bn.BatchNorm(4)), (1, 3))
