"""ONNX Runtime with all its optimizations: its ordinary run, and one on arrays that were bound before."""

from __future__ import annotations

import os

import numpy as np
import onnxruntime

from . import Contender, Makers
from .cases import CLASSES, Array, Case
from .onnx_graph import INPUT, OUTPUT, model


def train(case: Case) -> Makers:
    return {}


def infer(case: Case) -> Makers:
    return {"onnxruntime": lambda: plain(case), "onnxruntime bound": lambda: bound(case)}


def session(case: Case) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ["OMP_NUM_THREADS"])
    options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    made = model(case.folded(), (case.batch, *case.kind.shape))
    return onnxruntime.InferenceSession(made, options, providers=["CPUExecutionProvider"])


def plain(case: Case) -> Contender:
    made, feed = session(case), {INPUT: case.data()[0]}
    return Contender(lambda: made.run(None, feed), lambda outputs: outputs[0])


def bound(case: Case) -> Contender:
    made, (x, _) = session(case), case.data()
    y = np.empty((case.batch, CLASSES), np.float32)
    binding = made.io_binding()
    for bind, name, array in ((binding.bind_input, INPUT, x), (binding.bind_output, OUTPUT, y)):
        bind(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
    arrays = x, y  # the binding has their addresses, but does not keep them

    def call() -> Array:
        made.run_with_iobinding(binding)
        return arrays[1]

    return Contender(call, np.copy)
