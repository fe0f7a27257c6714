"""LayerNorm and RMSNorm as layers: shapes, options, text, errors with a path, state and files, training."""

from __future__ import annotations

import json

import numpy as np
import pytest

import bncore as bn
from bncore import functional as F

LAYERS = [
    lambda: bn.LayerNorm(6),
    lambda: bn.LayerNorm((4, 6), eps=1e-3, activation="relu"),
    lambda: bn.LayerNorm(4, axis=1, bias=False),
    lambda: bn.LayerNorm(6, elementwise_affine=False, bias=True),
    lambda: bn.RMSNorm(6),
    lambda: bn.RMSNorm((4, 6), bias=True, partial=0.5),
    lambda: bn.RMSNorm(4, axis=-2, elementwise_affine=False, activation="relu"),
]
layers = pytest.mark.parametrize("make", LAYERS, ids=lambda make: repr(make()).partition("  #")[0])


def changed(layer, rng):
    """The layer with parameters away from their start."""
    state = layer.state_dict()
    for value in state.values():
        value += rng.standard_normal(value.shape).astype(value.dtype)
    layer.load_state_dict(state)
    return layer


def test_layers_give_what_their_functions_give(backend, dtype, rng):
    x = rng.standard_normal((3, 4, 6)).astype(dtype)
    dy = rng.standard_normal(x.shape).astype(dtype)
    layer = changed(bn.LayerNorm((4, 6), eps=1e-3, activation="relu", dtype=dtype), rng)
    rms = changed(bn.RMSNorm(6, bias=True, partial=0.5, dtype=dtype), rng)
    options = {"axis": (-2, -1), "eps": 1e-3, "activation": "relu"}
    pairs = [
        (layer, F.layer_norm(x, layer.weight, layer.bias, **options), F.layer_norm_backward),
        (rms, F.rms_norm(x, rms.weight, rms.bias, partial=0.5), F.rms_norm_backward),
    ]
    for ours, (y, saved), backward in pairs:
        for mode in (ours.train(), ours.eval(backward=True)):
            assert np.array_equal(mode(x), y)
            dx, dweight, dbias = backward(dy, saved)
            assert np.array_equal(ours.backward(dy), dx)
            assert np.array_equal(ours.weight_grad, dweight)
            assert np.array_equal(ours.bias_grad, dbias)


def test_gradients_are_written_into_the_flat_vector(backend, rng):
    net = bn.Sequential(bn.Linear(5, 6), bn.LayerNorm(6), bn.RMSNorm(6))
    net.pack()
    x = rng.standard_normal((8, 5)).astype(np.float32)
    net(x)
    net.backward(rng.standard_normal((8, 6)).astype(np.float32))
    for layer in (net[1], net[2]):
        assert np.shares_memory(layer.weight_grad, net.gradients_flat)
        assert np.any(layer.weight_grad != 0)
    assert net.decayed <= 32  # gamma and beta take no weight decay


@layers
def test_configurations_go_there_and_back(make):
    layer = make()
    text = json.dumps(layer.config())
    again = bn.layers.build(json.loads(text))
    assert again.config() == layer.config()
    assert repr(again) == repr(layer)
    assert {k: v.shape for k, v in again.state_dict().items()} == {
        k: v.shape for k, v in layer.state_dict().items()
    }


