"""The geometries convolutions are tested on, with their arrays; shared by the files of this folder."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bncore import functional as F


@dataclass(frozen=True, eq=False)
class Case:
    """One call: sizes as in PyTorch, channels first."""

    name: str
    x_shape: tuple[int, ...]
    weight_shape: tuple[int, ...]
    options: dict[str, Any] = field(default_factory=dict)
    transposed: bool = False

    @property
    def spatial(self) -> int:
        return len(self.x_shape) - 2

    @property
    def groups(self) -> int:
        return self.options.get("groups", 1)

    @property
    def y_channels(self) -> int:
        return self.weight_shape[1] * self.groups if self.transposed else self.weight_shape[0]

    def option(self, name: str, default: int) -> tuple[int, ...]:
        value = self.options.get(name, default)
        return value if isinstance(value, tuple) else (value,) * self.spatial

    def paddings(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Zeros before and behind each spatial axis."""
        if self.options.get("padding") != "same":
            return self.option("padding", 0), self.option("padding", 0)
        totals = [d * (k - 1) for d, k in zip(self.option("dilation", 1), self.weight_shape[2:])]
        return tuple(t // 2 for t in totals), tuple(t - t // 2 for t in totals)

    def y_size(self) -> tuple[int, ...]:
        begin, end = self.paddings()
        axes = zip(
            self.x_shape[2:],
            self.weight_shape[2:],
            self.option("stride", 1),
            self.option("dilation", 1),
            begin,
            end,
            self.option("output_padding", 0),
        )
        if self.transposed:
            return tuple((n - 1) * s - b - e + d * (k - 1) + 1 + o for n, k, s, d, b, e, o in axes)
        return tuple((n + b + e - d * (k - 1) - 1) // s + 1 for n, k, s, d, b, e, _ in axes)

    def arrays(self, dtype, seed: int = 0):
        """x, weight, bias and dy, channels first."""
        rng = np.random.default_rng(seed)
        y_shape = (self.x_shape[0], self.y_channels, *self.y_size())
        shapes = (self.x_shape, self.weight_shape, (self.y_channels,), y_shape)
        return [rng.standard_normal(s).astype(dtype) for s in shapes]

    def geometry(self) -> dict[str, Any]:
        """Keywords of the reference functions, for the convolution (not its transpose), in two dimensions."""

        def two(values, first):
            return (first, *values) if self.spatial == 1 else tuple(values)

        return {
            "groups": self.groups,
            "out_size": two(self.x_shape[2:] if self.transposed else self.y_size(), 1),
            "kernel": two(self.weight_shape[2:], 1),
            "stride": two(self.option("stride", 1), 1),
            "padding": two(self.paddings()[0], 0),
            "dilation": two(self.option("dilation", 1), 1),
        }

    def forward(self, x, weight, bias, axis=1, **more):
        """The public forward call on channels-first arrays, in the layout `axis` says; x is moved, y moved back."""
        run = F.conv_transpose2d if self.transposed else (F.conv1d, F.conv2d)[self.spatial - 1]
        y, saved = run(to_layout(x, axis), weight, bias, axis=axis, **self.options, **more)
        return from_layout(y, axis), saved

    def backward(self, dy, saved, axis=1, **more):
        """The public backward call, moved in the same way."""
        run = (
            F.conv_transpose2d_backward
            if self.transposed
            else (F.conv1d_backward, F.conv2d_backward)[self.spatial - 1]
        )
        dx, dweight, dbias = run(to_layout(dy, axis), saved, **more)
        return None if dx is None else from_layout(dx, axis), dweight, dbias


def to_layout(a, axis):
    return a if axis == 1 else np.ascontiguousarray(np.moveaxis(a, 1, -1))


def from_layout(a, axis):
    return a if axis == 1 else np.moveaxis(a, -1, 1)


CASES = [
    Case("plain 3x3", (2, 3, 7, 6), (4, 3, 3, 3), {"padding": 1}),
    Case("one pixel, one image", (1, 5, 1, 1), (3, 5, 1, 1)),
    Case("1x1", (3, 17, 4, 5), (19, 17, 1, 1)),
    Case("1x1 with stride", (2, 4, 5, 5), (6, 4, 1, 1), {"stride": 2}),
    Case("1x1 with padding", (2, 4, 3, 3), (6, 4, 1, 1), {"padding": 1}),
    Case("kernel as large as the image", (4, 2, 3, 5), (7, 2, 3, 5)),
    Case("stride that does not divide", (2, 3, 8, 7), (5, 3, 3, 3), {"stride": (3, 2), "padding": 1}),
    Case("stride larger than the kernel", (2, 2, 9, 9), (3, 2, 2, 2), {"stride": 3}),
    Case("padding along one axis", (2, 2, 5, 6), (3, 2, 3, 2), {"padding": (2, 0)}),
    Case("more padding than kernel", (1, 2, 3, 3), (2, 2, 2, 3), {"padding": 4}),
    Case("dilation", (2, 2, 9, 8), (3, 2, 3, 2), {"dilation": (2, 3), "padding": (2, 1)}),
    Case("same, even kernel", (2, 3, 6, 5), (4, 3, 2, 4), {"padding": "same"}),
    Case("same, dilated", (1, 2, 7, 7), (2, 2, 3, 3), {"padding": "same", "dilation": 2}),
    Case("groups", (2, 6, 5, 5), (9, 2, 3, 3), {"groups": 3, "padding": 1}),
    Case("groups with stride and dilation", (2, 4, 9, 9), (4, 2, 3, 3), {"groups": 2, "stride": 2, "dilation": 2}),
    Case("depthwise", (2, 5, 6, 6), (5, 1, 3, 3), {"groups": 5, "padding": 1}),
    Case("depthwise, strided and dilated", (2, 19, 9, 8), (19, 1, 3, 2), {"groups": 19, "stride": (2, 1), "dilation": (1, 2), "padding": (0, 2)}),
    Case("depthwise 1x1", (2, 5, 3, 4), (5, 1, 1, 1), {"groups": 5}),
    Case("depthwise with multiplier", (1, 3, 6, 4), (6, 1, 3, 3), {"groups": 3, "stride": 2}),
    Case("first layer", (3, 1, 8, 8), (16, 1, 3, 3), {"padding": 1}),
    Case("wide", (2, 33, 4, 4), (50, 33, 3, 3), {"padding": 1}),
    Case("3x3, whole tiles", (3, 16, 8, 6), (16, 16, 3, 3), {"padding": 1}),
    Case("3x3, odd sizes and channels", (2, 17, 7, 9), (35, 17, 3, 3), {"padding": 1}),
    Case("3x3, no padding", (2, 20, 6, 5), (18, 20, 3, 3)),
    Case("3x3, wide padding", (1, 16, 5, 4), (16, 16, 3, 3), {"padding": (3, 2)}),
    Case("3x3, groups", (2, 32, 5, 6), (36, 16, 3, 3), {"padding": 1, "groups": 2}),
    Case("3x3, 1-D is none", (2, 16, 9), (16, 16, 3), {"padding": 1}),
    Case("5x5", (2, 16, 9, 7), (20, 16, 5, 5), {"padding": 2}),
    Case("rows of many tiles", (1, 3, 5, 61), (17, 3, 3, 5), {"padding": (1, 2)}),
    Case("transposed 3x3", (2, 16, 5, 6), (16, 19, 3, 3), {"padding": 1}, True),
    Case("many images of few pixels", (21, 8, 2, 2), (9, 8, 3, 3), {"padding": 1}),
    Case("1-D", (3, 4, 11), (5, 4, 3), {"stride": 2, "padding": 1}),
    Case("1-D same, dilated, grouped", (2, 4, 9), (6, 2, 4), {"groups": 2, "padding": "same", "dilation": 2}),
    Case("transposed", (2, 3, 4, 5), (3, 4, 3, 3), {"padding": 1}, True),
    Case("transposed, stride 2", (2, 3, 4, 3), (3, 5, 4, 4), {"stride": 2, "padding": 1}, True),
    Case("transposed, output padding", (2, 4, 3, 3), (4, 3, 3, 3), {"stride": (2, 3), "padding": 1, "output_padding": (1, 2)}, True),
    Case("transposed, padding beyond dilation", (1, 2, 5, 5), (2, 2, 2, 2), {"dilation": 3, "output_padding": 2}, True),
    Case("transposed, groups", (2, 6, 3, 4), (6, 2, 3, 2), {"groups": 3, "stride": 2, "dilation": 2}, True),
    Case("transposed, depthwise", (2, 5, 4, 4), (5, 1, 3, 3), {"groups": 5, "stride": 2, "padding": 1}, True),
    Case("transposed, one pixel", (1, 3, 1, 1), (3, 2, 4, 3), {}, True),
    Case("transposed, more padding than kernel", (1, 2, 6, 6), (2, 3, 2, 2), {"padding": 2}, True),
    Case("transposed, same", (2, 2, 4, 5), (2, 3, 2, 3), {"padding": "same"}, True),
]  # fmt: skip
