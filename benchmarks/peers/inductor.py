"""PyTorch's functions through torch.compile. Compiling takes many seconds: only cases marked for it take part."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from norms.data import Data

from . import Contender, pytorch
from .pytorch import Tensors, operation, torch


class Peer(pytorch.Peer):
    def contenders(self, data: Data) -> dict[str, Callable[[], Contender]]:
        return {"torch compile": lambda: compiled(Tensors(data))} if data.case.compiled else {}


def compiled(tensors: Tensors) -> Contender:
    torch._dynamo.reset()
    run = torch.compile(operation(tensors.case, tensors), dynamic=False)
    if "backward" in tensors.case.op:
        return backward(tensors, run)
    x, weight, bias = tensors.x, tensors.weight, tensors.bias
    residual = tensors.residual if "add" in tensors.case.op else None

    def forward() -> tuple[Any]:
        with torch.no_grad():
            return (run(x, weight, bias, residual),)

    return tensors.contender(forward)


def backward(tensors: Tensors, run: Any) -> Contender:
    """The gradient of the compiled function, compiled as well."""
    inputs = [t.detach().requires_grad_() for t in (tensors.x, tensors.weight, tensors.bias)]
    used = inputs[: 2 if tensors.case.norm == "rms" else 3]
    y, dy = run(*inputs, None), tensors.dy
    return tensors.contender(lambda: torch.autograd.grad(y, used, dy, retain_graph=True))
