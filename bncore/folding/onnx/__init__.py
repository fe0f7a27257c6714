"""Folding in ONNX files: the engine that rewrites a model, and around it reading, checking, comparing and writing.

Nothing here imports onnx or ONNX Runtime before it is used.
"""

from __future__ import annotations

from .engine import ModelFold, fold_model
from .fold_file import FileFold, Options, fold_file
from .inspect import inspect_model

__all__ = ["FileFold", "ModelFold", "Options", "fold_file", "fold_model", "inspect_model"]
