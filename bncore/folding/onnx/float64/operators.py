"""Operators for onnx's reference evaluator, in float64, where its own are too slow, missing or wrong.

Each reads a node's attributes and calls plain functions on arrays; what one does not know is an error, and then there is no
float64 run.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import kernels
from .resize import COORDINATES, resize

__all__ = ["operators"]

_SLOW_RESIZE = 1 << 18
"""The evaluator resizes element by element: more than this many outputs take minutes."""


def operators() -> list[Any]:
    """Operators that replace the evaluator's; a class's name is the operator's."""
    from onnx.reference.op_run import OpRun
    from onnx.reference.ops.op_resize import Resize as SlowResize

    class Conv(OpRun):
        def _run(self, x: Any, w: Any, b: Any = None, **given: Any) -> tuple[np.ndarray]:
            a = _geometry(x, w.shape[2:], given)
            y = kernels.conv(
                x,
                w,
                b,
                pads=a["pads"],
                stride=a["stride"],
                dilation=a["dilation"],
                groups=given.get("group") or 1,
            )
            return (y,)

    class ConvTranspose(OpRun):
        def _run(self, x: Any, w: Any, b: Any = None, **given: Any) -> tuple[np.ndarray]:
            if given.get("output_shape") or given.get("auto_pad") not in (None, "NOTSET", "VALID"):
                raise NotImplementedError("ConvTranspose with output_shape or SAME padding")
            a = _geometry(x, w.shape[2:], given)
            y = kernels.conv_transpose(
                x,
                w,
                b,
                pads=a["pads"],
                output_padding=given.get("output_padding") or [0] * len(a["stride"]),
                stride=a["stride"],
                dilation=a["dilation"],
                groups=given.get("group") or 1,
            )
            return (y,)

    class AveragePool(OpRun):
        def _run(self, x: Any, **given: Any) -> tuple[np.ndarray]:
            y = kernels.average_pool(
                x,
                given["kernel_shape"],
                **_geometry(x, given["kernel_shape"], given),
                ceil=bool(given.get("ceil_mode")),
                count_padding=bool(given.get("count_include_pad")),
            )
            return (y,)

    class MaxPool(OpRun):
        def _run(self, x: Any, **given: Any) -> tuple[np.ndarray]:
            if len([name for name in self.onnx_node.output if name]) > 1:
                raise NotImplementedError("MaxPool with indices")
            y = kernels.max_pool(
                x,
                given["kernel_shape"],
                **_geometry(x, given["kernel_shape"], given),
                ceil=bool(given.get("ceil_mode")),
            )
            return (y,)

    class Resize(SlowResize):
        def _run(self, x: Any, *more: Any, **given: Any) -> Any:
            if len(more) == 1:  # opset 10: scales, and no choice of coordinates
                given.update(coordinate_transformation_mode="asymmetric", nearest_mode="floor")
                return (_resized(x, more[0], None, given),)
            _, scales, sizes = (*more, None, None, None)[:3]
            y = _resized(x, scales, sizes, given)
            return (y,) if y is not None else super()._run(x, *more, **given)

    class Upsample(OpRun):
        def _run(self, x: Any, scales: Any = None, **given: Any) -> tuple[np.ndarray]:
            given.update(coordinate_transformation_mode="asymmetric", nearest_mode="floor")
            return (_resized(x, given.get("scales") if scales is None else scales, None, given),)

    class BatchNormalization(OpRun):
        def _run(self, x: Any, *parameters: Any, **given: Any) -> tuple[np.ndarray]:
            outputs = [name for name in self.onnx_node.output if name]
            old = {item.name: item.i for item in self.onnx_node.attribute}
            if given.get("training_mode") or len(outputs) > 1 or old.get("spatial", 1) == 0:
                raise NotImplementedError("BatchNormalization in training, or by position")
            shape = (-1, *[1] * (x.ndim - 2))
            gamma, beta, mean, var = (array.reshape(shape) for array in parameters)
            return (gamma * (x - mean) / np.sqrt(var + given.get("epsilon", 1e-5)) + beta,)

    class DequantizeLinear(OpRun):
        def _run(self, x: Any, scale: Any, zero: Any = None, **given: Any) -> tuple[np.ndarray]:
            if given.get("block_size"):
                raise NotImplementedError("DequantizeLinear by blocks")
            shape = [1] * x.ndim
            if np.ndim(scale) and np.size(scale) > 1:
                shape[given.get("axis", 1)] = -1
            shifted = x.astype(np.float64) - (
                0 if zero is None else zero.astype(np.float64).reshape(shape)
            )
            return ((shifted * scale.astype(np.float64).reshape(shape)).astype(scale.dtype),)

    return [
        BatchNormalization,
        Conv,
        ConvTranspose,
        AveragePool,
        MaxPool,
        Resize,
        Upsample,
        DequantizeLinear,
    ]


def _resized(x: Any, scales: Any, sizes: Any, given: dict[str, Any]) -> Any:
    """By `resize` if it can; None for the slow evaluator."""
    coordinates = given.get("coordinate_transformation_mode") or "half_pixel"
    mode = str(given.get("mode") or "nearest")
    odd = given.get("antialias") or given.get("axes") is not None
    policy = given.get("keep_aspect_ratio_policy") or "stretch"
    if scales is not None and np.size(scales):
        factors = [float(scale) for scale in scales]
        wanted = [int(np.floor(n * scale)) for n, scale in zip(x.shape, factors)]
    else:
        wanted = [int(size) for size in sizes]
        factors = [size / n for size, n in zip(wanted, x.shape)]
    if (
        coordinates in COORDINATES
        and mode in ("nearest", "linear")
        and not odd
        and policy == "stretch"
    ):
        nearest = given.get("nearest_mode") or "round_prefer_floor"
        return resize(x, wanted, factors, mode=mode, coordinates=coordinates, nearest=nearest)
    if np.prod(wanted) > _SLOW_RESIZE:
        raise NotImplementedError("such a Resize of so many elements takes too long")
    return None


def _geometry(x: Any, kernel: Any, given: dict[str, Any]) -> dict[str, Any]:
    """Strides, dilations and padding of a node, with their defaults."""
    rank = len(kernel)
    stride = list(given.get("strides") or [1] * rank)
    dilation = list(given.get("dilations") or [1] * rank)
    pads = kernels.padding(
        given.get("auto_pad") or "NOTSET", given.get("pads"), x.shape[2:], kernel, stride, dilation
    )
    return {"pads": pads, "stride": stride, "dilation": dilation}
