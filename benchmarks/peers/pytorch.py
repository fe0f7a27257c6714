"""PyTorch: the ordinary call ("user", gradients by autograd) and its operators without autograd ("aten").

With a heap that keeps what was freed (BENCH_WARM) only the operators are timed: the kernels at their best ("warm").
ReLU and addition are done in place where that is possible, as nets do.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from norms.cases import EPS, LARGE, MOMENTUM, Case
from norms.data import Array, Data

from . import Contender, Missing

try:
    import torch
    from torch.nn import functional
except ImportError:
    torch = None


WITHOUT_OPERATOR = ("statistics", "rms backward")


class Peer:
    digests = False

    def __init__(self, threads: int) -> None:
        if torch is None:
            raise Missing("PyTorch is not installed (pip install 'bncore[bench]')")
        torch.set_num_threads(threads)
        self.version = torch.__version__

    def contenders(self, data: Data) -> dict[str, Callable[[], Contender]]:
        tensors = Tensors(data)
        if data.case.op in WITHOUT_OPERATOR:
            name = "torch warm" if "BENCH_WARM" in os.environ else "torch user"
            return {name: lambda: user(tensors)}
        if "BENCH_WARM" in os.environ:
            return {"torch warm": lambda: aten(tensors)}
        found = {"torch user": lambda: user(tensors)}
        if data.case.nbytes <= LARGE:
            found["torch aten"] = lambda: aten(tensors)
        return found

    def forget(self) -> None:
        pass


class Tensors:
    """The arrays of a case as tensors on the same memory, in the shape PyTorch wants: channels at 1.

    A channels-last image becomes one of PyTorch's channels-last memory format; other channels-last shapes become
    matrices, for which its kernels are faster.
    """

    def __init__(self, data: Data) -> None:
        self.data = data
        self.case = data.case
        self.shape = [data.case.channels]  # what layer and RMS norm reduce over
        self.weight, self.bias, self.mean, self.var = (
            torch.from_numpy(a.copy()) for a in (data.weight, data.bias, data.mean, data.var)
        )

    def turned(self, array: Array) -> Any:
        tensor, case = torch.from_numpy(array), self.case
        if case.norm != "batch" or case.axis == 1:
            return tensor
        if len(case.shape) == 3:
            return tensor.reshape(-1, case.channels)
        return tensor.movedim(-1, 1)

    def back(self, tensor: Any) -> Array:
        """A result as an array in the case's layout."""
        tensor, rank = tensor.detach(), len(self.case.shape)
        if self.case.norm == "batch" and self.case.axis == -1 and tensor.ndim == rank > 3:
            tensor = tensor.movedim(1, -1)
        return tensor.contiguous().numpy()

    @property
    def x(self) -> Any:
        return self.turned(self.data.x)

    @property
    def dy(self) -> Any:
        return self.turned(self.data.dy)

    @property
    def residual(self) -> Any:
        return self.turned(self.data.residual)

    def contender(self, call: Callable[[], Any]) -> Contender:
        return Contender(call, lambda result: tuple(self.back(t) for t in result))


def operation(case: Case, tensors: Tensors) -> Callable[..., Any]:
    """The ordinary function of (x, weight, bias, residual) for the case's forward operation."""
    mean, var, shape = tensors.mean, tensors.var, tensors.shape
    if case.norm == "layer":
        return lambda x, weight, bias, _: functional.layer_norm(x, shape, weight, bias, EPS)
    if case.norm == "rms":
        return lambda x, weight, _, __: functional.rms_norm(x, shape, weight, EPS)
    training = case.op != "evaluation"

    def batch(x: Any, weight: Any, bias: Any, residual: Any) -> Any:
        y = functional.batch_norm(x, mean, var, weight, bias, training, MOMENTUM, EPS)
        if residual is not None:
            y = y.add_(residual)
        return y.relu_() if "relu" in case.op else y

    return batch


def user(tensors: Tensors) -> Contender:
    case, x = tensors.case, tensors.x
    if case.op == "statistics":
        dims = [d for d in range(x.ndim) if d != 1]
        swapped = lambda r: (r[1], r[0])  # noqa: E731
        call = lambda: torch.var_mean(x, dims, correction=0)  # noqa: E731
        return Contender(call, lambda r: tuple(t.numpy() for t in swapped(r)))
    run, weight, bias = operation(case, tensors), tensors.weight, tensors.bias
    if "backward" not in case.op:
        residual = tensors.residual if "add" in case.op else None

        def forward() -> tuple[Any]:
            with torch.no_grad():
                return (run(x, weight, bias, residual),)

        return tensors.contender(forward)
    inputs = [x.detach().requires_grad_(), weight.clone().requires_grad_()]
    if case.norm != "rms":
        inputs.append(bias.clone().requires_grad_())
    y, dy = run(*inputs, *(None,) * (4 - len(inputs))), tensors.dy
    return tensors.contender(lambda: torch.autograd.grad(y, inputs, dy, retain_graph=True))


def aten(tensors: Tensors) -> Contender:
    """The operators behind the functions, under inference mode: nothing but the kernels."""
    make = aten_backward if "backward" in tensors.case.op else aten_forward
    with torch.inference_mode():
        inner = make(tensors)

    def call() -> Any:
        with torch.inference_mode():
            return inner()

    return tensors.contender(call)


def aten_forward(tensors: Tensors) -> Callable[[], Any]:
    case, shape = tensors.case, tensors.shape
    x, weight, bias = tensors.x, tensors.weight, tensors.bias
    ops = torch.ops.aten
    if case.norm == "layer":
        return lambda: ops.native_layer_norm.default(x, shape, weight, bias, EPS)[:1]
    if case.norm == "rms":
        return lambda: ops._fused_rms_norm.default(x, shape, weight, EPS)[:1]
    run, training = ops.native_batch_norm.default, case.op != "evaluation"
    mean, var = tensors.mean, tensors.var
    norm = lambda: run(x, weight, bias, mean, var, training, MOMENTUM, EPS)[:1]  # noqa: E731
    if "add" in case.op:
        residual = tensors.residual
        return lambda: (norm()[0].add_(residual).relu_(),)
    return (lambda: (norm()[0].relu_(),)) if "relu" in case.op else norm


def aten_backward(tensors: Tensors) -> Callable[[], Any]:
    case, shape = tensors.case, tensors.shape
    x, weight, bias = tensors.x, tensors.weight, tensors.bias
    dy, ops = tensors.dy, torch.ops.aten
    if case.norm == "layer":
        _, mean, inv_std = ops.native_layer_norm.default(x, shape, weight, bias, EPS)
        run = ops.native_layer_norm_backward.default
        return lambda: run(dy, x, shape, mean, inv_std, weight, bias, [True] * 3)
    y, mean, inv_std = ops.native_batch_norm.default(
        x, weight, bias, None, None, True, MOMENTUM, EPS
    )
    run, wanted = ops.native_batch_norm_backward.default, [True] * 3
    if case.op == "backward":
        return lambda: run(dy, x, weight, None, None, mean, inv_std, True, EPS, wanted)
    y.relu_()
    stop = ops.threshold_backward.default
    return lambda: run(stop(dy, y, 0), x, weight, None, None, mean, inv_std, True, EPS, wanted)
