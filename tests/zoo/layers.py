"""Layers made of one or a few nodes, with random weights: convolutions, linear operations, norms,
recurrent layers.

Weights are drawn so that a deep stack neither vanishes nor explodes; norms look trained: no two
channels alike, gammas of both signs unless asked otherwise.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .builder import Graph


def kernel(g: Graph, shape: tuple[int, ...], fan_in: int, hint: str = "weight") -> str:
    return g.const(g.normal(shape, np.sqrt(1.5 / fan_in)), hint)


def bias(g: Graph, size: int) -> str:
    return g.const(g.normal((size,), 0.3), "bias")


def conv(
    g: Graph,
    x: str,
    ci: int,
    co: int,
    k: int = 3,
    *,
    stride: int = 1,
    pad: int | None = None,
    groups: int = 1,
    dilation: int = 1,
    dims: int = 2,
    with_bias: bool = False,
    weight: str | None = None,
) -> str:
    """A convolution with "same" padding for odd kernels unless `pad` is given."""
    if weight is None:
        weight = conv_weight(g, ci, co, k, groups=groups, dims=dims)
    extra = [bias(g, co)] if with_bias else []
    padding = dilation * (k // 2) if pad is None else pad
    return g(
        "Conv",
        x,
        weight,
        *extra,
        kernel_shape=[k] * dims,
        strides=[stride] * dims,
        pads=[padding] * (2 * dims),
        dilations=[dilation] * dims,
        group=groups,
    )


def conv_weight(g: Graph, ci: int, co: int, k: int, *, groups: int = 1, dims: int = 2) -> str:
    return kernel(g, (co, ci // groups, *[k] * dims), ci // groups * k**dims)


def conv_transpose(
    g: Graph,
    x: str,
    ci: int,
    co: int,
    k: int = 4,
    *,
    stride: int = 2,
    pad: int = 1,
    groups: int = 1,
    dims: int = 2,
    with_bias: bool = False,
) -> str:
    taps = max(1, k // stride) ** dims
    weight = kernel(g, (ci, co // groups, *[k] * dims), ci // groups * taps)
    extra = [bias(g, co)] if with_bias else []
    return g(
        "ConvTranspose",
        x,
        weight,
        *extra,
        kernel_shape=[k] * dims,
        strides=[stride] * dims,
        pads=[pad] * (2 * dims),
        group=groups,
    )


def gemm(g: Graph, x: str, ci: int, co: int, *, with_bias: bool = True, **attributes: Any) -> str:
    """As PyTorch exports a linear layer: weight (out, in), transB = 1. Before opset 11 it must have
    a bias.
    """
    extra = [bias(g, co)] if with_bias or g.opset < 11 else []
    return g("Gemm", x, kernel(g, (co, ci), ci), *extra, transB=1, **attributes)


def matmul(g: Graph, x: str, ci: int, co: int, *, with_bias: bool = True) -> str:
    """MatMul by (in, out), and an Add."""
    y = g("MatMul", x, kernel(g, (ci, co), ci))
    return g("Add", y, bias(g, co)) if with_bias else y


def norm_params(g: Graph, c: int, sign: str = "mixed") -> list[str]:
    """Scale, bias, mean and variance of a norm as after training; `sign` of the gammas: "mixed" or
    "positive".
    """
    gamma = g.rng.uniform(0.5, 1.5, c)
    if sign == "mixed":
        gamma *= np.where(np.arange(c) % 4 == 1, -1, 1)
    values = (gamma, g.normal((c,), 0.3), g.normal((c,), 0.5), g.rng.uniform(0.5, 2.0, c))
    return [
        g.const(value, hint) for value, hint in zip(values, ("gamma", "beta", "mean", "variance"))
    ]


def norm(g: Graph, x: str, c: int, sign: str = "mixed", params: list[str] | None = None) -> str:
    params = norm_params(g, c, sign) if params is None else params
    return g("BatchNormalization", x, *params, epsilon=1e-5)


def conv_norm(
    g: Graph, x: str, ci: int, co: int, k: int = 3, act: str = "Relu", **options: Any
) -> str:
    """The ordinary triple. Without an activation if `act` is ""."""
    y = norm(g, conv(g, x, ci, co, k, **options), co)
    return g(act, y) if act else y


def silu(g: Graph, x: str) -> str:
    return g("Mul", x, g("Sigmoid", x))


def pool(g: Graph, x: str, k: int = 2, op: str = "MaxPool", dims: int = 2, **options: Any) -> str:
    return g(op, x, kernel_shape=[k] * dims, strides=options.pop("strides", [k] * dims), **options)


def recurrent(
    g: Graph, op: str, x: str, size: int, hidden: int, *, directions: int = 2, **options: Any
) -> str:
    """LSTM or GRU over (steps, batch, size); all its outputs (steps, directions, batch, hidden)."""
    gates = {"LSTM": 4, "GRU": 3}[op]
    std = 1 / np.sqrt(hidden)
    w, r = (
        g.const(g.normal((directions, gates * hidden, n), std), "weight") for n in (size, hidden)
    )
    b = g.const(g.normal((directions, 2 * gates * hidden), 0.2), "bias")
    way = "bidirectional" if directions == 2 else "forward"
    return g(op, x, w, r, b, hidden_size=hidden, direction=way, **options)


def classifier(g: Graph, x: str, c: int, classes: int = 5) -> None:
    """Global pooling, a linear layer, the graph's output."""
    g.output(gemm(g, g("Flatten", g("GlobalAveragePool", x)), c, classes), "logits")
