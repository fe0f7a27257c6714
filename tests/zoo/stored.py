"""Weights in other types: quantized ones behind DequantizeLinear, half precision."""

from __future__ import annotations

import numpy as np

from .builder import Graph
from .layers import bias, classifier, conv, conv_norm, gemm, norm
from .registry import model


def dequantized(
    g: Graph, shape: tuple[int, ...], fan_in: int, axis: int | None, zero: int | None
) -> str:
    """A weight in 8 bits, with one scale (`axis` None) or one per channel; without zero point where
    None. The float64 twin has the product itself, which the format has no node for.
    """
    count = 1 if axis is None else shape[axis]
    dtype = np.int8 if not zero else np.uint8
    # every step can change its sign within the type
    low, high = (-127, 128) if not zero else (max(0, 2 * zero - 255), min(255, 2 * zero) + 1)
    steps = g.rng.integers(low, high, shape).astype(dtype)
    scale = (g.rng.uniform(0.7, 1.3, count) * np.sqrt(1.5 / fan_in) / 74).astype(g.storage)
    if g.double:
        along = [1] * len(shape)
        along[axis or 0] = count
        values = (steps.astype(np.float64) - (zero or 0)) * scale.astype(np.float64).reshape(along)
        g.storage, kept = np.dtype(np.float64), g.storage
        name = g.const(values, "weight")
        g.storage = kept
        return name
    points = [] if zero is None else [g.const(np.full(count, zero, dtype), "zero_point")]
    inputs = [g.const(steps, "steps"), g.const(scale, "scale"), *points]
    if axis is None:
        inputs[1:] = [g.const(scale[0], "scale")]
        inputs += [g.const(np.array(zero, dtype), "zero_point")] if points else []
        return g("DequantizeLinear", *inputs)
    return g("DequantizeLinear", *inputs, axis=axis)


def _quantized(g: Graph, per_channel: bool, zero: int | None) -> None:
    def weight(shape: tuple[int, ...], fan_in: int, axis: int) -> str:
        return dequantized(g, shape, fan_in, axis if per_channel else None, zero)

    x = g.input("image", ["N", 3, 12, 12])
    x = conv(g, x, 3, 8, weight=weight((8, 3, 3, 3), 27, 0), with_bias=True)
    x = g("Relu", norm(g, x, 8))
    x = g("Relu", norm(g, conv(g, x, 8, 8, weight=weight((8, 1, 3, 3), 9, 0), groups=8), 8))
    x = g("ConvTranspose", x, weight((8, 6, 2, 2), 8, 1), strides=[2, 2])
    x = g("Flatten", g("GlobalAveragePool", g("Relu", norm(g, x, 6, "positive"))))
    x = norm(g, g("Gemm", x, weight((10, 6), 6, 0), bias(g, 10), transB=1), 10)
    x = g("MatMul", g("Relu", x), weight((10, 4), 10, 1))
    g.output(norm(g, x, 4), "logits")


@model(
    norms=0,
    why="scales of DequantizeLinear, one per output channel, take the norm's; shifts become biases "
    "in float (the last MatMul becomes a Gemm)",
    inputs={"N": 2},
)
def quantized_per_channel(g: Graph) -> None:
    _quantized(g, True, 0)


@model(
    norms=0,
    why="as quantized_per_channel, after one scale and zero point have become one per channel",
    inputs={"N": 2},
    value_info=True,
)
def quantized_per_tensor(g: Graph) -> None:
    _quantized(g, False, 131)


@model(
    norms=1,
    why="the norm's scale would have to differ along the weight's input axis, where its steps have "
    "no scale; its shift alone going into the bias leaves a Mul",
    inputs={"N": 2},
)
def quantized_after_norm(g: Graph) -> None:
    x = norm(g, g("Tanh", gemm(g, g.input("row", ["N", 6]), 6, 8)), 8)
    weight = dequantized(g, (4, 8), 8, 0, None)
    g.output(g("Gemm", x, weight, bias(g, 4), transB=1), "logits")


@model(
    norms=0,
    why="as in float32; products in float64, one rounding to float16",
    inputs={"N": 2},
    storage=np.float16,
    typed=True,
)
def half_precision(g: Graph) -> None:
    x = conv_norm(g, g.input("image", ["N", 3, 12, 12]), 3, 8)
    y = conv_norm(g, conv_norm(g, x, 8, 8), 8, 8, act="")
    x = norm(g, g("Relu", g("Add", x, y)), 8)
    g.output(gemm(g, g("Flatten", g("GlobalAveragePool", x)), 8, 4), "logits")


@model(
    norms=0,
    added=1,
    why="the first weight times the scale is beyond float16, and there is no neighbour to take a "
    "power of two: shift into the bias, the scale stays as a Mul",
    inputs={"N": 2},
    storage=np.float16,
)
def half_precision_overflow(g: Graph) -> None:
    weight = g.const(g.normal((6, 3, 1, 1), 900.0), "weight")
    x = g("Conv", g("Sigmoid", g.input("image", ["N", 3, 6, 6])), weight)
    params = [np.full(6, 3.0), g.normal((6,)), g.normal((6,), 900.0), np.full(6, 3e-5)]
    x = g("BatchNormalization", x, *(g.const(p, "norm") for p in params), epsilon=1e-5)
    x = g("Tanh", x)
    classifier(g, g("Relu", norm(g, g("Conv", x, g.const(g.normal((4, 6, 1, 1)))), 4)), 4)


@model(
    norms=1,
    why="gammas of 1e-4 would make most weights subnormal in float16, with a digit or two left; "
    "nothing beside them takes a power of two",
    inputs={"N": 2},
    storage=np.float16,
)
def half_precision_subnormal(g: Graph) -> None:
    """Nearly pruned channels that the next layer makes large again."""
    x = conv(g, g.input("image", ["N", 3, 6, 6]), 3, 6, with_bias=True)
    params = [1e-4 * g.rng.uniform(0.5, 2, 6), 1e-4 * g.normal((6,)), g.normal((6,)), np.ones(6)]
    x = g("Tanh", g("BatchNormalization", x, *(g.const(p, "norm") for p in params)))
    x = g("Conv", x, g.const(g.normal((4, 6, 1, 1), 3000.0), "weight"))
    classifier(g, x, 4)
