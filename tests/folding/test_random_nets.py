"""Random nets of all layers that folding knows: whatever it folds must compute the same."""

import numpy as np
import pytest

from bncore import folding
from bncore.layers import (
    GELU,
    AvgPool,
    BatchNorm,
    Concat,
    Conv2d,
    ConvTranspose2d,
    Dropout,
    Flatten,
    GlobalAvgPool,
    GlobalMaxPool,
    LeakyReLU,
    Linear,
    MaxPool,
    ReLU,
    Residual,
    Sequential,
)
from tests.folding.checks import check, trained


class Builder:
    """Grows a net layer by layer; the sample tells the shapes."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.axis = int(self.rng.choice([1, -1]))
        self.where = {"axis": self.axis}

    def pick(self, *choices):
        return choices[self.rng.integers(len(choices))]

    def net(self):
        shape = (4, 3, 9, 8) if self.axis == 1 else (4, 9, 8, 3)
        x = self.rng.normal(size=shape)
        layers = self.images(x, int(self.rng.integers(1, 7)))
        y = Sequential(*layers).eval()(x)
        if self.pick(True, True, False):
            layers.append(
                self.pick(GlobalAvgPool(**self.where), GlobalMaxPool(**self.where), Flatten())
            )
            layers += self.rows(layers[-1](y), int(self.rng.integers(1, 5)))
        return trained(Sequential(*layers), self.rng), x

    def images(self, x, count):
        layers = []
        for _ in range(count):
            layers.append(self.image_layer(x))
            x = layers[-1].eval()(x)
        return layers

    def rows(self, x, count):
        layers = []
        for _ in range(count):
            features = x.shape[1]
            linear = Linear(features, int(self.rng.integers(2, 6)), self.pick(True, False),
                            activation=self.pick(None, None, "relu"), dtype=np.float64, rng=self.rng)  # fmt: skip
            layers.append(
                self.pick(
                    linear, linear, self.norm(features), self.norm(features), Dropout(0.5), GELU()
                )
            )
            x = layers[-1].eval()(x)
        return layers

    def image_layer(self, x):
        channels = x.shape[self.axis]
        small = min(x.shape[1:-1] if self.axis == -1 else x.shape[2:]) < 3
        kind = self.pick(
            "conv",
            "conv",
            "conv",
            "norm",
            "norm",
            "norm",
            "transposed",
            "pool",
            "other",
            "residual",
            "concat",
        )
        if kind == "conv":
            return self.conv(channels, 1 if small else self.pick(1, 3), self.pick(1, 1, 2))
        if kind == "norm":
            return self.norm(channels)
        if kind == "transposed":
            return ConvTranspose2d(channels, 2 * channels if channels < 5 else channels, self.pick(1, 2),
                                   groups=self.pick(1, channels), dtype=np.float64, rng=self.rng, **self.where)  # fmt: skip
        if kind == "pool":
            pad = self.pick(0, 1)
            return self.pick(MaxPool(3, 1, 1, **self.where),
                             AvgPool(3, 1, 1, count_include_pad=bool(pad), **self.where),
                             AvgPool(1, **self.where))  # fmt: skip
        if kind == "other":
            return self.pick(Dropout(0.5), ReLU(), GELU(), LeakyReLU(0.1), Sequential())
        return self.residual(x, channels) if kind == "residual" else self.concat(x, channels)

    def conv(self, channels, kernel, stride, outputs=None, padding=None):
        outputs = outputs or channels * self.pick(1, 2) if channels < 6 else channels
        padding = self.pick(0, kernel // 2) if padding is None else padding
        groups = self.pick(1, channels) if outputs % channels == 0 else 1
        return Conv2d(channels, outputs, kernel, stride, padding, groups=groups, bias=self.pick(True, False),
                      activation=self.pick(None, None, None, "relu"), dtype=np.float64, rng=self.rng, **self.where)  # fmt: skip

    def norm(self, channels):
        return BatchNorm(channels, activation=self.pick(None, None, "relu"), affine=self.pick(True, True, False),
                         dtype=np.float64, axis=self.axis)  # fmt: skip

    def same_size(self, channels):
        """Layers that keep the shape, as a branch needs."""
        choices = [self.conv(channels, self.pick(1, 3), 1, channels, 0), self.norm(channels), self.norm(channels),
                   Dropout(0.5), ReLU()]  # fmt: skip
        layers = [self.pick(*choices) for _ in range(self.rng.integers(1, 4))]
        layers = [layer.copy() for layer in layers]
        for layer in layers:
            if isinstance(layer, Conv2d):
                layer.padding = tuple(k // 2 for k in layer.kernel_size)
        return Sequential(*layers)

    def residual(self, x, channels):
        shortcut = self.pick(None, self.same_size(channels), self.same_size(channels))
        return Residual(self.same_size(channels), shortcut, self.pick(None, "relu"))

    def concat(self, x, channels):
        branches = [self.same_size(channels) for _ in range(self.rng.integers(1, 4))]
        return Concat(*branches, self.pick(Sequential(), MaxPool(3, 1, 1, **self.where), self.same_size(channels)),
                      axis=self.axis)  # fmt: skip


@pytest.mark.parametrize("seed", range(150))
def test_random_nets_compute_the_same_after_folding(seed):
    net, x = Builder(seed).net()
    _, report = folding.fold_net(net, input_ndim=4)
    check(net, x, norms_left=len(report.kept), input_ndim=4)


def test_random_nets_exercise_the_rules():
    """Enough of them fold something, keep something, and use every rule; else the test above says little."""
    rules, folded, kept = set(), 0, 0
    for seed in range(150):
        _, report = folding.fold_net(Builder(seed).net()[0], input_ndim=4)
        rules |= {entry.rule for entry in report.folded}
        folded, kept = folded + len(report.folded), kept + len(report.kept)
    assert folded > 100 and kept > 100
    assert {"Conv2d → BatchNorm", "ConvTranspose2d → BatchNorm", "Linear → BatchNorm", "BatchNorm → BatchNorm",
            "BatchNorm → Linear", "BatchNorm → Conv2d", "BatchNorm → Pad + Conv2d"} <= rules  # fmt: skip
