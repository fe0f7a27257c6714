"""Networks as people write them in PyTorch, with statistics as training leaves them. Imported where torch is there."""

from __future__ import annotations

import torch
from torch import nn

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


class Block(nn.Module):
    """ResNet's basic block."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(outputs))

    def forward(self, x):
        shortcut = x if self.downsample is None else self.downsample(x)
        y = self.bn1(self.conv1(x)).relu()
        return (self.bn2(self.conv2(y)) + shortcut).relu()


class ResNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(Block(16, 16, 1), Block(16, 16, 1))
        self.layer2 = nn.Sequential(Block(16, 24, 2), Block(24, 24, 1))
        self.fc = nn.Linear(24, 5)

    def forward(self, x):
        x = self.bn1(self.conv1(x)).relu()
        return self.fc(self.layer2(self.layer1(x)).mean((2, 3)))


def separable(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """MobileNet v2's inverted residual without the residual."""
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(inputs, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.ReLU6()),
        nn.Sequential(
            nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU6(),
        ),
        nn.Conv2d(hidden, outputs, 1, bias=False),
        nn.BatchNorm2d(outputs),
    )


def mobilenet() -> nn.Module:
    stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU6())
    blocks = (separable(8, 16, 12), separable(12, 24, 12))
    return nn.Sequential(stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 5))


def dcgan() -> nn.Module:
    """A generator; its third transposed convolution has groups."""
    return nn.Sequential(
        nn.ConvTranspose2d(3, 16, 4, 1, 0, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.ConvTranspose2d(16, 16, 4, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.ConvTranspose2d(16, 8, 4, 2, 1, groups=4), nn.BatchNorm2d(8), nn.ReLU(),
        nn.ConvTranspose2d(8, 2, 4, 2, 1), nn.Tanh(),
    )  # fmt: skip


def mlp() -> nn.Module:
    return nn.Sequential(
        nn.Linear(3, 16), nn.BatchNorm1d(16), nn.ReLU(),
        nn.Linear(16, 16, bias=False), nn.BatchNorm1d(16, affine=False), nn.ReLU(),
        nn.Linear(16, 4),
    )  # fmt: skip


# how it is made, shape of an input, options of the command, how many of its norms fold
NETS = {
    "resnet": (ResNet, (2, 3, 9, 9), ("--kind", "*=conv"), 10),
    "mobilenet": (mobilenet, (2, 3, 9, 9), ("--kind", "*=conv"), 7),
    "dcgan": (dcgan, (2, 3, 2, 2), ("--kind", "*=conv_transpose"), 3),
    "mlp": (mlp, (6, 3), (), 2),
}


def trained(name: str, dtype: torch.dtype = torch.float32) -> nn.Module:
    """The network with random weights and statistics, in evaluation mode."""
    torch.manual_seed(7)
    net = NETS[name][0]().eval()
    for module in net.modules():
        if isinstance(module, NORMS):
            module.running_mean.normal_()
            module.running_var.uniform_(0.3, 3.0)
            module.num_batches_tracked.fill_(100)
            if module.affine:
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias)
    return net.to(dtype)


def without_norms(net: nn.Module) -> nn.Module:
    """The same network without norms, where every operation has a bias."""
    for parent in list(net.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, NORMS):
                setattr(parent, name, nn.Identity())
            elif hasattr(child, "weight") and child.bias is None:
                groups = getattr(child, "groups", 1)
                transposed = isinstance(child, nn.ConvTranspose2d)
                size = child.weight.shape[1] * groups if transposed else child.weight.shape[0]
                child.bias = nn.Parameter(child.weight.new_zeros(size))
    return net
