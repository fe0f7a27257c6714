"""PyTorch's twin of a whole reference net: the same tree of modules, with our names and our values.

It always takes images with channels first. ReLUs and sums that our layers compute in their own pass are written out.
"""

from __future__ import annotations

import contextlib

import numpy as np
import pytest

import bncore as bn

torch = pytest.importorskip("torch")
nn = torch.nn


def twin(net):
    """A module in training mode that holds copies of all parameters and buffers of ``net``."""
    module = _module(net)
    module.load_state_dict({k: torch.from_numpy(np.array(v)) for k, v in net.state_dict().items()})
    return module.train()


@contextlib.contextmanager
def one_thread():
    """PyTorch on one thread inside the block; its limit would stay, and where OpenMP is shared be ours as well."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class BatchNorm(nn.BatchNorm2d):
    """For images and rows alike, with the layer's ReLU."""

    def __init__(self, layer):
        affine = layer.weight is not None
        super().__init__(layer.num_features, layer.eps, layer.momentum, affine, dtype=_dtype(layer))
        self.relu = layer.activation == "relu"

    def _check_input_dim(self, x):
        pass

    def forward(self, x):
        y = super().forward(x)
        return y.relu() if self.relu else y


class Residual(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.main = _module(layer.main)
        self.shortcut = nn.Identity() if layer.shortcut is None else _module(layer.shortcut)

    def forward(self, x):
        return (self.main(x) + self.shortcut(x)).relu()


class Concat(nn.ModuleList):
    def forward(self, x):
        return torch.cat([branch(x) for branch in self], dim=1)


class GlobalAvgPool(nn.Module):
    def forward(self, x):
        return x.mean((2, 3))


class ImageRows(nn.Module):
    """Rows of pixels as steps; ``axis`` says in which order our layer sees the values of a step."""

    def __init__(self, layer):
        super().__init__()
        self.order = (0, 2, 1, 3) if layer.axis == 1 else (0, 2, 3, 1)

    def forward(self, x):
        return x.permute(self.order).flatten(2)


class LSTM(nn.Module):
    """One direction, its input products normalized over all sequences and steps, the last state.

    PyTorch has none with a norm there, so its formulas stand here, and autograd goes through time.
    """

    def __init__(self, layer):
        super().__init__()
        for name in layer.parameter_names:
            setattr(self, name, nn.Parameter(torch.from_numpy(getattr(layer, name).copy())))
        self.norm_l0 = BatchNorm(layer.norm_l0)

    def forward(self, x):
        products = self.norm_l0((x @ self.weight_ih_l0.T).flatten(0, 1)).unflatten(0, x.shape[:2])
        h = c = x.new_zeros(len(x), self.weight_hh_l0.shape[1])
        for product in products.unbind(1):
            i, f, g, o = (product + h @ self.weight_hh_l0.T + self.bias_hh_l0).chunk(4, dim=1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
        return h


def _module(layer):
    return _MODULES[type(layer)](layer)


def _sequential(layer):
    return nn.Sequential(*(_module(child) for child in layer))


def _conv(layer):
    assert layer.activation is None
    return nn.Conv2d(
        layer.in_channels,
        layer.out_channels,
        layer.kernel_size,
        layer.stride,
        layer.padding,
        groups=layer.groups,
        bias=layer.bias is not None,
        dtype=_dtype(layer),
    )


def _linear(layer):
    outputs, inputs = layer.weight.shape
    return nn.Linear(inputs, outputs, layer.bias is not None, dtype=_dtype(layer))


def _max_pool(layer):
    return nn.MaxPool2d(layer.kernel_size, layer.stride, layer.padding)


def _dtype(layer):
    return torch.float64 if layer.dtype == np.float64 else torch.float32


_MODULES = {
    bn.BatchNorm: BatchNorm,
    bn.Concat: lambda layer: Concat(_module(branch) for branch in layer.branches),
    bn.Conv2d: _conv,
    bn.Flatten: lambda layer: nn.Flatten(),
    bn.GlobalAvgPool: lambda layer: GlobalAvgPool(),
    bn.LSTM: LSTM,
    bn.Linear: _linear,
    bn.MaxPool: _max_pool,
    bn.Residual: Residual,
    bn.Sequential: _sequential,
    bn.layers.ImageRows: ImageRows,
}
