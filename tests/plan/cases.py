"""Nets that a plan must run as their layers do: what fuses, what does not, tails, one pixel, one image, users' layers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import bncore as bn

__all__ = ["CASES", "Doubled"]

Make = Callable[[np.dtype], tuple[bn.Layer, tuple[int, ...]]]


class Doubled(bn.Layer):
    """A user's layer, with a parameter."""

    parameter_names = ("factor",)

    def __init__(self, dtype):
        self.factor = np.full(1, 2, dtype)

    def forward(self, x):
        self.save(x)
        return x * self.factor

    def backward(self, dy):
        x = self.take_saved()
        self.set_grad("factor", [np.vdot(x, dy)])
        return dy * self.factor


def conv(a, b, k=3, **more):
    return bn.Conv2d(a, b, k, padding=k // 2, rng=np.random.default_rng(a * b), **more)


def _reference(name, shape, *sizes, **more):
    def make(dtype):
        return getattr(bn.nets, name)(*sizes, dtype=dtype, rng=0, **more), shape

    return make


def _odd(axis):
    def make(dtype):
        how = {"axis": axis, "dtype": dtype}
        layers = [
            conv(3, 5, bias=False, **how),
            bn.BatchNorm(5, activation="relu", **how),
            conv(5, 19, stride=2, bias=True, **how),
            bn.BatchNorm(19, **how),
            bn.Residual(
                bn.Sequential(
                    conv(19, 19, bias=False, **how),
                    bn.BatchNorm(19, activation="relu", **how),
                    conv(19, 19, bias=False, **how),
                    bn.BatchNorm(19, **how),
                )
            ),
            conv(19, 7, 1, bias=False, **how),
            bn.BatchNorm(7, momentum=None, **how),
            bn.LeakyReLU(),
            bn.MaxPool(2, axis=axis),
            bn.Flatten(),
            bn.Linear(7 * 3 * 3, 4, dtype=dtype, rng=0),
        ]
        shape = (9, 3, 13, 11) if axis == 1 else (9, 13, 11, 3)
        return bn.Sequential(*layers), shape

    return make


def _branches(dtype):
    how = {"dtype": dtype}
    branch = bn.Sequential(conv(4, 6, bias=False, **how), bn.BatchNorm(6, activation="relu", **how))
    other = bn.Sequential(bn.AvgPool(3, 1, 1), conv(4, 5, 1, activation="relu", **how))
    net = bn.Sequential(
        conv(2, 4, bias=False, **how),
        bn.BatchNorm(4, frozen=True, **how),
        bn.Concat(branch, other, conv(4, 3, **how)),
        bn.Residual(bn.Sequential(conv(14, 14, **how), bn.ReLU()), None, "relu"),
        bn.Residual(conv(14, 14, groups=2, bias=False, **how)),
        bn.GlobalMaxPool(),
        bn.BatchNorm(14, zero_debias=True, **how),
        bn.GELU(),
        bn.Linear(14, 3, activation="relu", rng=1, **how),
    )
    return net, (10, 2, 9, 8)


def _reused(dtype):
    """Values that are read again behind a residual block, and one that a block's only convolution reads as well."""
    how = {"dtype": dtype}
    block = bn.Sequential(
        conv(4, 4, bias=False, **how),
        bn.BatchNorm(4, activation="relu", **how),
        conv(4, 4, bias=False, **how),
        bn.BatchNorm(4, **how),
    )
    short = bn.Sequential(conv(9, 9, bias=False, **how), bn.BatchNorm(9, **how))
    net = bn.Sequential(
        conv(2, 4, bias=False, **how),
        bn.BatchNorm(4, activation="relu", **how),
        bn.Concat(bn.Residual(block), conv(4, 5, **how)),
        bn.Residual(short),
        bn.GlobalAvgPool(),
        bn.Linear(9, 3, rng=8, **how),
    )
    return net, (11, 2, 7, 6)


def _called(dtype):
    how = {"dtype": dtype}
    net = bn.Sequential(
        conv(2, 4, bias=False, **how),
        bn.GroupNorm(2, 4, activation="relu", **how),
        Doubled(dtype),
        conv(4, 4, bias=False, **how),
        bn.BatchNorm(4, ghost_batch_size=4, **how),
        bn.ConvTranspose2d(4, 3, 2, 2, rng=2, **how),
        bn.BatchNorm(3, statistics="moving", **how),
        bn.SiLU(),
        bn.Flatten(),
        bn.LayerNorm(3 * 12 * 10, **how),
        bn.Linear(3 * 12 * 10, 3, rng=3, **how),
    )
    return net, (8, 2, 6, 5)


def _depthwise(dtype):
    how = {"dtype": dtype, "axis": -1}
    net = bn.Sequential(
        conv(5, 5, groups=5, bias=False, **how),
        bn.BatchNorm(5, activation="relu", **how),
        conv(5, 33, 1, bias=False, **how),
        bn.BatchNorm(33, activation="relu", **how),
        conv(33, 33, groups=33, stride=2, bias=False, **how),
        bn.BatchNorm(33, weight=False, **how),
        bn.GlobalAvgPool(axis=-1),
        bn.Linear(33, 2, bias=False, rng=4, **{"dtype": dtype}),
    )
    return net, (17, 7, 7, 5)


def _signals(dtype):
    net = bn.Sequential(
        bn.Conv1d(3, 8, 5, padding=2, bias=False, dtype=dtype, rng=5),
        bn.BatchNorm(8, activation="relu", dtype=dtype),
        bn.Conv1d(8, 4, 3, dilation=2, dtype=dtype, rng=6),
        bn.Flatten(),
        bn.Linear(4 * 16, 2, dtype=dtype, rng=7),
    )
    return net, (12, 3, 20)


def _few(images):
    def make(dtype):
        net, shape = _odd(1)(dtype)
        return net, (images, *shape[1:])

    return make


def _rows_in_parts(dtype):
    """Products large enough to be cut, with a residual between them and a tail of rows and features."""
    how = {"dtype": dtype}
    block = bn.Sequential(
        bn.Linear(130, 130, bias=False, rng=11, **how), bn.BatchNorm(130, weight=False, **how)
    )
    net = bn.Sequential(
        bn.Linear(67, 130, bias=False, rng=10, **how),
        bn.BatchNorm(130, activation="relu", **how),
        bn.Residual(block, activation="relu"),
        bn.Linear(130, 66, rng=12, **how),
        bn.BatchNorm(66, activation="relu", bias=False, **how),
        bn.Linear(66, 5, rng=13, **how),
    )
    return net, (101, 67)


def _one_pixel(dtype):
    net = bn.Sequential(
        conv(4, 8, bias=False, dtype=dtype),
        bn.BatchNorm(8, activation="relu", dtype=dtype),
        conv(8, 8, bias=False, dtype=dtype),
        bn.BatchNorm(8, dtype=dtype),
        bn.GlobalAvgPool(),
    )
    return net, (12, 4, 1, 1)


CASES: dict[str, Make] = {
    "mlp": _reference("mlp", (24, 20), 20, 5, (32, 33)),
    "rows in parts": _rows_in_parts,
    "mlp of images": _reference("mlp", (24, 1, 4, 5), 20, 5, (16,)),
    "cnn": _reference("cnn", (16, 1, 14, 14), 1, 10, (16, 32, 64), strides=(1, 2, 2)),
    "cnn channels last": _reference("cnn", (16, 14, 14, 1), 1, 10, (16, 32), axis=-1),
    "cnn standardized": _reference("cnn", (12, 3, 8, 8), 3, 4, (8, 9), standardize=True),
    "cnn without norm": _reference("cnn", (12, 3, 8, 8), 3, 4, (8, 9), norm="none"),
    "cnn with layer norm": _reference("cnn", (12, 8, 8, 3), 3, 4, (8,), norm="layer", axis=-1),
    "resnet20": _reference("resnet20", (12, 3, 16, 16), blocks=1),
    "resnet20 zero gamma": _reference("resnet20", (9, 3, 12, 12), blocks=1, zero_gamma=True),
    "resnet20 without norm": _reference("resnet20", (9, 3, 12, 12), blocks=1, norm="none"),
    "resnet20 with renorm": _reference("resnet20", (9, 3, 8, 8), blocks=1, norm="renorm"),
    "resnet20 with group norm": _reference("resnet20", (9, 3, 8, 8), blocks=1, norm="group"),
    "inception": _reference("inception_small", (9, 3, 16, 16), 3, 4),
    "lstm": _reference("recurrent", (6, 7, 5), 5, 3, 8),
    "separable": _reference("separable", (9, 3, 12, 12), 3, 4),
    "odd sizes": _odd(1),
    "odd sizes, channels last": _odd(-1),
    "one image": _few(1),
    "three images": _few(3),
    "branches": _branches,
    "values read again": _reused,
    "called layers": _called,
    "depthwise": _depthwise,
    "signals": _signals,
    "one pixel": _one_pixel,
}
