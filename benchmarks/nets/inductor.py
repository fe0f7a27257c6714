"""torch.compile, channels-last: forward, loss and backward of a step; a frozen net for inference."""

from __future__ import annotations

from typing import Any

import torch

from . import Contender, Makers, pytorch
from .cases import Case


def train(case: Case) -> Makers:
    return {"torch compile": lambda: pytorch.step(case, pytorch.layouts(case)[-1], compiler)}


def compiler(function: Any) -> Any:
    torch._dynamo.reset()
    return torch.compile(function, dynamic=False)


def infer(case: Case) -> Makers:
    return {"torch compile": lambda: run(case)}


def run(case: Case) -> Contender:
    """With its weights as constants, which it packs for oneDNN."""
    module, x, _ = pytorch.placed(case, case.folded(), pytorch.layouts(case)[-1])
    torch._dynamo.reset()
    compiled = torch.compile(
        module.eval().requires_grad_(False), dynamic=False, options={"freezing": True}
    )

    def call() -> torch.Tensor:
        with torch.no_grad():
            return compiled(x)

    return Contender(call, torch.Tensor.numpy)
