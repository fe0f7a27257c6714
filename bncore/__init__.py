"""bncore: fast, exact batch normalization for CPUs.

Names are imported when first used (PEP 562), so that ``import bncore`` costs little more than NumPy.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

# public name -> module that defines it; "" means the name is itself a submodule
_HOME = {
    "functional": "",
    "nets": "",
    "layers": "",
    "AvgPool": "bncore.layers",
    "BatchNorm": "bncore.layers",
    "BatchRenorm": "bncore.layers",
    "Concat": "bncore.layers",
    "Conv1d": "bncore.layers",
    "Conv2d": "bncore.layers",
    "ConvTranspose2d": "bncore.layers",
    "Dropout": "bncore.layers",
    "Flatten": "bncore.layers",
    "GELU": "bncore.layers",
    "GRU": "bncore.layers",
    "GlobalAvgPool": "bncore.layers",
    "GlobalMaxPool": "bncore.layers",
    "GroupNorm": "bncore.layers",
    "ImageRows": "bncore.layers",
    "InstanceNorm": "bncore.layers",
    "LSTM": "bncore.layers",
    "Layer": "bncore.layers",
    "LayerNorm": "bncore.layers",
    "LeakyReLU": "bncore.layers",
    "Linear": "bncore.layers",
    "MaxPool": "bncore.layers",
    "Pad": "bncore.layers",
    "RNN": "bncore.layers",
    "RMSNorm": "bncore.layers",
    "ReLU": "bncore.layers",
    "Residual": "bncore.layers",
    "Sequential": "bncore.layers",
    "SiLU": "bncore.layers",
    "Sigmoid": "bncore.layers",
    "Tanh": "bncore.layers",
    "seed": "bncore.layers",
    "folding": "",
    "lab": "",
    "load": "bncore.io",
    "load_meta": "bncore.io",
    "load_statistics": "bncore.io",
    "Diagnosis": "bncore.statistics",
    "diagnose": "bncore.statistics",
    "population": "bncore.statistics",
    "recalibrate": "bncore.statistics",
    "save": "bncore.io",
    "save_statistics": "bncore.io",
    "training": "",
    "data": "bncore.training",
    "schedules": "bncore.training",
    "Trainer": "bncore.training.trainer",
    "fit": "bncore.training.fitting",
    "evaluate": "bncore.training.evaluation",
    "predict": "bncore.training.evaluation",
    "History": "bncore.training.history",
    "EarlyStopping": "bncore.training.callbacks",
    "clip_gradients": "bncore.training.clipping",
    "CrossEntropy": "bncore.training.losses",
    "MSE": "bncore.training.losses",
    "BCEWithLogits": "bncore.training.losses",
    "SGD": "bncore.training.optimizers",
    "AdamW": "bncore.training.optimizers",
    "info": "bncore.backend",
    "pool": "",
    "threads": "bncore.thread_limits",
    "winograd": "bncore.winograd",
    "plan": "",
    "compile": "bncore.plan.inference",
    "use_backend": "bncore.backend",
    "FileFormatError": "bncore.support.errors",
}

__all__ = ["__version__", *sorted(_HOME)]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'bncore' has no attribute {name!r}")
    value = (
        importlib.import_module(f"bncore.{name}")
        if not home
        else getattr(importlib.import_module(home), name)
    )
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
