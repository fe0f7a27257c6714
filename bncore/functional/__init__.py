"""Operations on users' arrays: every one is a pair, ``y, saved = op(x, ...)`` and ``op_backward(dy, saved)``."""

from .moments import GradientSums, Statistics, statistics
from .norm import batch_norm, batch_norm_backward, gradient_sums, input_gradient, normalize

__all__ = [
    "GradientSums",
    "Statistics",
    "batch_norm",
    "batch_norm_backward",
    "gradient_sums",
    "input_gradient",
    "normalize",
    "statistics",
]
