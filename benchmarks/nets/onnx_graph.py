"""Our folded nets as ONNX models, node by node; images with channels first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper

import bncore as bn

from .cases import CLASSES, pair

OPSET = 17
INPUT, OUTPUT = "x", "y"


class Graph:
    """Collects nodes and weights; values are called by numbers."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.weights: list[Any] = []

    def add(self, op: str, *inputs: str, outputs: int = 1, **attributes: Any) -> str:
        """A node; the name of its last output, which is the only one with a use. "" is an input left out."""
        names = [""] * (outputs - 1) + [f"v{len(self.nodes)}"]
        self.nodes.append(helper.make_node(op, list(inputs), names, **attributes))
        return names[-1]

    def weight(self, value: Any) -> str:
        """The name of a constant, "" for None."""
        if value is None:
            return ""
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def layer(self, layer: Any, x: str) -> str:
        return RULES[type(layer)](self, layer, x)

    def act(self, layer: Any, y: str) -> str:
        return self.add("Relu", y) if layer.activation else y


def model(net: Any, shape: tuple[int, ...]) -> bytes:
    """The serialized model of a folded net for inputs of that shape."""
    graph = Graph()
    graph.nodes.append(helper.make_node("Identity", [graph.layer(net, INPUT)], [OUTPUT]))
    (x, y) = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, size)
        for name, size in ((INPUT, shape), (OUTPUT, (shape[0], CLASSES)))
    )
    whole = helper.make_graph(graph.nodes, "net", [x], [y], graph.weights)
    # an early version of the format, so that older runtimes read it
    made = helper.make_model(whole, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    checker.check_model(made)
    return made.SerializeToString()


def linear(graph: Graph, layer: Any, x: str) -> str:
    weights = (graph.weight(layer.weight), graph.weight(layer.bias))
    return graph.act(layer, graph.add("Gemm", x, *weights, transB=1))


def conv(graph: Graph, layer: Any, x: str) -> str:
    y = graph.add(
        "Conv",
        x,
        graph.weight(layer.weight),
        graph.weight(layer.bias),
        kernel_shape=layer.kernel_size,
        strides=layer.stride,
        pads=layer.padding * 2,
        group=layer.groups,
    )
    return graph.act(layer, y)


def chain(graph: Graph, layer: Any, x: str) -> str:
    for _, child in layer.children():
        x = graph.layer(child, x)
    return x


def residual(graph: Graph, layer: Any, x: str) -> str:
    side = x if layer.shortcut is None else graph.layer(layer.shortcut, x)
    return graph.act(layer, graph.add("Add", graph.layer(layer.main, x), side))


def concat(graph: Graph, layer: Any, x: str) -> str:
    return graph.add("Concat", *(graph.layer(child, x) for _, child in layer.children()), axis=1)


def max_pool(graph: Graph, layer: Any, x: str) -> str:
    return graph.add(
        "MaxPool",
        x,
        kernel_shape=pair(layer.kernel_size),
        strides=pair(layer.stride),
        pads=pair(layer.padding) * 2,
    )


def average(graph: Graph, layer: Any, x: str) -> str:
    return graph.add("Flatten", graph.add("GlobalAveragePool", x))


def gates(a: Any) -> Any:
    """Ours, and PyTorch's, are i, f, g, o; ONNX wants i, o, f, g."""
    i, f, g, o = np.split(a, 4)
    return np.concatenate([i, o, f, g])


def lstm(graph: Graph, layer: Any, x: str) -> str:
    """The last state h. ONNX has the steps first."""
    weights = [graph.weight(gates(w)[None]) for w in (layer.weight_ih_l0, layer.weight_hh_l0)]
    bias = np.concatenate([gates(layer.bias_ih_l0), gates(layer.bias_hh_l0)])[None]
    inputs = (graph.add("Transpose", x, perm=[1, 0, 2]), *weights, graph.weight(bias))
    last = graph.add("LSTM", *inputs, outputs=2, hidden_size=layer.hidden_size)
    return graph.add("Squeeze", last, graph.weight(np.array([0])))


RULES: dict[type, Callable[[Graph, Any, str], str]] = {
    bn.Sequential: chain,
    bn.Residual: residual,
    bn.Concat: concat,
    bn.Linear: linear,
    bn.Conv2d: conv,
    bn.MaxPool: max_pool,
    bn.GlobalAvgPool: average,
    bn.Flatten: lambda graph, layer, x: graph.add("Flatten", x),
    bn.ImageRows: lambda graph, layer, x: x,  # sequences pass as they are
    bn.LSTM: lstm,
}
