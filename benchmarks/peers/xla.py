"""JAX: the formulas as one would write them, compiled by jit. Its CPU threads are as many as CPUs are allowed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from norms.cases import EPS, MOMENTUM, Case
from norms.data import Array, Data

from . import Contender, Missing

try:
    import jax
    import jax.numpy as jnp
except ImportError:
    jax = None


class Peer:
    digests = False

    def __init__(self, threads: int) -> None:
        if jax is None:
            raise Missing("JAX is not installed (pip install 'bncore[bench]')")
        self.version = jax.__version__
        jnp.zeros(8).block_until_ready()  # the threads start

    def contenders(self, data: Data) -> dict[str, Callable[[], Contender]]:
        return {"jax": lambda: jitted(data)}

    def forget(self) -> None:
        jax.clear_caches()


def jitted(data: Data) -> Contender:
    function, arrays = FUNCTIONS[data.case.norm](data)
    run, inputs = jax.jit(function), [jax.device_put(a) for a in arrays]
    count = outputs(data.case)
    return Contender(
        lambda: jax.block_until_ready(run(*inputs)),
        lambda result: tuple(np.asarray(a) for a in result[:count]),
    )


def outputs(case: Case) -> int:
    """How many of the results are those of the case; running statistics follow them."""
    if "backward" in case.op:
        return 2 if case.norm == "rms" else 3
    return 2 if case.op == "statistics" else 1


Function = tuple[Callable[..., Any], list[Array]]


def batch(data: Data) -> Function:
    case = data.case
    n, c, s = case.view
    axes = (0, 2)
    wide = lambda v: v[None, :, None]  # noqa: E731
    if s == 1:  # a matrix: nothing for the compiler to see through
        axes, wide = (0,), lambda v: v
    m = n * s
    shape = (n, c, s) if s > 1 else (n, c)
    x = data.x.reshape(shape)

    def moments(x: Any) -> tuple[Any, Any]:
        mean = jnp.mean(x, axes)
        return mean, jnp.mean(jnp.square(x - wide(mean)), axes)

    def forward(x: Any, weight: Any, bias: Any, run_mean: Any, run_var: Any, *residual: Any) -> Any:
        mean, var = moments(x)
        y = (x - wide(mean)) * wide(weight * jax.lax.rsqrt(var + EPS)) + wide(bias)
        for r in residual:
            y = y + r
        if "relu" in case.op:
            y = jnp.maximum(y, 0)
        moved = MOMENTUM * (mean - run_mean), MOMENTUM * (var * (m / (m - 1)) - run_var)
        return y, run_mean + moved[0], run_var + moved[1]

    def evaluation(x: Any, weight: Any, bias: Any, mean: Any, var: Any) -> Any:
        return ((x - wide(mean)) * wide(weight * jax.lax.rsqrt(var + EPS)) + wide(bias),)

    def backward(dy: Any, x: Any, weight: Any, bias: Any, mean: Any, inv_std: Any) -> Any:
        x_hat = (x - wide(mean)) * wide(inv_std)
        if "relu" in case.op:
            dy = jnp.where(x_hat * wide(weight) + wide(bias) > 0, dy, 0)
        dbias, dweight = jnp.sum(dy, axes), jnp.sum(dy * x_hat, axes)
        dx = wide(weight * inv_std) * (dy - wide(dbias / m) - x_hat * wide(dweight / m))
        return dx, dweight, dbias

    if case.op == "statistics":
        return moments, [x]
    parameters = [data.weight, data.bias]
    if "backward" in case.op:
        mean, var = jax.jit(moments)(x)
        saved = [mean, jax.lax.rsqrt(var + EPS)]
        return backward, [data.dy.reshape(shape), x, *parameters, *saved]
    residual = [data.residual.reshape(shape)] if "add" in case.op else []
    running = [data.mean, data.var, *residual]
    return (evaluation if case.op == "evaluation" else forward), [x, *parameters, *running]


def layer(data: Data) -> Function:
    def saved(x: Any) -> tuple[Any, Any]:
        mean = jnp.mean(x, 1, keepdims=True)
        var = jnp.mean(jnp.square(x - mean), 1, keepdims=True)
        return mean, jax.lax.rsqrt(var + EPS)

    def forward(x: Any, weight: Any, bias: Any) -> Any:
        mean, inv_std = saved(x)
        return (x - mean) * inv_std * weight + bias, mean, inv_std

    def backward(dy: Any, x: Any, weight: Any, mean: Any, inv_std: Any) -> Any:
        x_hat, w = (x - mean) * inv_std, dy * weight
        means = jnp.mean(w, 1, keepdims=True), jnp.mean(w * x_hat, 1, keepdims=True)
        dx = inv_std * (w - means[0] - x_hat * means[1])
        return dx, jnp.sum(dy * x_hat, 0), jnp.sum(dy, 0)

    if data.case.direction == "forward":
        return forward, [data.x, data.weight, data.bias]
    return backward, [data.dy, data.x, data.weight, *jax.jit(saved)(data.x)]


def rms(data: Data) -> Function:
    def saved(x: Any) -> Any:
        return jax.lax.rsqrt(jnp.mean(jnp.square(x), 1, keepdims=True) + EPS)

    def forward(x: Any, weight: Any) -> Any:
        inv_rms = saved(x)
        return x * inv_rms * weight, inv_rms

    def backward(dy: Any, x: Any, weight: Any, inv_rms: Any) -> Any:
        x_hat, w = x * inv_rms, dy * weight
        dx = inv_rms * (w - x_hat * jnp.mean(w * x_hat, 1, keepdims=True))
        return dx, jnp.sum(dy * x_hat, 0)

    if data.case.direction == "forward":
        return forward, [data.x, data.weight]
    return backward, [data.dy, data.x, data.weight, jax.jit(saved)(data.x)]


FUNCTIONS = {"batch": batch, "layer": layer, "rms": rms}
