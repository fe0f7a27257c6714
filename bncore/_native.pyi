"""Types of the compiled core, for type checkers. What the functions do is said in its .pxi files."""

from collections.abc import Callable
from typing import Any, TypeVar, final

import numpy as np

_Array = np.ndarray[Any, Any]
_Function = TypeVar("_Function", bound=Callable[..., Any])
_Gradients = tuple[_Array | None, _Array, _Array | None]

__all__ = [
    "ActivationArguments",
    "BiasArguments",
    "ConvArguments",
    "ConvGradientArguments",
    "CopyArguments",
    "CrossEntropyArguments",
    "GlobalPoolArguments",
    "GroupSaved",
    "NormArguments",
    "NormGradientArguments",
    "NormSaved",
    "PoolArguments",
    "RowsSaved",
    "StepArguments",
    "Steps",
    "SumArguments",
    "TurnArguments",
    "activation",
    "activation_backward",
    "adamw_step",
    "available_isas",
    "avg_pool",
    "avg_pool_backward",
    "batch_norm_backward",
    "batch_norm_eval",
    "batch_norm_train",
    "batch_renorm_train",
    "bce_with_logits",
    "bce_with_logits_backward",
    "caches",
    "conv",
    "conv_backward",
    "conv_transpose",
    "conv_transpose_backward",
    "cross_entropy",
    "cross_entropy_backward",
    "force_threads",
    "front",
    "global_avg_pool",
    "global_avg_pool_backward",
    "global_max_pool",
    "global_max_pool_backward",
    "gradient_sums",
    "group_norm",
    "group_norm_backward",
    "group_plan",
    "has_openmp",
    "input_gradient",
    "instance_norm",
    "inverse_std",
    "isa_names",
    "layer_norm",
    "linear",
    "linear_backward",
    "mask_scale",
    "max_pool",
    "max_pool_backward",
    "mse",
    "mse_backward",
    "norm_plan",
    "normalize",
    "pool_set_bound",
    "pool_statistics",
    "pool_trim",
    "recurrent",
    "recurrent_backward",
    "rms_norm",
    "rows_norm_backward",
    "rows_plan",
    "scale_",
    "select_isa",
    "set_cpu_quota",
    "set_in_force",
    "set_winograd",
    "sgd_step",
    "squared_norm",
    "statistics",
    "thread_limit",
    "thread_statistics",
    "unchanged",
    "weighted_statistics",
    "winograd_allowed",
    "workspace",
]

@final
class GroupSaved:
    @property
    def x(self) -> _Array: ...
    @property
    def weight(self) -> _Array | None: ...
    @property
    def bias(self) -> _Array | None: ...
    @property
    def axis(self) -> int: ...
    @property
    def num_groups(self) -> int: ...
    @property
    def relu(self) -> bool: ...
    @property
    def mean(self) -> _Array: ...
    @property
    def inv_std(self) -> _Array: ...

@final
class NormSaved:
    @property
    def x(self) -> _Array: ...
    @property
    def weight(self) -> _Array | None: ...
    @property
    def bias(self) -> _Array | None: ...
    @property
    def y(self) -> _Array | None: ...
    @property
    def axis(self) -> int: ...
    @property
    def relu(self) -> bool: ...
    @property
    def training(self) -> bool: ...
    @property
    def has_residual(self) -> bool: ...
    @property
    def mean(self) -> _Array: ...
    @property
    def inv_std(self) -> _Array: ...

_Shape = tuple[int, ...]

class StepArguments: ...

@final
class NormArguments(StepArguments):
    momentum: float
    def __init__(
        self,
        dtype: np.dtype[Any],
        rows: int,
        channels: int,
        weight: _Array | None,
        bias: _Array | None,
        running_mean: _Array | None,
        running_var: _Array | None,
        momentum: float,
        eps: float,
        unbiased: bool,
        relu: bool,
        batch: bool,
    ) -> None: ...
    def place(self, x: _Array | None, y: _Array | None, residual: _Array | None) -> None: ...
    def place_gradients(
        self,
        dy: _Array,
        dx: _Array | None,
        dresidual: _Array | None,
        dweight: _Array | None,
        dbias: _Array | None,
    ) -> None: ...
    def use_running(self) -> None: ...

@final
class NormGradientArguments(StepArguments):
    def __init__(self, norm: NormArguments) -> None: ...

