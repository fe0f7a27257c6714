"""Element-wise activations and the dropout mask in plain NumPy: what the compiled kernels must agree with.

Arrays are valid and contiguous here; `functional` has judged them. `kept` is what a forward pass leaves for its
backward pass: the output for relu, sigmoid and tanh, the input for the others.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

__all__ = ["activation", "activation_backward", "mask_scale"]

# NumPy has no erfc. The C library's, one element at a time, is exact to the last digit or so in both tails, which no
# rational approximation short enough for this file would be; speed is the compiled kernels' business.
_erfc = np.frompyfunc(math.erfc, 1, 1)

_SQRT_2_OVER_PI = math.sqrt(2.0 / math.pi)
_CUBIC = 0.044715  # of the tanh form, Hendrycks & Gimpel 2016 (arXiv 1606.08415)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)), by exp(-|x|) so that nothing overflows and the left tail keeps its digits."""
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


def _normal_cdf(x: np.ndarray) -> np.ndarray:
    """P(N(0, 1) <= x) = erfc(-x / sqrt(2)) / 2: unlike 1 + erf it keeps its digits in the left tail."""
    tail = np.asarray(_erfc(x.astype(np.float64) * -math.sqrt(0.5)), dtype=np.float64)
    return (0.5 * tail).astype(x.dtype)


def _finite_below(x: np.ndarray) -> np.ndarray:
    """x with -inf replaced by the lowest finite number, so that x·0 is the limit 0 and not NaN."""
    return np.maximum(x, np.finfo(x.dtype).min)


def _relu(x: np.ndarray, slope: float) -> np.ndarray:
    return np.where(x <= 0, 0, x)  # not maximum(x, 0), which may return -0


def _relu_backward(dy: np.ndarray, y: np.ndarray, slope: float) -> np.ndarray:
    return np.where(y <= 0, 0, dy)


def _leaky_relu(x: np.ndarray, slope: float) -> np.ndarray:
    return np.where(x < 0, x * x.dtype.type(slope), x)


def _leaky_relu_backward(dy: np.ndarray, x: np.ndarray, slope: float) -> np.ndarray:
    return np.where(x <= 0, dy * x.dtype.type(slope), dy)


def _gelu(x: np.ndarray, slope: float) -> np.ndarray:
    """x·Phi(x)."""
    return _finite_below(x) * _normal_cdf(x)


def _gelu_backward(dy: np.ndarray, x: np.ndarray, slope: float) -> np.ndarray:
    """dy·(Phi(x) + x·phi(x)); outside ±40 phi is 0 and x may be too large to be squared."""
    x = np.clip(x, -40, 40)
    density = np.exp(-0.5 * x * x) * x.dtype.type(1.0 / math.sqrt(2.0 * math.pi))
    return dy * (_normal_cdf(x) + x * density)


def _gelu_tanh(x: np.ndarray, slope: float) -> np.ndarray:
    """x·(1 + tanh(u))/2 = x·sigmoid(2u), u = sqrt(2/pi)·(x + 0.044715·x³); beyond ±40 the sigmoid is 0 or 1."""
    c = np.clip(x, -40, 40)
    return _finite_below(x) * _sigmoid(2 * _SQRT_2_OVER_PI * (c + _CUBIC * c * c * c))


def _gelu_tanh_backward(dy: np.ndarray, x: np.ndarray, slope: float) -> np.ndarray:
    """dy·(s + x·s·(1 - s)·2u'), s = sigmoid(2u)."""
    x = np.clip(x, -40, 40)
    twice_u = 2 * _SQRT_2_OVER_PI * (x + _CUBIC * x * x * x)
    slope_of_twice_u = 2 * _SQRT_2_OVER_PI * (1 + 3 * _CUBIC * x * x)
    s = _sigmoid(twice_u)
    return dy * (s + x * s * _sigmoid(-twice_u) * slope_of_twice_u)


def _silu(x: np.ndarray, slope: float) -> np.ndarray:
    return _finite_below(x) * _sigmoid(x)


def _silu_backward(dy: np.ndarray, x: np.ndarray, slope: float) -> np.ndarray:
    """dy·s·(1 + x·(1 - s)); outside ±1000 s is 0 or 1."""
    x = np.clip(x, -1000, 1000)
    return dy * _sigmoid(x) * (1 + x * _sigmoid(-x))


def _sigmoid_forward(x: np.ndarray, slope: float) -> np.ndarray:
    return _sigmoid(x)


def _sigmoid_backward(dy: np.ndarray, y: np.ndarray, slope: float) -> np.ndarray:
    return dy * y * (1 - y)


def _tanh(x: np.ndarray, slope: float) -> np.ndarray:
    return np.tanh(x)


def _tanh_backward(dy: np.ndarray, y: np.ndarray, slope: float) -> np.ndarray:
    return dy * ((1 - y) * (1 + y))


_PAIRS: dict[str, tuple[Any, Any]] = {
    "relu": (_relu, _relu_backward),
    "leaky_relu": (_leaky_relu, _leaky_relu_backward),
    "gelu": (_gelu, _gelu_backward),
    "gelu_tanh": (_gelu_tanh, _gelu_tanh_backward),
    "silu": (_silu, _silu_backward),
    "sigmoid": (_sigmoid_forward, _sigmoid_backward),
    "tanh": (_tanh, _tanh_backward),
}


def activation(x: np.ndarray, kind: str, slope: float, out: np.ndarray | None) -> np.ndarray:
    """y = f(x), f named by `kind`; `slope` is leaky_relu's. `out` may be x itself."""
    return _into(out, _PAIRS[kind][0](x, slope))


def activation_backward(
    dy: np.ndarray, kept: np.ndarray, kind: str, slope: float, out: np.ndarray | None
) -> np.ndarray:
    """dx = dy·f'(x) from what the forward pass kept. `out` may be dy itself."""
    return _into(out, _PAIRS[kind][1](dy, kept, slope))


def mask_scale(x: np.ndarray, keep: np.ndarray, scale: float, out: np.ndarray | None) -> np.ndarray:
    """x·scale where `keep`, x·0 elsewhere (a dropped NaN stays NaN). `out` may be x itself."""
    return _into(out, x * np.where(keep, x.dtype.type(scale), x.dtype.type(0)))


def _into(out: np.ndarray | None, result: np.ndarray) -> np.ndarray:
    if out is None:
        return np.asarray(result)  # NumPy makes scalars of results without dimensions
    out[...] = result
    return out
