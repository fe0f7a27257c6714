"""How a folded model is judged: what is left in it, what ONNX Runtime says, how far it is from
float64.

Used by the tests and by `benchmarks/bench_fold.py`, so that both mean the same by every word.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from .oracle import run_double
from .registry import Entry

Array = NDArray[Any]
ELEMENTWISE = ("Add", "Sub", "Mul", "Div")
NORM = "BatchNormalization"
SEEDS = (0, 1, 2)
FLOOR = 4  # units in the last place of the largest output: the unfolded model may be exact by luck
onnxruntime.set_default_logger_severity(4)


def live_nodes(
    graph: onnx.GraphProto, outer: frozenset[str] = frozenset(), defaults: bool = True
) -> Iterator[str]:
    """Op types of all nodes that compute with what is not constant, those of bodies as well.

    Arithmetic on constants, which some tools leave to the runtime, is no pass over activations.
    Inputs with defaults are not constant, except in files of IR 3, which must list every weight.
    """
    constant = set(outer) | {tensor.name for tensor in graph.initializer}
    if defaults:
        constant -= {value.name for value in graph.input}
    for node in graph.node:
        bodies = [body for each in node.attribute for body in (each.g, *each.graphs) if body.node]
        if not bodies and all(name in constant for name in node.input if name):
            constant.update(node.output)
            continue
        yield node.op_type
        for body in bodies:
            yield from live_nodes(body, frozenset(constant))


def counts(model: onnx.ModelProto) -> tuple[int, int]:
    """Batch norms and element-wise nodes, after every call of a local function is written out."""
    if model.functions:
        from onnx import inliner

        model = inliner.inline_local_functions(model)
    ops = list(live_nodes(model.graph, defaults=model.ir_version >= 4))
    return ops.count(NORM), sum(ops.count(op) for op in ELEMENTWISE)


def interface(model: onnx.ModelProto) -> dict[str, Any]:
    """What a caller sees. Before IR 4 every weight had to be listed as an input; since then those
    listed are defaults, which a caller may override.
    """
    weights = {tensor.name for tensor in model.graph.initializer}
    listed = model.graph.input
    return {
        "inputs": [str(value) for value in listed if value.name not in weights],
        "defaults": [
            str(value) for value in listed if value.name in weights and model.ir_version >= 4
        ],
        "outputs": [str(value) for value in model.graph.output],
        "metadata": {prop.key: prop.value for prop in model.metadata_props},
        "opset": [each.version for each in model.opset_import if each.domain in ("", "ai.onnx")],
        "ir": model.ir_version,
        "name": model.graph.name,
        "producer": model.producer_name,
    }


def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    """ONNX Runtime with its own optimizations off, on one thread."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def run(model: onnx.ModelProto, feeds: Mapping[str, Array]) -> list[Array]:
    outputs: list[Array] = session(model).run(None, dict(feeds))
    return outputs


class Judge:
    """Errors of models of one entry against its float64 twin, over a few random inputs.

    Attributes
    ----------
    exact : list of lists of arrays
        The twin's outputs, input by input.
    own : list of floats
        The unfolded model's largest error, output by output.
    """

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        twin = entry.build(double=True)
        self.feeds = [entry.feeds(seed) for seed in SEEDS]
        self.exact = [run_double(twin, feeds) for feeds in self.feeds]
        self.own = self.errors(entry.build())

    def errors(self, model: onnx.ModelProto) -> list[float]:
        """The largest absolute error of every output; infinite where a shape differs or NaNs do."""
        runner = session(model)
        found = [runner.run(None, dict(feeds)) for feeds in self.feeds]
        return [
            max(distance(y[number], exact[number]) for y, exact in zip(found, self.exact))
            for number in range(len(self.exact[0]))
        ]

    def sizes(self) -> list[float]:
        """The largest magnitude of every output."""
        return [
            max(float(np.abs(exact[number]).max()) for exact in self.exact)
            for number in range(len(self.exact[0]))
        ]

    def limits(self) -> list[float]:
        """Twice the unfolded model's own error, and the floor."""
        eps = float(np.finfo(self.entry.storage).eps)
        return [2 * own + FLOOR * eps * size for own, size in zip(self.own, self.sizes())]


def distance(y: Array, exact: Array) -> float:
    if y.shape != exact.shape or not np.isfinite(y).all():
        return float("inf")
    return float(np.abs(y.astype(np.float64) - exact).max())
