"""PyTorch's eager mode, contiguous and channels-last, with its fused optimizer."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.nn import functional as F

from . import Contender, Makers
from .cases import LR, MOMENTUM, Case
from .pytorch_twin import twin

FORMATS = {"": torch.contiguous_format, " channels-last": torch.channels_last}


def placed(case: Case, net: Any, layout: str) -> tuple[torch.nn.Module, torch.Tensor, torch.Tensor]:
    """Their net, x and y in a layout."""
    x, y = map(torch.from_numpy, case.data())
    if not case.images:
        return twin(net), x, y
    form = FORMATS[layout]
    return twin(net).to(memory_format=form), x.contiguous(memory_format=form), y


def layouts(case: Case) -> tuple[str, ...]:
    return tuple(FORMATS) if case.images else ("",)


def train(case: Case) -> Makers:
    return {f"torch{layout}": partial(step, case, layout) for layout in layouts(case)}


def step(
    case: Case, layout: str, compiler: Callable[[Callable[..., Any]], Any] = lambda f: f
) -> Contender:
    """One step; ``compiler`` takes forward and loss."""
    module, x, y = placed(case, case.build(), layout)
    trained = [p for p in module.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=LR, momentum=MOMENTUM, fused=True)
    loss = compiler(lambda: F.cross_entropy(module(x), y))

    def call() -> torch.Tensor:
        optimizer.zero_grad(set_to_none=True)
        value = loss()
        value.backward()
        optimizer.step()
        return value

    return Contender(call, lambda value: value.item())


def infer(case: Case) -> Makers:
    return {f"torch{layout}": partial(run, case, layout) for layout in layouts(case)}


def run(case: Case, layout: str) -> Contender:
    module, x, _ = placed(case, case.folded(), layout)
    module.eval()

    def call() -> torch.Tensor:
        with torch.inference_mode():
            return module(x)

    return Contender(call, torch.Tensor.numpy)
