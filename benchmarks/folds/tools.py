"""The contenders: for every tool a function that imports it and gives ``fold(model) -> model``.

Each is called as its documentation says, with the passes that are about batch norms on. No judging
here.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import onnx

Fold = Callable[[onnx.ModelProto], onnx.ModelProto]
LEVELS = frozenset({"backward", "forward", "relu"})
PACKAGES = ("onnx", "onnxruntime", "onnxoptimizer", "onnxslim", "onnxscript")


def bncore() -> Fold:
    from bncore.folding.onnx import engine, store

    def fold(model: onnx.ModelProto) -> onnx.ModelProto:
        engine.fold_model(model, store.Store(), levels=LEVELS)
        return model

    return fold


def onnxruntime_basic() -> Fold:
    import onnxruntime

    def fold(model: onnx.ModelProto) -> onnx.ModelProto:
        with tempfile.TemporaryDirectory() as folder:
            options = onnxruntime.SessionOptions()
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
            options.optimized_model_filepath = str(Path(folder) / "model.onnx")
            onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
            return onnx.load(options.optimized_model_filepath)

    return fold


def onnxoptimizer_conv() -> Fold:
    import onnxoptimizer

    return lambda model: onnxoptimizer.optimize(model, ["fuse_bn_into_conv"])


def onnxoptimizer_all() -> Fold:
    import onnxoptimizer

    return lambda model: onnxoptimizer.optimize(model)


def onnxslim() -> Fold:
    import onnxslim as package

    return lambda model: package.slim(model)


def onnxscript() -> Fold:
    from onnxscript import optimizer, rewriter

    return lambda model: rewriter.rewrite(optimizer.optimize(model))


TOOLS: dict[str, Callable[[], Fold]] = {
    "bncore": bncore,
    "onnxruntime basic": onnxruntime_basic,
    "onnxoptimizer fuse_bn_into_conv": onnxoptimizer_conv,
    "onnxoptimizer": onnxoptimizer_all,
    "onnxslim": onnxslim,
    "onnxscript": onnxscript,
}


def versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
