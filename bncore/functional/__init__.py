"""Operations on users' arrays: every one is a pair, ``y, saved = op(x, ...)`` and ``op_backward(dy, saved)``."""

from .conv import (
    conv1d,
    conv1d_backward,
    conv2d,
    conv2d_backward,
    conv_transpose2d,
    conv_transpose2d_backward,
)
from .linear import linear, linear_backward
from .moments import GradientSums, Statistics, statistics
from .norm import batch_norm, batch_norm_backward, gradient_sums, input_gradient, normalize

__all__ = [
    "GradientSums",
    "Statistics",
    "batch_norm",
    "batch_norm_backward",
    "conv1d",
    "conv1d_backward",
    "conv2d",
    "conv2d_backward",
    "conv_transpose2d",
    "conv_transpose2d_backward",
    "gradient_sums",
    "input_gradient",
    "linear",
    "linear_backward",
    "normalize",
    "statistics",
]
