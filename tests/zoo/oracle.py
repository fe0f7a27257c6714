"""The oracle: a model's float64 twin, evaluated in NumPy.

`onnx.reference` does most of it; where that is wrong or refuses (batch norm before opset 14,
transposed convolutions with groups, pools of one or three dimensions) its ops are replaced by the
definitions. ONNX Runtime, unoptimized, must agree: `tests/folding/test_zoo_itself.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

Array = NDArray[Any]


class BatchNormalization(OpRun):  # type: ignore[misc]
    """By running statistics; by the batch's if training_mode = 1 or, before opset 14, more than one
    output is named.
    """

    def _run(
        self,
        x: Array,
        scale: Array,
        bias: Array,
        mean: Array,
        var: Array,
        epsilon: float | None = None,
        momentum: float | None = None,
        training_mode: int | None = None,
        **_: Any,
    ) -> tuple[Array, ...]:
        running = mean, var
        batch_statistics = training_mode or len(self.onnx_node.output) > 1
        if batch_statistics:
            axes = (0, *range(2, x.ndim))
            mean, var = x.mean(axis=axes), x.var(axis=axes)
        per_channel = (-1, *[1] * (x.ndim - 2))
        scale, bias, mean, var = (a.reshape(per_channel) for a in (scale, bias, mean, var))
        y = scale * (x - mean) / np.sqrt(var + np.float64(np.float32(epsilon or 1e-5))) + bias
        if not batch_statistics:
            return (y,)
        share = 0.9 if momentum is None else float(np.float32(momentum))
        new = (share * a + (1 - share) * b.ravel() for a, b in zip(running, (mean, var)))
        return (y, *new, mean.ravel(), var.ravel())[: len(self.onnx_node.output)]


class ConvTranspose(OpRun):  # type: ignore[misc]
    """Tap by tap: every input value times the kernel, added where it falls. No output_shape, no
    dilations.
    """

    def _run(
        self,
        x: Array,
        w: Array,
        b: Array | None = None,
        group: int | None = None,
        pads: Any = None,
        strides: Any = None,
        **_: Any,
    ) -> tuple[Array]:
        groups, space = group or 1, x.ndim - 2
        strides, pads = list(strides or [1] * space), list(pads or [0] * (2 * space))
        n, ci = x.shape[:2]
        taps = w.shape[2:]
        parts = x.reshape(n, groups, ci // groups, -1)
        kernel = w.reshape(groups, ci // groups, w.shape[1], -1)
        products = np.einsum("ngip,giot->ngotp", parts, kernel)
        products = products.reshape(n, groups * w.shape[1], -1, *x.shape[2:])
        full = [s * (d - 1) + t for s, d, t in zip(strides, x.shape[2:], taps)]
        y = np.zeros((*products.shape[:2], *full), x.dtype)
        for number, tap in enumerate(np.ndindex(*taps)):
            where = (slice(t, t + s * d, s) for t, s, d in zip(tap, strides, x.shape[2:]))
            y[(..., *where)] += products[:, :, number]
        inside = (slice(pads[i], full[i] - pads[i + space]) for i in range(space))
        y = y[(..., *inside)]
        return (y if b is None else y + b.reshape(-1, *[1] * space),)


class Upsample(OpRun):  # type: ignore[misc]
    """Nearest neighbours, by whole factors."""

    def _run(self, x: Array, scales: Any = None, mode: str | None = None) -> tuple[Array]:
        assert mode == "nearest"
        for axis, scale in enumerate(scales):
            x = np.repeat(x, int(scale), axis)
        return (x,)


class _Pool(OpRun):  # type: ignore[misc]
    """Windows of a padded array; no dilations, no ceil_mode."""

    def windows(
        self, x: Array, filling: float, kernel_shape: Any, pads: Any, strides: Any
    ) -> Array:
        """(N, C, *outputs, *kernel)."""
        space = len(kernel_shape)
        pads = list(pads or [0] * (2 * space))
        border = [(0, 0), (0, 0), *zip(pads[:space], pads[space:])]
        padded = np.pad(x, border, constant_values=filling)
        found = sliding_window_view(padded, tuple(kernel_shape), tuple(range(2, 2 + space)))
        steps = (slice(None, None, step) for step in strides or [1] * space)
        return found[(slice(None), slice(None), *steps)]


class MaxPool(_Pool):
    def _run(
        self, x: Array, kernel_shape: Any = None, pads: Any = None, strides: Any = None, **_: Any
    ) -> tuple[Array]:
        found = self.windows(x, -np.inf, kernel_shape, pads, strides)
        return (found.max(axis=tuple(range(x.ndim, found.ndim))),)


class AveragePool(_Pool):
    def _run(
        self,
        x: Array,
        kernel_shape: Any = None,
        pads: Any = None,
        strides: Any = None,
        count_include_pad: int | None = None,
        **_: Any,
    ) -> tuple[Array]:
        found = self.windows(x, 0.0 if count_include_pad else np.nan, kernel_shape, pads, strides)
        return (np.nanmean(found, axis=tuple(range(x.ndim, found.ndim))),)


REPLACED = [BatchNormalization, ConvTranspose, Upsample, MaxPool, AveragePool]


def run_double(twin: onnx.ModelProto, feeds: Mapping[str, Array]) -> list[Array]:
    """Outputs of a float64 twin for inputs of the model's own types."""
    wide = {
        name: value.astype(np.float64) if value.dtype.kind == "f" else value
        for name, value in feeds.items()
    }
    outputs: list[Array] = ReferenceEvaluator(twin, new_ops=REPLACED).run(None, wide)
    assert all(value.dtype != np.float32 for value in outputs), "computed in float32"
    return outputs
