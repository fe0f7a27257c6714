"""Operations on users' arrays: every one is a pair, ``y, saved = op(x, ...)`` and ``op_backward(dy, saved)``.

What holds for all: arrays are float32 or float64 and never written to unless the text says so; a non-contiguous one is
copied once. ``saved`` may refer to arrays of the forward call, which must not change before the backward one. A wrong
type or dtype raises TypeError, a wrong shape or value ValueError: "name must be ..., got ...".
"""

from .activation import (
    gelu,
    gelu_backward,
    leaky_relu,
    leaky_relu_backward,
    relu,
    relu_backward,
    sigmoid,
    sigmoid_backward,
    silu,
    silu_backward,
    tanh,
    tanh_backward,
)
from .conv import (
    conv1d,
    conv1d_backward,
    conv2d,
    conv2d_backward,
    conv_transpose2d,
    conv_transpose2d_backward,
)
from .dropout import (
    dropout,
    dropout_backward,
)
from .ghost import ghost_batch_norm, ghost_batch_norm_backward
from .group_norm import group_norm, group_norm_backward
from .halves import gradient_sums, input_gradient, normalize
from .instance_norm import instance_norm, instance_norm_backward
from .layer_norm import layer_norm, layer_norm_backward
from .linear import linear, linear_backward
from .loss import (
    bce_with_logits,
    bce_with_logits_backward,
    cross_entropy,
    cross_entropy_backward,
    mse,
    mse_backward,
)
from .moments import GradientSums, Statistics, statistics, update_running
from .moving import moving_batch_norm
from .norm import batch_norm, batch_norm_backward
from .optimizer import (
    adamw_step,
    scale_,
    sgd_step,
    squared_norm,
)
from .pooling import (
    avg_pool,
    avg_pool_backward,
    global_avg_pool,
    global_avg_pool_backward,
    global_max_pool,
    global_max_pool_backward,
    max_pool,
    max_pool_backward,
)
from .recurrent import recurrent, recurrent_backward
from .renorm import batch_renorm
from .rms_norm import rms_norm, rms_norm_backward
from .weighted import weighted_statistics

__all__ = [
    "GradientSums",
    "Statistics",
    "adamw_step",
    "avg_pool",
    "avg_pool_backward",
    "batch_norm",
    "batch_norm_backward",
    "batch_renorm",
    "bce_with_logits",
    "bce_with_logits_backward",
    "conv1d",
    "conv1d_backward",
    "conv2d",
    "conv2d_backward",
    "conv_transpose2d",
    "conv_transpose2d_backward",
    "cross_entropy",
    "cross_entropy_backward",
    "dropout",
    "dropout_backward",
    "gelu",
    "gelu_backward",
    "ghost_batch_norm",
    "ghost_batch_norm_backward",
    "global_avg_pool",
    "global_avg_pool_backward",
    "global_max_pool",
    "global_max_pool_backward",
    "gradient_sums",
    "group_norm",
    "group_norm_backward",
    "input_gradient",
    "instance_norm",
    "instance_norm_backward",
    "layer_norm",
    "layer_norm_backward",
    "leaky_relu",
    "leaky_relu_backward",
    "linear",
    "linear_backward",
    "max_pool",
    "max_pool_backward",
    "moving_batch_norm",
    "mse",
    "mse_backward",
    "normalize",
    "recurrent",
    "recurrent_backward",
    "relu",
    "relu_backward",
    "rms_norm",
    "rms_norm_backward",
    "scale_",
    "sgd_step",
    "sigmoid",
    "sigmoid_backward",
    "silu",
    "silu_backward",
    "squared_norm",
    "statistics",
    "tanh",
    "tanh_backward",
    "update_running",
    "weighted_statistics",
]