@layers
def test_a_file_brings_the_layer_back(make, tmp_path, rng):
    layer = changed(make(), rng).eval()
    x = rng.standard_normal((3, 4, 6)).astype(np.float32)
    bn.save(bn.Sequential(layer), tmp_path / "net.npz")
    assert np.array_equal(bn.load(tmp_path / "net.npz").eval()(x), layer(x))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: bn.LayerNorm(5),
            r"1 LayerNorm\(5\): x must have shape \(..., 5\), got .*\(3, 4, 6\)",
        ),
        (lambda: bn.LayerNorm(5, elementwise_affine=False), r"x must have shape \(..., 5\)"),
        (lambda: bn.RMSNorm((6, 4)), r"1 RMSNorm\(\(6, 4\)\): x must have shape \(..., 6, 4\)"),
        (lambda: bn.RMSNorm((2, 3, 4, 6)), r"x must have shape \(..., 2, 3, 4, 6\)"),
        (
            lambda: bn.LayerNorm(6, axis=1),
            r"x must have 6 channels on axis 1, got shape \(3, 4, 6\)",
        ),
        (lambda: bn.LayerNorm(6, axis=3), r"axis must lie in \[-3, 3\)"),
    ],
)
def test_wrong_shapes_are_named_with_the_path(make, words, backend):
    net = bn.Sequential(bn.ReLU(), make())
    with pytest.raises(ValueError, match=words):
        net(np.ones((3, 4, 6), np.float32))


def test_a_wrong_dtype_says_what_to_convert(backend):
    with pytest.raises(
        TypeError, match=r"0 LayerNorm\(6\): weight must have dtype float64 .*float32"
    ):
        bn.Sequential(bn.LayerNorm(6))(np.ones((2, 6)))


@pytest.mark.parametrize("kind", [bn.LayerNorm, bn.RMSNorm])
@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"normalized_shape": 0}, ValueError, "normalized_shape must be an integer >= 1, got 0"),
        ({"normalized_shape": ()}, ValueError, "normalized_shape must be .*, got none"),
        ({"normalized_shape": 2.5}, TypeError, "normalized_shape must be an integer, got 2.5"),
        ({"normalized_shape": (3, "x")}, TypeError, "normalized_shape must be an integer"),
        ({"normalized_shape": (3, 4), "axis": 1}, ValueError, "axis must be -1 for several"),
        ({"axis": 1.5}, TypeError, "axis must be an integer"),
        ({"eps": -1}, ValueError, "eps must be"),
        ({"elementwise_affine": 1}, TypeError, "elementwise_affine must be True or False"),
        ({"bias": "no"}, TypeError, "bias must be True or False"),
        ({"activation": "gelu"}, ValueError, "activation must be one of"),
        ({"dtype": np.int32}, TypeError, "dtype"),
    ],
)
def test_bad_options_are_named(kind, arguments, error, words):
    with pytest.raises(error, match=words):
        kind(**{"normalized_shape": 4, **arguments})


def test_a_bad_part_is_named():
    with pytest.raises(ValueError, match=r"partial must be a number in \(0, 1\], got 0.0"):
        bn.RMSNorm(4, partial=0)


def test_text_says_what_is_not_the_default():
    assert repr(bn.LayerNorm(4)).startswith("LayerNorm(4, eps=1e-05)")
    text = repr(bn.RMSNorm((2, 3), bias=True, partial=0.5, activation="relu"))
    assert text.startswith("RMSNorm((2, 3), eps=1e-06, activation='relu', bias=True, partial=0.5)")
    assert repr(bn.LayerNorm(4, axis=1, bias=False)).startswith(
        "LayerNorm(4, axis=1, eps=1e-05, bias=False)"
    )


@pytest.mark.parametrize("norm", [bn.LayerNorm, bn.RMSNorm])
@pytest.mark.parametrize(("batch_size", "lr"), [(16, 0.2), (1, 0.02)])
def test_nets_with_them_train(norm, batch_size, lr, rng):
    """Also with batches of one, where batch norm has nothing to measure."""
    x = rng.standard_normal((128, 8)).astype(np.float32)
    target = (x[:, :2].sum(axis=1) > 0).astype(np.int64)
    net = bn.Sequential(
        bn.Linear(8, 16, bias=False, rng=0),
        norm(16, activation="relu"),
        bn.Linear(16, 2, rng=1),
    )
    options = {"loss": "cross_entropy", "optimizer": bn.SGD(lr=lr), "epochs": 15, "seed": 0}
    history = bn.fit(net, x, target, batch_size=batch_size, progress=False, **options)
    assert history.epochs[-1]["loss"] < 0.5 * history.epochs[0]["loss"]
