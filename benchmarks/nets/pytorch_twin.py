"""Our nets in PyTorch: the same layers under the same names, so that our state dict is theirs.

A module has its ReLU in it, in place, where ours has.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

import bncore as bn


def twin(layer: Any) -> nn.Module:
    """A net with the structure and the weights of ours; images with channels first."""
    module = MODULES[type(layer)](layer)
    state = {name: torch.from_numpy(value.copy()) for name, value in layer.state_dict().items()}
    _, spare = module.load_state_dict(state, strict=False)
    trained = {name for name, p in module.named_parameters() if p.requires_grad}
    assert not spare and trained <= state.keys(), (spare, trained - state.keys())
    return module


class Linear(nn.Linear):
    def __init__(self, ours: Any) -> None:
        super().__init__(ours.in_features, ours.out_features, ours.bias is not None)
        self.act = bool(ours.activation)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = super().forward(x)
        return F.relu_(y) if self.act else y


class Conv(nn.Conv2d):
    def __init__(self, ours: Any) -> None:
        sizes = (ours.in_channels, ours.out_channels, ours.kernel_size, ours.stride, ours.padding)
        super().__init__(*sizes, groups=ours.groups, bias=ours.bias is not None)
        self.act = bool(ours.activation)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = super().forward(x)
        return F.relu_(y) if self.act else y


class Norm(nn.BatchNorm2d):
    def __init__(self, ours: Any) -> None:
        super().__init__(ours.num_features, ours.eps, ours.momentum, ours.weight is not None)
        self.act = bool(ours.activation)

    def _check_input_dim(self, x: torch.Tensor) -> None:
        """Any rank will do."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = super().forward(x)
        return F.relu_(y) if self.act else y


class Residual(nn.Module):
    def __init__(self, ours: Any) -> None:
        super().__init__()
        self.main = twin(ours.main)
        self.shortcut = None if ours.shortcut is None else twin(ours.shortcut)
        self.act = bool(ours.activation)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.main(x) + (x if self.shortcut is None else self.shortcut(x))
        return F.relu_(y) if self.act else y


class Concat(nn.Sequential):
    def __init__(self, ours: Any) -> None:
        super().__init__(*(twin(child) for _, child in ours.children()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([branch(x) for branch in self], 1)


class Average(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3))


class LSTM(nn.LSTM):
    """The last state of a layer without a norm: what PyTorch has."""

    def __init__(self, ours: Any) -> None:
        super().__init__(ours.input_size, ours.hidden_size, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x)[0][:, -1]


class NormedLSTM(nn.Module):
    """With a norm of the input products, which nn.LSTM has no place for: it gets them through an identity that is not trained.

    That costs one more product, but less than a loop over the steps in Python, also one of few operations.
    """

    def __init__(self, ours: Any) -> None:
        super().__init__()
        width = 4 * ours.hidden_size
        self.weight_ih_l0 = nn.Parameter(torch.empty(width, ours.input_size))
        self.norm_l0 = Norm(ours.norm_l0)
        self.steps = nn.LSTM(width, ours.hidden_size, batch_first=True)
        for name, value in (("weight_ih_l0", torch.eye(width)), ("bias_ih_l0", torch.zeros(width))):
            setattr(self.steps, name, nn.Parameter(value, requires_grad=False))
        # under our names as well
        self.weight_hh_l0, self.bias_hh_l0 = self.steps.weight_hh_l0, self.steps.bias_hh_l0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        products = self.norm_l0(F.linear(x.flatten(0, 1), self.weight_ih_l0))
        return self.steps(products.unflatten(0, x.shape[:2]))[0][:, -1]


def recurrent(ours: Any) -> nn.Module:
    assert ours.num_layers == 1 and not ours.bidirectional and ours.output == "last"
    return LSTM(ours) if ours.norm is None else NormedLSTM(ours)


MODULES: dict[type, Any] = {
    bn.Sequential: lambda ours: nn.Sequential(*(twin(child) for _, child in ours.children())),
    bn.Residual: Residual,
    bn.Concat: Concat,
    bn.Linear: Linear,
    bn.Conv2d: Conv,
    bn.BatchNorm: Norm,
    bn.MaxPool: lambda ours: nn.MaxPool2d(ours.kernel_size, ours.stride, ours.padding),
    bn.GlobalAvgPool: lambda ours: Average(),
    bn.Flatten: lambda ours: nn.Flatten(),
    bn.ImageRows: lambda ours: nn.Identity(),  # sequences pass as they are
    bn.LSTM: recurrent,
}
