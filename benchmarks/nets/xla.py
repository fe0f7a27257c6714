"""JAX: the whole step, optimizer included, or the net compiled by jit. Its threads are as many as CPUs are allowed."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from . import Contender, Makers
from .cases import LR, MOMENTUM, Case
from .xla_twin import Pass, arrays


def train(case: Case) -> Makers:
    return {"jax": lambda: step(case)}


def step(case: Case) -> Contender:
    net, (x, y) = case.build(), map(jnp.array, case.data(-1 if case.images else 1))
    parameters, running = arrays(net)

    def update(parameters: Any, velocity: Any, running: Any, x: Any, y: Any) -> Any:
        def objective(p: Any) -> Any:
            run = Pass(p, running, True)
            scores = jax.nn.log_softmax(run(net, x))
            return -jnp.mean(jnp.take_along_axis(scores, y[:, None], 1)), run.moved

        (value, moved), slope = jax.value_and_grad(objective, has_aux=True)(parameters)
        velocity = jax.tree.map(lambda v, g: MOMENTUM * v + g, velocity, slope)
        return jax.tree.map(lambda p, v: p - LR * v, parameters, velocity), velocity, moved, value

    compiled = jax.jit(update, donate_argnums=(0, 1, 2))
    state = [parameters, jax.tree.map(jnp.zeros_like, parameters), running]

    def call() -> Any:
        *state[:], value = jax.block_until_ready(compiled(*state, x, y))
        return value

    return Contender(call, float)


def infer(case: Case) -> Makers:
    return {"jax": lambda: run(case)}


def run(case: Case) -> Contender:
    """With its weights as constants."""
    net, x = case.folded(), jnp.array(case.data(-1 if case.images else 1)[0])
    parameters, running = arrays(net)
    compiled = jax.jit(lambda x: Pass(parameters, running, False)(net, x))
    return Contender(lambda: jax.block_until_ready(compiled(x)), np.asarray)
