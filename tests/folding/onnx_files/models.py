"""Small ONNX models for tests: one seed, random statistics, borders that padding touches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT


def initializer(name: str, values: Any, dtype: Any = np.float32) -> TensorProto:
    return numpy_helper.from_array(np.asarray(values, dtype, order="C"), name)


def norm_parameters(
    prefix: str, channels: int, rng: np.random.Generator, dtype: Any = np.float32
) -> list[Any]:
    return [
        initializer(f"{prefix}.weight", rng.uniform(0.5, 1.5, channels), dtype),
        initializer(f"{prefix}.bias", rng.normal(0, 1, channels), dtype),
        initializer(f"{prefix}.mean", rng.normal(0, 1, channels), dtype),
        initializer(f"{prefix}.var", rng.uniform(0.5, 2, channels), dtype),
    ]


def conv_net(
    depth: int = 3,
    channels: int = 4,
    *,
    seed: int = 0,
    dtype: Any = np.float32,
    opset: int = 17,
    ir: int = 8,
    dims: Any = ("N", 3, "H", "W"),
    last_relu: bool = True,
) -> onnx.ModelProto:
    """``depth`` times Conv 3x3 -> BatchNormalization -> Relu; one more norm in front, which the stand-in keeps."""
    rng = np.random.default_rng(seed)
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    tensors = norm_parameters("bn_in", 3, rng, dtype)
    nodes = [
        helper.make_node("BatchNormalization", ["x", *[t.name for t in tensors]], ["b_in"], "bn_in")
    ]
    name, inputs = "b_in", 3
    for at in range(depth):
        weight = rng.normal(0, 1 / np.sqrt(9 * inputs), (channels, inputs, 3, 3))
        tensors.append(initializer(f"conv{at}.weight", weight, dtype))
        parameters = norm_parameters(f"bn{at}", channels, rng, dtype)
        tensors += parameters
        nodes += [
            helper.make_node(
                "Conv", [name, f"conv{at}.weight"], [f"c{at}"], f"conv{at}", pads=[1, 1, 1, 1]
            ),
            helper.make_node(
                "BatchNormalization",
                [f"c{at}", *[t.name for t in parameters]],
                [f"b{at}"],
                f"bn{at}",
            ),
            helper.make_node("Relu", [f"b{at}"], [f"r{at}"], f"relu{at}"),
        ]
        name, inputs = f"r{at}", channels
    nodes.append(helper.make_node("Identity", [name], ["y"], "out"))
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", kind, dims)],
        [helper.make_tensor_value_info("y", kind, (dims[0], channels, dims[2], dims[3]))],
        tensors,
    )
    return model_of(graph, opset=opset, ir=ir)


def wide_net(depth: int, channels: int) -> onnx.ModelProto:
    """``depth`` times Conv 1x1 -> BatchNormalization, each weight of channels² numbers."""
    rng = np.random.default_rng(0)
    weight = rng.normal(0, 1 / np.sqrt(channels), (channels, channels, 1, 1)).astype(np.float32)
    nodes, tensors, name = [], [], "x"
    for at in range(depth):
        parameters = norm_parameters(f"bn{at}", channels, rng)
        tensors += [initializer(f"conv{at}.weight", weight), *parameters]
        nodes += [
            helper.make_node("Conv", [name, f"conv{at}.weight"], [f"c{at}"], f"conv{at}"),
            helper.make_node(
                "BatchNormalization",
                [f"c{at}", *[t.name for t in parameters]],
                [f"b{at}"],
                f"bn{at}",
            ),
        ]
        name = f"b{at}"
    graph = helper.make_graph(
        nodes,
        "wide",
        [helper.make_tensor_value_info("x", FLOAT, ("N", channels, "H", "W"))],
        [helper.make_tensor_value_info(name, FLOAT, ("N", channels, "H", "W"))],
        tensors,
    )
    return model_of(graph)


def model_of(graph: onnx.GraphProto, *, opset: int = 17, ir: int = 8) -> onnx.ModelProto:
    if ir < 4:
        known = {value.name for value in graph.input}
        graph.input.extend(
            helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
            for tensor in graph.initializer
            if tensor.name not in known
        )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)


def save(model: onnx.ModelProto, path: Path) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


def save_external(model: onnx.ModelProto, path: Path, location: str = "weights.bin") -> Path:
    """All tensors of 1 KB or more in one file beside the model."""
    onnx.save(model, path, save_as_external_data=True, location=location, size_threshold=1024)
    return path
