"""bn.compile: a net in evaluation mode as one call, a snapshot, with errors that name what is wrong."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import bncore as bn
from bncore import backend as backends

from .cases import CASES

TOLERANCE = {"float32": 2e-5, "float64": 1e-13}


def trained(name, dtype, rng):
    """A net whose running statistics are not those it began with."""
    net, shape = CASES[name](np.dtype(dtype))
    for _ in range(2):
        net(rng.normal(1, 2, shape).astype(dtype))
    return net.eval(), shape


@pytest.mark.parametrize("name", CASES)
def test_it_gives_what_the_net_gives(native, name, dtype, rng):
    net, shape = trained(name, dtype, rng)
    run = bn.compile(net, shape)
    for _ in range(2):
        x = rng.normal(size=shape).astype(dtype)
        expected = net(x)
        scale = np.abs(expected).max() + 1e-30
        assert np.abs(run(x) - expected).max() <= TOLERANCE[dtype.name] * scale


@pytest.mark.parametrize("name", ["mlp", "cnn", "resnet20", "separable", "odd sizes"])
@pytest.mark.parametrize("batch", [1, 9])
def test_a_folded_net(native, name, batch, rng):
    net, shape = trained(name, np.float32, rng)
    folded, _ = bn.folding.fold_net(net)
    x = rng.normal(size=(batch, *shape[1:])).astype(np.float32)
    run = bn.compile(folded, x)
    expected = net(x)
    assert np.abs(run(x) - expected).max() <= 1e-4 * np.abs(expected).max()


def test_norms_are_applied_behind_their_convolutions(native, rng):
    net, shape = trained("cnn", np.float32, rng)
    assert "applies 1" in str(bn.compile(net, shape))


def test_it_is_a_snapshot(native, rng):
    net, shape = trained("cnn", np.float32, rng)
    x = rng.normal(size=shape).astype(np.float32)
    run = bn.compile(net, shape)
    first = run(x)
    kept = first.copy()
    net[0].weight[...] = 0
    net[1].running_mean[...] = 7
    assert np.array_equal(run(x), kept)
    run(-x)
    assert np.array_equal(first, kept)  # results are the caller's own


def test_threads_take_turns(native, rng):
    net, shape = trained("cnn", np.float32, rng)
    run = bn.compile(net, shape)
    inputs = [rng.normal(size=shape).astype(np.float32) for _ in range(4)]
    expected = [run(x) for x in inputs]
    wrong = []

    def work(i):
        for _ in range(20):
            if not np.array_equal(run(inputs[i]), expected[i]):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_bad_arguments_are_named(rng):
    net = bn.nets.mlp(5, 3)
    with pytest.raises(TypeError, match="net must be a layer"):
        bn.compile(len, (2, 5))
    with pytest.raises(TypeError, match="array or a shape"):
        bn.compile(net, 64)
    with pytest.raises(ValueError, match="batch"):
        bn.compile(net, (0, 5))
    run = bn.compile(net, (2, 5))
    with pytest.raises(ValueError, match=r"shape \(2, 5\)"):
        run(np.zeros((3, 5), np.float32))
    with pytest.raises(TypeError, match="must be an array"):
        run([[1.0] * 5] * 2)
    with pytest.raises(TypeError, match="float"):
        run(np.zeros((2, 5)))
    with pytest.raises(ValueError, match="x must"):
        bn.compile(bn.Sequential(bn.Conv2d(3, 4, 3)), (2, 5, 8, 8))(
            np.zeros((2, 5, 8, 8), np.float32)
        )


def test_without_the_core_it_calls_the_layers(rng):
    net, shape = trained("cnn", np.float32, rng)
    x = rng.normal(size=shape).astype(np.float32)
    with backends.use_backend("numpy"):
        run = bn.compile(net, shape)
        assert np.array_equal(run(x), net(x))
