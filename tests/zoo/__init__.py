"""A zoo of small ONNX models for folding: what each must come down to, and float64 twins as oracle.

``MODELS[name]``, and ``DEEP[name]`` of three hundred layers, has ``build()``, ``feeds(seed)`` and
``minimum``. One module a family; nothing here folds.

To add a model: a function that fills a `Graph`, in the module of its family, under ``@model(...)``
with the norms and element-wise nodes that must be left and the reason. Its tests and its row in the
benchmark follow.
"""

from . import (  # noqa: F401 (each adds its models)
    attention,
    borders,
    concatenated,
    control,
    deep,
    exporters,
    generative,
    kept,
    linear,
    mlp,
    mobile,
    residual,
    sequence,
    shared,
    stored,
    twice,
    volumes,
)
from .registry import DEEP, MODELS, Entry, Minimum

__all__ = ["DEEP", "MODELS", "Entry", "Minimum"]
