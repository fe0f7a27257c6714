"""Small nets for the training tests, and their mirrors in PyTorch."""

from __future__ import annotations

import numpy as np

import bncore as bn


def small_cnn(seed=0, *, dropout=0.0, dtype="float32"):
    """2 convolutions for digits, 8x8."""
    rng = np.random.default_rng(seed)
    return bn.Sequential(
        bn.Conv2d(1, 8, 3, padding=1, bias=False, rng=rng, dtype=dtype),
        bn.BatchNorm(8, activation="relu", dtype=dtype),
        bn.MaxPool(2),
        bn.Conv2d(8, 16, 3, padding=1, bias=False, rng=rng, dtype=dtype),
        bn.BatchNorm(16, activation="relu", dtype=dtype),
        bn.GlobalAvgPool(),
        bn.Dropout(dropout),
        bn.Linear(16, 10, rng=rng, dtype=dtype),
    )


def small_mlp(inputs=5, outputs=3, seed=0, *, dtype="float64"):
    rng = np.random.default_rng(seed)
    return bn.Sequential(
        bn.Linear(inputs, 16, bias=False, rng=rng, dtype=dtype),
        bn.BatchNorm(16, activation="relu", dtype=dtype),
        bn.Linear(16, outputs, rng=rng, dtype=dtype),
    )


def torch_mirror(net):
    """The same layers with the same values in PyTorch.

    Fused ReLUs become modules that hold no state.
    """
    import torch

    torch.set_num_threads(1)  # its threads would spin beside ours
    modules, flat = {}, False
    for name, layer in net.children():
        flat = flat or type(layer).__name__ in ("Flatten", "GlobalAvgPool", "Linear")
        module, relu = _module(torch, layer, flat), getattr(layer, "activation", None) == "relu"
        modules[name] = torch.nn.Sequential(module, torch.nn.ReLU()) if relu else module
    mirror = torch.nn.Sequential()
    for name, module in modules.items():
        mirror.add_module(name, module)
    state = {}
    for key, value in net.state_dict().items():
        name, _, rest = key.partition(".")
        inner = f"{name}.0.{rest}" if isinstance(modules[name], torch.nn.Sequential) else key
        state[inner] = torch.from_numpy(np.asarray(value))
    mirror.load_state_dict(state)
    return mirror.train()


def _module(torch, layer, flat):
    nn, kind = torch.nn, type(layer).__name__
    if kind == "BatchNorm":
        make = nn.BatchNorm1d if flat else nn.BatchNorm2d
        return make(
            layer.num_features,
            eps=layer.eps,
            affine=layer.weight is not None,
            dtype=_dtype(torch, layer),
        )
    if kind == "Linear":
        out, inputs = layer.weight.shape
        return nn.Linear(inputs, out, bias=layer.bias is not None, dtype=_dtype(torch, layer))
    if kind == "Conv2d":
        out, inputs, *kernel = layer.weight.shape
        return nn.Conv2d(
            inputs,
            out,
            kernel,
            layer.stride,
            layer.padding,
            bias=layer.bias is not None,
            dtype=_dtype(torch, layer),
        )
    if kind == "MaxPool":
        return nn.MaxPool2d(layer.kernel_size, layer.stride, layer.padding)
    if kind == "GlobalAvgPool":
        return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return {"Dropout": nn.Identity, "Flatten": nn.Flatten, "ReLU": nn.ReLU}[kind]()


def _dtype(torch, layer):
    return torch.float64 if layer.dtype == np.float64 else torch.float32
