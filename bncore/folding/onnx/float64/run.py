"""A model run in float64: by ONNX Runtime where it has all kernels, else by onnx's reference evaluator with convolutions and
pooling of our own.

The evaluator is a second opinion: whoever uses it compares it with ONNX Runtime's float32 answers first.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..protos import messages
from ..runtime import CannotRun, Session
from ..store import DOUBLE
from ..twin import NoTwin, twin
from .operators import operators

if TYPE_CHECKING:
    from onnx import ModelProto

    from ..inputs import Feed
    from ..store import Store

__all__ = ["Float64Run", "float64_run"]

_LOOPS = ("Loop", "Scan")

Float64Run = Callable[["Feed"], dict[str, Any]]


def float64_run(
    model: ModelProto, store: Store, feed: Feed, *, time_limit: float
) -> tuple[Float64Run, str]:
    """A function that runs the model in float64, and what runs it. ``feed`` is tried first.

    Raises
    ------
    NoTwin
        None can be had; the message says why.
    """
    double = twin(model, store, DOUBLE)
    try:
        session = Session(double.SerializeToString(), time_limit=time_limit)
        session.run(as_float64(feed))
        return lambda inputs: session.run(as_float64(inputs)), "ONNX Runtime"
    except (CannotRun, ValueError):
        pass
    if any(
        part.op_type in _LOOPS for part in messages(double) if part.DESCRIPTOR.name == "NodeProto"
    ):
        raise NoTwin("loops take the evaluator too long")
    try:
        return _evaluator(double), "onnx's evaluator with kernels of our own"
    except Exception as error:  # anything at all: it is an opinion, not a judge
        raise NoTwin(f"{' '.join(str(error).split())[:200]}") from None


def as_float64(feed: Feed) -> Feed:
    return {
        name: array.astype(np.float64) if array.dtype.kind in "fV" else array
        for name, array in feed.items()
    }


def _evaluator(double: ModelProto) -> Float64Run:
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(double, new_ops=operators())
    names = [output.name for output in double.graph.output]

    def run(feed: Feed) -> dict[str, Any]:
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                return dict(zip(names, evaluator.run(None, as_float64(feed)), strict=True))
        except Exception as error:
            raise NoTwin(f"{' '.join(str(error).split())[:200]}") from None

    return run