@final
class ConvArguments(StepArguments):
    def __init__(
        self,
        dtype: np.dtype[Any],
        geometry: tuple[Any, ...],
        x: _Array,
        weight: _Array,
        bias: _Array | None,
        residual: _Array | None,
        relu: bool,
        y: _Array,
        norm_in: NormArguments | None,
        norm_out: NormArguments | None,
        apply: bool,
    ) -> None: ...
    def keep_weight(self, samples: int) -> None: ...
    def share_weight(self, other: ConvArguments) -> None: ...

@final
class ConvGradientArguments(StepArguments):
    def __init__(
        self,
        forward: ConvArguments,
        dy: _Array,
        norm_out: NormArguments | None,
        dx: _Array | None,
        more: _Array | None,
        front: NormArguments | None,
        dweight: _Array,
    ) -> None: ...

@final
class CopyArguments(StepArguments):
    def __init__(
        self,
        dtype: np.dtype[Any],
        from_: _Array,
        from_at: int,
        from_pitch: int,
        to: _Array,
        to_at: int,
        to_pitch: int,
        rows: int,
        n: int,
    ) -> None: ...

@final
class TurnArguments(StepArguments):
    def __init__(
        self, dtype: np.dtype[Any], from_: _Array, to: _Array, n: int, rows: int, columns: int
    ) -> None: ...

@final
class SumArguments(StepArguments):
    def __init__(
        self, dtype: np.dtype[Any], a: _Array, b: _Array, y: _Array, relu: bool
    ) -> None: ...

@final
class ActivationArguments(StepArguments):
    def __init__(
        self,
        dtype: np.dtype[Any],
        x: _Array,
        kept: _Array | None,
        y: _Array,
        kind: str,
        slope: float,
    ) -> None: ...

@final
class BiasArguments(StepArguments):
    def __init__(
        self, dtype: np.dtype[Any], dy: _Array, dbias: _Array, n: int, pixels: int, channels: int
    ) -> None: ...

@final
class PoolArguments(StepArguments):
    def __init__(
        self,
        dtype: np.dtype[Any],
        from_: _Array,
        to: _Array,
        index: _Array | None,
        shape: _Shape,
        kernel: _Shape,
        stride: _Shape,
        padding: _Shape,
        count_include_pad: bool,
        forward: bool,
    ) -> None: ...

@final
class GlobalPoolArguments(StepArguments):
    def __init__(
        self,
        dtype: np.dtype[Any],
        from_: _Array,
        to: _Array,
        index: _Array | None,
        n: int,
        s: int,
        c: int,
        forward: bool,
    ) -> None: ...

@final
class CrossEntropyArguments(StepArguments):
    def __init__(
        self,
        dtype: np.dtype[Any],
        logits: _Array,
        target: _Array,
        shift: _Array,
        total: _Array,
        dlogits: _Array,
        label_smoothing: float,
    ) -> None: ...
    def take(self, target: _Array) -> bool: ...
    @property
    def loss(self) -> float: ...

@final
class Steps:
    def __init__(
        self, dtype: np.dtype[Any], kinds: list[str], arguments: list[StepArguments]
    ) -> None: ...
    def run(self, keep_gil: bool = False) -> None: ...
    def profile(self) -> list[float]: ...

@final
class Pieces:
    def __init__(
        self,
        steps: list[Steps],
        x: list[_Array],
        y: list[_Array],
        samples: int,
        work: int,
        keep_gil: bool,
    ) -> None: ...
    def run(self, x: _Array) -> _Array: ...

@final
class RowsSaved:
    @property
    def x(self) -> _Array: ...
    @property
    def weight(self) -> _Array | None: ...
    @property
    def bias(self) -> _Array | None: ...
    @property
    def relu(self) -> bool: ...
    @property
    def axes(self) -> int: ...
    @property
    def squared(self) -> int: ...
    @property
    def mean(self) -> _Array | None: ...
    @property
    def inv_std(self) -> _Array: ...

