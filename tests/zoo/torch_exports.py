"""Networks as PyTorch's two exporters write them, optimized or not: made on the fly, nothing of it
is stored.

Needs torch, and onnxscript for the newer exporter. The oracle is the module itself in float64.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import nn

from .registry import Minimum

# style -> arguments of torch.onnx.export
STYLES: dict[str, dict[str, Any]] = {
    "script": {
        "dynamo": False,
        "training": torch.onnx.TrainingMode.PRESERVE,  # or it folds what follows a convolution
        "do_constant_folding": False,
        "opset_version": 17,
    },
    "script, optimized": {"dynamo": False, "opset_version": 17},
    "dynamo": {"dynamo": True, "optimize": False, "verbose": False},
    "dynamo, optimized": {"dynamo": True, "verbose": False},
}


class Residual(nn.Module):
    def __init__(self, ci: int, co: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(ci, co, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(co)
        self.conv2 = nn.Conv2d(co, co, 3, 1, 1, bias=False, groups=2)
        self.bn2 = nn.BatchNorm2d(co)
        self.downsample = nn.Sequential(nn.Conv2d(ci, co, 1, stride), nn.BatchNorm2d(co))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(y + self.downsample(x))


class LinearNorm(nn.Module):
    """LeViT's: the norm over all rows of a sequence."""

    def __init__(self, ci: int, co: int) -> None:
        super().__init__()
        self.linear, self.bn = nn.Linear(ci, co, bias=False), nn.BatchNorm1d(co)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.linear(x)
        return self.bn(y.flatten(0, 1)).reshape_as(y)


class Recurrent(nn.Module):
    """Channels of an image's columns through an LSTM, norms in front and behind."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(6, 8, 3, padding=1)
        self.before, self.after = nn.BatchNorm1d(8), nn.BatchNorm1d(12)
        self.lstm = nn.LSTM(8, 6, batch_first=True, bidirectional=True)
        self.head = nn.Linear(12, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.before(torch.relu(self.conv(x))).transpose(1, 2)
        y = self.after(self.lstm(x)[0].transpose(1, 2)).transpose(1, 2)
        return self.head(y)


@dataclass(frozen=True)
class Case:
    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    minimum: Minimum


CASES: dict[str, Case] = {
    "residual": Case(
        lambda: nn.Sequential(
            *(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), Residual(8, 12, 2)),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 5), nn.BatchNorm1d(5)),
        ),
        (2, 3, 12, 12),
        Minimum(0, 0, "norms follow convolutions and a Gemm"),
    ),
    "rows": Case(
        lambda: nn.Sequential(
            *(nn.BatchNorm1d(10), nn.Linear(10, 16), nn.ReLU(), nn.BatchNorm1d(16)),
            *(nn.Dropout(), nn.Linear(16, 12, bias=False), nn.BatchNorm1d(12), nn.SiLU()),
            *(nn.BatchNorm1d(12), nn.Linear(12, 4)),
        ),
        (3, 10),
        Minimum(0, 1, "norms stand beside Gemms; one of them may be a MatMul without a bias"),
    ),
    "generator": Case(
        lambda: nn.Sequential(
            *(nn.Linear(6, 8 * 16), nn.Unflatten(1, (8, 4, 4)), nn.BatchNorm2d(8), nn.ReLU()),
            *(nn.ConvTranspose2d(8, 8, 4, 2, 1, groups=2), nn.BatchNorm2d(8), nn.LeakyReLU()),
            *(nn.ConvTranspose2d(8, 3, 4, 2, 1, bias=False), nn.BatchNorm2d(3), nn.Tanh()),
        ),
        (2, 6),
        Minimum(0, 0, "norms follow a reshaped Gemm and transposed convolutions"),
    ),
    "sequence": Case(
        lambda: nn.Sequential(LinearNorm(6, 8), nn.Hardswish(), LinearNorm(8, 4)),
        (2, 5, 6),
        Minimum(0, 2, "each linear layer of sequences without a bias gets an Add"),
    ),
    "recurrent": Case(
        Recurrent,
        (2, 6, 9),
        Minimum(0, 0, "the LSTM's input weights take the first, the linear layer the second"),
    ),
    "padded": Case(
        lambda: nn.Sequential(
            *(nn.BatchNorm3d(2), nn.Conv3d(2, 4, 3, padding=1), nn.BatchNorm3d(4), nn.ReLU()),
            *(nn.MaxPool3d(2), nn.Flatten(), nn.Linear(32, 3)),
        ),
        (2, 2, 4, 4, 4),
        Minimum(0, 1, "the first norm's shift stays in front of the padded convolution as an Add"),
    ),
}


@cache
def module(name: str) -> nn.Module:
    """In evaluation mode, as after training: statistics random, gammas of both signs."""
    torch.manual_seed(0)
    net = CASES[name].make().eval()
    for layer in net.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            c = layer.num_features
            sign = torch.where(torch.arange(c) % 4 == 1, -1.0, 1.0)
            layer.weight.data = sign * (0.5 + torch.rand(c))
            layer.bias.data, layer.running_mean = 0.3 * torch.randn(c), 0.5 * torch.randn(c)
            layer.running_var = 0.5 + 1.5 * torch.rand(c)
    return net


def inputs(name: str, seed: int) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=CASES[name].shape).astype(np.float32)


def run_double(name: str, x: NDArray[np.float32]) -> NDArray[np.float64]:
    torch.manual_seed(0)
    twin = CASES[name].make().double().eval()
    twin.load_state_dict(module(name).state_dict())
    with torch.no_grad():
        y: NDArray[np.float64] = twin(torch.from_numpy(x).double()).numpy()
    return y


@cache
def export(name: str, style: str) -> onnx.ModelProto:
    """The model, its batch dimension dynamic."""
    options = dict(STYLES[style])
    x = torch.from_numpy(inputs(name, 0))
    names = {"input_names": ["x"], "output_names": ["y"]}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if options["dynamo"]:
            shapes = ({0: torch.export.Dim("batch", min=2)},)
            program = torch.onnx.export(
                module(name), (x,), **names, dynamic_shapes=shapes, **options
            )
            model: onnx.ModelProto = program.model_proto
            return model
        file = io.BytesIO()
        axes = {"x": {0: "batch"}, "y": {0: "batch"}}
        torch.onnx.export(module(name), (x,), file, **names, dynamic_axes=axes, **options)
    return onnx.load_from_string(file.getvalue())
