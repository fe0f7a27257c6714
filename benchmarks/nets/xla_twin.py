"""Our nets as functions for JAX: the formulas as one would write them, images with channels last.

Parameters and running statistics are dictionaries under our names; kernels of convolutions are (height, width, in, out).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

import bncore as bn

from .cases import pair

RUNNING = ("running_mean", "running_var")
Arrays = dict[str, Any]


def arrays(net: Any) -> tuple[Arrays, Arrays]:
    """Parameters and running statistics of one of our nets."""
    state = {name: value for name, value in net.state_dict().items() if "num_batches" not in name}
    laid = {name: np.transpose(v, (2, 3, 1, 0)) if v.ndim == 4 else v for name, v in state.items()}
    running = {name: jnp.array(laid.pop(name)) for name in state if name.endswith(RUNNING)}
    return {name: jnp.array(value) for name, value in laid.items()}, running


class Pass:
    """One pass through a net: what its layers read, and in training the statistics they move."""

    def __init__(self, parameters: Arrays, running: Arrays, training: bool) -> None:
        self.parameters, self.running, self.training = parameters, running, training
        self.moved: Arrays = {}

    def __call__(self, layer: Any, x: Any, name: str = "") -> Any:
        """The layer's output; ``name`` is its path, with a dot behind it."""
        return RULES[type(layer)](self, layer, x, name)

    def own(self, name: str) -> Any:
        return self.parameters.get(name)


def act(layer: Any, y: Any) -> Any:
    return jax.nn.relu(y) if layer.activation else y


def plus(y: Any, bias: Any) -> Any:
    return y if bias is None else y + bias


def linear(run: Pass, layer: Any, x: Any, name: str) -> Any:
    return act(layer, plus(x @ run.own(f"{name}weight").T, run.own(f"{name}bias")))


def conv(run: Pass, layer: Any, x: Any, name: str) -> Any:
    y = lax.conv_general_dilated(
        x,
        run.own(f"{name}weight"),
        layer.stride,
        [(pad, pad) for pad in layer.padding],
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=layer.groups,
    )
    return act(layer, plus(y, run.own(f"{name}bias")))


def norm(run: Pass, layer: Any, x: Any, name: str) -> Any:
    axes = tuple(range(x.ndim - 1))
    mean, var = (run.running[name + which] for which in RUNNING)
    if run.training:
        m, step = x.size // x.shape[-1], layer.momentum
        new_mean = jnp.mean(x, axes)
        new_var = jnp.mean(jnp.square(x - new_mean), axes)
        run.moved[f"{name}running_mean"] = mean + step * (new_mean - mean)
        run.moved[f"{name}running_var"] = var + step * (new_var * (m / (m - 1)) - var)
        mean, var = new_mean, new_var
    x_hat = (x - mean) * lax.rsqrt(var + layer.eps)
    return act(layer, plus(x_hat * run.own(f"{name}weight"), run.own(f"{name}bias")))


def chain(run: Pass, layer: Any, x: Any, name: str) -> Any:
    for child_name, child in layer.children():
        x = run(child, x, f"{name}{child_name}.")
    return x


def residual(run: Pass, layer: Any, x: Any, name: str) -> Any:
    side = x if layer.shortcut is None else run(layer.shortcut, x, f"{name}shortcut.")
    return act(layer, run(layer.main, x, f"{name}main.") + side)


def concat(run: Pass, layer: Any, x: Any, name: str) -> Any:
    parts = [run(child, x, f"{name}{child_name}.") for child_name, child in layer.children()]
    return jnp.concatenate(parts, -1)


def max_pool(run: Pass, layer: Any, x: Any, name: str) -> Any:
    pads = [(0, 0), *((pad, pad) for pad in pair(layer.padding)), (0, 0)]
    window, strides = (1, *pair(layer.kernel_size), 1), (1, *pair(layer.stride), 1)
    return lax.reduce_window(x, -jnp.inf, lax.max, window, strides, pads)


def lstm(run: Pass, layer: Any, x: Any, name: str) -> Any:
    """The last state; gates in PyTorch's order."""
    n, steps, features = x.shape
    product = x.reshape(-1, features) @ run.own(f"{name}weight_ih_l0").T
    product = plus(product, run.own(f"{name}bias_ih_l0"))
    if layer.norm is not None:
        product = norm(run, layer.norm_l0, product, f"{name}norm_l0.")
    product = product.reshape(n, steps, -1).swapaxes(0, 1)
    weight, bias = run.own(f"{name}weight_hh_l0").T, run.own(f"{name}bias_hh_l0")

    def step(state: Any, gates: Any) -> Any:
        h, c = state
        i, f, g, o = jnp.split(gates + h @ weight + bias, 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        return (jax.nn.sigmoid(o) * jnp.tanh(c), c), None

    zeros = jnp.zeros((n, layer.hidden_size), x.dtype)
    return lax.scan(step, (zeros, zeros), product)[0][0]


RULES: dict[type, Callable[[Pass, Any, Any, str], Any]] = {
    bn.Sequential: chain,
    bn.Residual: residual,
    bn.Concat: concat,
    bn.Linear: linear,
    bn.Conv2d: conv,
    bn.BatchNorm: norm,
    bn.MaxPool: max_pool,
    bn.GlobalAvgPool: lambda run, layer, x, name: x.mean((1, 2)),
    bn.Flatten: lambda run, layer, x, name: x.reshape(len(x), -1),
    bn.ImageRows: lambda run, layer, x, name: x,  # sequences pass as they are
    bn.LSTM: lstm,
}