def activation(x: _Array, kind: str, slope: float, out: _Array | None) -> _Array: ...
def activation_backward(
    dy: _Array, kept: _Array, kind: str, slope: float, out: _Array | None
) -> _Array: ...
def mask_scale(x: _Array, keep: _Array, scale: float, out: _Array | None) -> _Array: ...
def conv(
    x: _Array,
    weight: _Array,
    bias: _Array | None,
    residual: _Array | None,
    geometry: Any,
    relu: bool,
    out: _Array | None,
) -> _Array: ...
def conv_transpose(
    x: _Array,
    weight: _Array,
    bias: _Array | None,
    residual: _Array | None,
    geometry: Any,
    relu: bool,
    out: _Array | None,
) -> _Array: ...
def conv_backward(
    dy: _Array,
    x: _Array,
    weight: _Array,
    y: _Array | None,
    geometry: Any,
    need_dx: bool,
    need_dbias: bool,
    dweight: _Array,
    dbias: _Array | None,
) -> _Gradients: ...
def conv_transpose_backward(
    dy: _Array,
    x: _Array,
    weight: _Array,
    y: _Array | None,
    geometry: Any,
    need_dx: bool,
    need_dbias: bool,
    dweight: _Array,
    dbias: _Array | None,
) -> _Gradients: ...
def group_norm(
    x: _Array,
    weight: _Array | None,
    bias: _Array | None,
    num_groups: int,
    eps: float,
    relu: bool,
    axis: int,
    out: _Array | None,
) -> tuple[_Array, GroupSaved]: ...
def instance_norm(
    x: _Array,
    weight: _Array | None,
    bias: _Array | None,
    running_mean: _Array | None,
    running_var: _Array | None,
    momentum: float,
    eps: float,
    unbiased: bool,
    relu: bool,
    axis: int,
    out: _Array | None,
) -> tuple[_Array, GroupSaved]: ...
def group_norm_backward(
    dy: _Array,
    saved: GroupSaved,
    dweight: _Array | None,
    dbias: _Array | None,
    out: _Array | None,
) -> tuple[_Array, _Array | None, _Array | None]: ...
def linear(
    x: _Array, weight: _Array, bias: _Array | None, relu: bool, out: _Array | None
) -> _Array: ...
def linear_backward(
    dy: _Array,
    x: _Array,
    weight: _Array,
    y: _Array | None,
    need_dx: bool,
    need_dbias: bool,
    dweight: _Array,
    dbias: _Array | None,
) -> _Gradients: ...
def cross_entropy(
    logits: _Array, target: _Array, label_smoothing: float
) -> tuple[float, _Array, _Array]: ...
def cross_entropy_backward(
    logits: _Array, target: _Array, shift: _Array, total: _Array, label_smoothing: float
) -> _Array: ...
def mse(pred: _Array, target: _Array) -> float: ...
def mse_backward(pred: _Array, target: _Array) -> _Array: ...
def bce_with_logits(logits: _Array, target: _Array) -> float: ...
def bce_with_logits_backward(logits: _Array, target: _Array) -> _Array: ...
def batch_norm_train(
    x: _Array,
    weight: _Array | None,
    bias: _Array | None,
    residual: _Array | None,
    running_mean: _Array | None,
    running_var: _Array | None,
    momentum: float,
    eps: float,
    unbiased: bool,
    relu: bool,
    axis: int,
    out: _Array | None,
    runs: _Array | None = None,
) -> tuple[_Array, NormSaved]: ...
def batch_renorm_train(
    x: _Array,
    weight: _Array | None,
    bias: _Array | None,
    residual: _Array | None,
    running_mean: _Array,
    running_std: _Array,
    momentum: float,
    eps: float,
    r_max: float,
    d_max: float,
    relu: bool,
    axis: int,
    out: _Array | None,
    runs: _Array | None = None,
) -> tuple[_Array, NormSaved]: ...
def batch_norm_eval(
    x: _Array,
    weight: _Array | None,
    bias: _Array | None,
    residual: _Array | None,
    running_mean: _Array | None,
    running_var: _Array | None,
    eps: float,
    relu: bool,
    axis: int,
    out: _Array | None,
    runs: _Array | None = None,
) -> tuple[_Array, NormSaved]: ...
def normalize(
    x: _Array,
    mean: _Array,
    inv_std: _Array,
    weight: _Array | None,
    bias: _Array | None,
    residual: _Array | None,
    relu: bool,
    axis: int,
    training: bool,
    out: _Array | None,
    runs: _Array | None = None,
) -> tuple[_Array, NormSaved]: ...
def inverse_std(var: _Array, eps: float) -> _Array: ...
def statistics(x: _Array, axis: int, runs: _Array | None = None) -> tuple[int, _Array, _Array]: ...
def weighted_statistics(x: _Array, weights: _Array, axis: int) -> tuple[float, _Array, _Array]: ...
def batch_norm_backward(
    dy: _Array, saved: NormSaved, dweight: _Array | None, dbias: _Array | None, out: _Array | None
) -> tuple[_Array | None, ...]: ...
def gradient_sums(dy: _Array, saved: NormSaved) -> tuple[int, _Array, _Array]: ...
def input_gradient(
    dy: _Array,
    saved: NormSaved,
    count: float,
    sum_dy: _Array,
    sum_dy_x_hat: _Array,
    out: _Array | None,
) -> tuple[_Array, _Array | None]: ...
def layer_norm(
    x: _Array,
    weight: _Array | None,
    bias: _Array | None,
    eps: float,
    relu: bool,
    axis: int | tuple[int, ...],
    out: _Array | None,
) -> tuple[_Array, RowsSaved]: ...
def rms_norm(
    x: _Array,
    weight: _Array | None,
    bias: _Array | None,
    eps: float,
    squared: int,
    relu: bool,
    axis: int | tuple[int, ...],
    out: _Array | None,
) -> tuple[_Array, RowsSaved]: ...
def rows_norm_backward(
    dy: _Array, saved: RowsSaved, dweight: _Array | None, dbias: _Array | None, out: _Array | None
) -> tuple[_Array, _Array | None, _Array | None]: ...
def sgd_step(
    param: _Array,
    grad: _Array,
    velocity: _Array | None,
    lr: float,
    momentum: float,
    nesterov: bool,
    weight_decay: float,
    decayed: int,
) -> None: ...
def adamw_step(
    param: _Array,
    grad: _Array,
    m: _Array,
    v: _Array,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    step: int,
    decayed: int,
) -> None: ...
def squared_norm(x: _Array) -> float: ...
def scale_(x: _Array, factor: float) -> None: ...
def max_pool(
    x: _Array,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    channels_last: bool,
    out: _Array | None,
) -> tuple[_Array, _Array]: ...
def max_pool_backward(
    dy: _Array,
    index: _Array,
    shape: tuple[int, ...],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    channels_last: bool,
    out: _Array | None,
) -> _Array: ...
def avg_pool(
    x: _Array,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    channels_last: bool,
    count_include_pad: bool,
    out: _Array | None,
) -> _Array: ...
def avg_pool_backward(
    dy: _Array,
    shape: tuple[int, ...],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    channels_last: bool,
    count_include_pad: bool,
    out: _Array | None,
) -> _Array: ...
def global_avg_pool(x: _Array, channels_last: bool, out: _Array | None) -> _Array: ...
def global_avg_pool_backward(
    dy: _Array, shape: tuple[int, ...], channels_last: bool, out: _Array | None
) -> _Array: ...
def global_max_pool(
    x: _Array, channels_last: bool, out: _Array | None
) -> tuple[_Array, _Array]: ...
def global_max_pool_backward(
    dy: _Array, index: _Array, shape: tuple[int, ...], channels_last: bool, out: _Array | None
) -> _Array: ...
def recurrent(
    products: _Array,
    weight: _Array,
    bias: _Array | None,
    h0: _Array | None,
    c0: _Array | None,
    lengths: _Array,
    kind: str,
    reverse: bool,
    keep: bool,
    out: _Array | None,
) -> tuple[_Array, _Array, _Array | None, _Array | None, _Array | None]: ...
def recurrent_backward(
    dy: _Array | None,
    dhn: _Array | None,
    dcn: _Array | None,
    weight: _Array,
    h0: _Array | None,
    c0: _Array | None,
    lengths: _Array,
    y: _Array,
    gates: _Array | None,
    cells: _Array | None,
    kind: str,
    reverse: bool,
    need_dbias: bool,
    dweight: _Array | None,
    dbias: _Array | None,
) -> tuple[_Array, _Array, _Array | None, _Array, _Array | None]: ...
def norm_plan(op: str, n: int, c: int, s: int, double_: bool, residual: bool) -> dict[str, Any]: ...
def rows_plan(op: str, rows: int, d: int, double_: bool) -> dict[str, Any]: ...
def group_plan(
    op: str, n: int, a: int, c: int, s: int, groups: int, double_: bool
) -> dict[str, Any]: ...
def caches() -> dict[str, int]: ...
def isa_names() -> tuple[str, ...]: ...
def available_isas() -> tuple[str, ...]: ...
def select_isa(name: str) -> None: ...
def has_openmp() -> bool: ...
def thread_limit() -> int: ...
def set_cpu_quota(cpus: int) -> None: ...
def set_in_force(value: bool) -> None: ...
def front(function: _Function) -> _Function: ...
def force_threads(threads: int) -> None: ...
def set_winograd(tile: int) -> None: ...
def winograd_allowed() -> int: ...
def thread_statistics() -> dict[str, Any]: ...
def pool_statistics() -> dict[str, int]: ...
def pool_trim() -> int: ...
def pool_set_bound(bytes: int) -> None: ...
def unchanged(guards: list[tuple[dict[str, Any], str, Any]]) -> bool: ...
def workspace(nbytes: int) -> _Array: ...
