"""bncore through `bncore.functional`: the ordinary call ("user") and into arrays made before ("kernel").

Every operation but the statistics alone has ``out=``. With BENCH_TWIN it is the plain NumPy twin as a peer ("numpy"), whose
ordinary call alone is timed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from norms.cases import EPS, MOMENTUM
from norms.data import Data

import bncore as bn
from bncore import functional as F

from . import Contender


class Peer:
    version = bn.__version__

    def __init__(self, threads: int) -> None:
        self.limit = bn.threads(threads)
        self.limit.__enter__()
        self.twin = "BENCH_TWIN" in os.environ
        self.digests = not self.twin

    def contenders(self, data: Data) -> dict[str, Callable[[], Contender]]:
        if self.twin:
            return {"numpy": lambda: self._user(data)}
        found = {"bncore user": lambda: self._user(data)}
        if data.case.op != "statistics":
            found["bncore kernel"] = lambda: self._kernel(data)
        return found

    def forget(self) -> None:
        bn.pool.trim()

    def _user(self, data: Data) -> Contender:
        if data.case.op == "statistics":
            return Contender(
                lambda: F.statistics(data.x, axis=data.case.axis), lambda r: (r.mean, r.var)
            )
        run = calls(data)
        if "backward" in data.case.op:
            return Contender(run, gradients)
        return Contender(run, lambda r: (r[0],))

    def _kernel(self, data: Data) -> Contender:
        out = data.fresh()
        if "backward" not in data.case.op:
            return Contender(calls(data, out=out), lambda r: (r[0],))
        options: dict[str, Any] = {"out": out, "dweight": data.weight.copy()}
        if data.case.norm != "rms":
            options["dbias"] = data.bias.copy()
        return Contender(calls(data, **options), gradients)


def gradients(result: tuple[Any, ...]) -> tuple[Any, ...]:
    """Without those of what is not there."""
    return tuple(gradient for gradient in result if gradient is not None)


def calls(data: Data, **options: Any) -> Callable[[], Any]:
    """The case's operation; ``options`` are those of where to write."""
    case, x = data.case, data.x
    if case.norm == "batch":
        return batch(data, **options)
    forward, backward, parameters = (
        (F.layer_norm, F.layer_norm_backward, (data.weight, data.bias))
        if case.norm == "layer"
        else (F.rms_norm, F.rms_norm_backward, (data.weight,))
    )
    if case.direction == "forward":
        return lambda: forward(x, *parameters, eps=EPS, **options)
    saved, dy = forward(x, *parameters, eps=EPS)[1], data.dy
    return lambda: backward(dy, saved, **options)


def batch(data: Data, **options: Any) -> Callable[[], Any]:
    case, x, weight, bias = data.case, data.x, data.weight, data.bias
    mean, var = data.mean.copy(), data.var.copy()  # training writes to them
    common: dict[str, Any] = {"eps": EPS, "axis": case.axis}
    if case.op == "evaluation":
        return lambda: F.batch_norm(x, weight, bias, mean, var, training=False, **common, **options)
    if "relu" in case.op:
        common["activation"] = "relu"
    if "add" in case.op:
        common["residual"] = data.residual
    if "backward" in case.op:
        saved, dy = F.batch_norm(x, weight, bias, **common)[1], data.dy
        return lambda: F.batch_norm_backward(dy, saved, **options)
    return lambda: F.batch_norm(x, weight, bias, mean, var, momentum=MOMENTUM, **common, **options)
