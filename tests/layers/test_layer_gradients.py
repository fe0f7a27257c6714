"""Every layer's and container's backward is the derivative of its forward; nothing writes to its input."""

from __future__ import annotations

import numpy as np
import pytest
from layer_cases import CASES, differences, make, random_layers

# float64 central differences with step 1e-6 are good to about 1e-9 of the values' size
TOLERANCE = {"rtol": 1e-6, "atol": 1e-7}


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("name", CASES)
def test_backward_is_the_derivative_of_forward(name, mode):
    layer, x = make(name)
    layer.train() if mode == "train" else layer.eval(backward=True)

    def run():
        for dropout in random_layers(layer):
            dropout.rng = np.random.default_rng(5)
        return layer(x)

    y = run()
    dy = np.random.default_rng(1).standard_normal(y.shape)
    dx = layer.backward(dy.copy())
    gradients = {key: p.gradient.copy() for key, p in layer.named_parameters()}

    picked, slopes = differences(run, x, dy)
    np.testing.assert_allclose(dx.reshape(-1)[picked], slopes, err_msg="dx", **TOLERANCE)
    for key, parameter in layer.named_parameters():
        picked, slopes = differences(run, parameter.value, dy)
        np.testing.assert_allclose(
            gradients[key].reshape(-1)[picked], slopes, err_msg=key, **TOLERANCE
        )


@pytest.mark.parametrize("name", CASES)
def test_input_and_output_gradient_are_never_written_to(name):
    layer, x = make(name)
    kept = x.copy()
    x.flags.writeable = False
    y = layer(x)
    dy = np.random.default_rng(1).standard_normal(y.shape)
    kept_dy = dy.copy()
    dy.flags.writeable = False
    layer.backward(dy)
    np.testing.assert_array_equal(x, kept)
    np.testing.assert_array_equal(dy, kept_dy)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_gradients_are_overwritten_not_accumulated(name, packed):
    layer, x = make(name)
    layer.eval(backward=True)
    if packed:
        layer.pack()
    seen = []
    for _ in range(2):
        layer.backward(np.ones_like(layer(x)))
        seen.append({key: p.gradient.copy() for key, p in layer.named_parameters()})
    for key, value in seen[0].items():
        np.testing.assert_array_equal(seen[1][key], value, err_msg=key)


@pytest.mark.parametrize("name", ["whole-net", "residual-shortcut", "concat", "sequential"])
def test_without_input_gradient_the_parameters_gradients_stay_the_same(name):
    layer, x = make(name)
    wanted = []
    for required in (True, False):
        layer.require_input_gradient(required)
        layer.reseed(0)
        y = layer(x)
        layer.backward(np.cos(np.arange(y.size)).reshape(y.shape))
        wanted.append({key: p.gradient.copy() for key, p in layer.named_parameters()})
    for key, value in wanted[0].items():
        np.testing.assert_array_equal(wanted[1][key], value, err_msg=key)
