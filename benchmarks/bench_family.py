"""Group and instance norm, and recurrent layers, against PyTorch and NumPy: forward and backward.

Every contender's result is checked against float64 first; one that is wrong is reported and not timed. Run it with
nothing else on the machine:

    python benchmarks/bench_family.py --json benchmarks/results/family.json    then    python benchmarks/table.py --table family
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from contest import Array, Call, Row, main, measure, relative_error, with_numpy

import bncore as bn
from bncore import functional as F

NORMS = ("group norm", "instance norm")
GROUPS = 8


@dataclass(frozen=True)
class Case:
    """One operation in one direction. Recurrent layers have as many units as features and take x as (N, L, features)."""

    kind: str  # one of NORMS, "lstm", "gru"
    direction: str  # "forward", "backward"; "step" is forward and backward of a recurrent layer
    shape: tuple[int, ...]
    dtype: str = "float32"

    @property
    def op(self) -> str:
        return f"{self.kind} {self.direction}"

    @property
    def layout(self) -> str:
        if self.kind not in NORMS:
            return "(N, L, C)"
        return "NCHW"

    @property
    def least_bytes(self) -> int:
        """The traffic nobody can avoid: forward reads x and writes y, backward reads x and dy and writes dx."""
        arrays = {"forward": 2, "backward": 3, "step": 5}[self.direction]
        return arrays * int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize


IMAGES = ((1, 16, 8, 8), (32, 64, 28, 28), (64, 256, 14, 14))
SEQUENCES = ((32, 28, 64), (64, 50, 256))


def cases(quick: bool) -> Iterator[Case]:
    images, sequences = (((2, 16, 6, 6),), ((4, 5, 8),)) if quick else (IMAGES, SEQUENCES)
    for kind in NORMS:
        for shape in images:
            for direction in ("forward", "backward"):
                yield Case(kind, direction, shape)
    for kind in ("lstm", "gru"):
        for shape in sequences:
            for direction in ("forward", "step"):
                yield Case(kind, direction, shape)
    yield Case("group norm", "forward", images[0], "float64")


class Data:
    """The arrays of a case, equal for every contender. ``state`` holds a recurrent layer's weights."""

    def __init__(self, case: Case) -> None:
        rng = np.random.default_rng(0)
        make: Callable[..., Array] = lambda *shape: rng.standard_normal(shape).astype(case.dtype)  # noqa: E731
        self.case = case
        self.x, self.dy = make(*case.shape), make(*case.shape)
        if case.kind in NORMS:
            self.x = self.x * 2 + 1
            self.weight = 1 + 0.1 * make(case.shape[1])
            self.bias = 0.1 * make(case.shape[1])
        else:
            self.state = recurrent(case, case.dtype).state_dict()


def recurrent(case: Case, dtype: str) -> Any:
    make = bn.LSTM if case.kind == "lstm" else bn.GRU
    return make(case.shape[2], case.shape[2], dtype=dtype, rng=0)


def bncore_call(data: Data, dtype: str | None = None) -> Call:
    """Through `bncore.functional` or a layer, on whatever backend is in force; ``dtype`` casts everything first."""
    case, dtype = data.case, dtype or data.case.dtype
    x, dy = data.x.astype(dtype), data.dy.astype(dtype)
    if case.kind not in NORMS:
        layer = recurrent(case, dtype)
        layer.load_state_dict({k: v.astype(dtype) for k, v in data.state.items()})
        if case.direction == "forward":
            layer.eval()
            return lambda: layer(x)
        return lambda: (layer(x), layer.backward(dy))[1]
    parameters = data.weight.astype(dtype), data.bias.astype(dtype)
    if case.kind == "group norm":
        forward, backward = (lambda: F.group_norm(x, GROUPS, *parameters)), F.group_norm_backward
    else:
        forward, backward = (lambda: F.instance_norm(x, *parameters)), F.instance_norm_backward
    if case.direction == "forward":
        return lambda: forward()[0]
    saved = forward()[1]
    return lambda: backward(dy, saved)[0]


def torch_call(data: Data, torch: Any) -> Call:
    """PyTorch's own kernels without autograd's bookkeeping where it has them, its best case; else autograd."""
    x, dy = torch.from_numpy(data.x.copy()), torch.from_numpy(data.dy.copy())
    if data.case.kind not in NORMS:
        return torch_recurrent(data, x, dy, torch)
    weight, bias = torch.from_numpy(data.weight.copy()), torch.from_numpy(data.bias.copy())
    if data.case.kind == "group norm":
        return torch_group(data.case, x, dy, weight, bias, torch)
    inputs = (x, weight, bias)
    run = lambda: torch.nn.functional.instance_norm(x, weight=weight, bias=bias)  # noqa: E731
    if data.case.direction == "forward":
        return run
    for tensor in inputs:
        tensor.requires_grad_()
    y = run()
    return lambda: torch.autograd.grad(y, inputs, dy, retain_graph=True)[0]


def torch_group(case: Case, x: Any, dy: Any, weight: Any, bias: Any, torch: Any) -> Call:
    aten, every = torch.ops.aten, [True] * 3
    forward, backward = aten.native_group_norm, aten.native_group_norm_backward
    sizes = x.shape[0], x.shape[1], x.shape[2] * x.shape[3], GROUPS
    if case.direction == "forward":
        return lambda: forward(x, weight, bias, *sizes, 1e-5)[0]
    _, mean, inv_std = forward(x, weight, bias, *sizes, 1e-5)
    return lambda: backward(dy, x, mean, inv_std, weight, *sizes, every)[0]


def torch_recurrent(data: Data, x: Any, dy: Any, torch: Any) -> Call:
    case = data.case
    make = torch.nn.LSTM if case.kind == "lstm" else torch.nn.GRU
    layer = make(case.shape[2], case.shape[2], batch_first=True, dtype=x.dtype)
    layer.load_state_dict({k: torch.from_numpy(v.copy()) for k, v in data.state.items()})
    if case.direction == "forward":

        def forward() -> Any:
            with torch.no_grad():
                return layer(x)[0]

        return forward
    x.requires_grad_()
    inputs = (x, *layer.parameters())
    return lambda: torch.autograd.grad(layer(x)[0], inputs, dy)[0]


def error_of(result: Any, reference: Array) -> float:
    """The error of an array or a tensor."""
    if not isinstance(result, np.ndarray):
        result = result.detach().numpy()
    return relative_error(result, reference)


def run_case(case: Case, torch: Any | None, seconds: float) -> Row:
    data = Data(case)
    contenders = {"bncore": bncore_call(data), "numpy": with_numpy(lambda: bncore_call(data))}
    if torch is not None:
        contenders["torch"] = torch_call(data, torch)
    reference = with_numpy(lambda: bncore_call(data, "float64"))()
    return measure(case, data.x, contenders, reference, error_of, torch, seconds)


if __name__ == "__main__":
    sys.exit(main(__doc__, cases, run_case))
