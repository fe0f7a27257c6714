"""Oracle of the activations: the formulas as they are printed, one float64 at a time."""

import math

import numpy as np

_SQRT_2_OVER_PI = math.sqrt(2.0 / math.pi)


def _sigmoid(x):
    return 1.0 / (1.0 + math.exp(-x)) if x > -700 else math.exp(x)


def _cdf(x):
    return 0.5 * math.erfc(-x / math.sqrt(2.0))


def _tanh_argument(x):
    return _SQRT_2_OVER_PI * (x + 0.044715 * x**3)


def _gelu_tanh_slope(x):
    t = math.tanh(_tanh_argument(x))
    du = _SQRT_2_OVER_PI * (1.0 + 3.0 * 0.044715 * x**2)
    return 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * du


# name -> (f, f') of a finite float
FORMULAS = {
    "relu": (lambda x: max(x, 0.0), lambda x: 1.0 if x > 0 else 0.0),
    "leaky_relu": (
        lambda x: x if x > 0 else 0.01 * x,
        lambda x: 1.0 if x > 0 else 0.01,
    ),
    "gelu": (
        lambda x: x * _cdf(x),
        lambda x: _cdf(x) + x * math.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi),
    ),
    "gelu_tanh": (
        lambda x: 0.5 * x * (1.0 + math.tanh(_tanh_argument(x))),
        _gelu_tanh_slope,
    ),
    "silu": (
        lambda x: x * _sigmoid(x),
        lambda x: _sigmoid(x) * (1.0 + x * (1.0 - _sigmoid(x))),
    ),
    "sigmoid": (_sigmoid, lambda x: _sigmoid(x) * (1.0 - _sigmoid(x))),
    "tanh": (math.tanh, lambda x: 1.0 - math.tanh(x) ** 2),
}


def forward(name, x):
    return np.array([FORMULAS[name][0](float(v)) for v in x.ravel()]).reshape(x.shape)


def backward(name, dy, x):
    slope = np.array([FORMULAS[name][1](float(v)) for v in x.ravel()]).reshape(x.shape)
    return dy.astype(np.float64) * slope
