"""The fixed cost of a call: batch norm on tiny arrays, through a layer and through `bncore.functional`, against PyTorch.

One thread, float32, contenders in turns; medians, and the ratios that count. Run it with nothing else on the machine:

    python benchmarks/bench_calls.py --json benchmarks/results/calls.json
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits
from timing import interleaved, save

import bncore as bn
from bncore import functional as F

try:
    import torch
except ImportError:
    torch = None

Call = Callable[[], Any]
SHAPES = ((4, 4), (32, 64), (128, 64), (2, 4, 2, 2), (1, 16, 8, 8))
OPS = ("forward", "evaluation", "backward")
GOALS_US = {  # of (32, 64)
    ("forward", "layer"): 0.9,
    ("forward", "functional"): 0.7,
    ("backward", "functional"): 0.7,
}


def bncore_calls(op: str, x: Any, dy: Any) -> dict[str, Call]:
    """The layer's backward needs a forward before it, so it has no call of its own here."""
    layer = bn.BatchNorm(x.shape[1])
    c = x.shape[1]
    weight, bias, mean, var = np.ones(c, "f"), np.zeros(c, "f"), np.zeros(c, "f"), np.ones(c, "f")
    if op == "backward":
        _, saved = F.batch_norm(x, weight, bias, mean, var, training=True)
        return {"functional": lambda: F.batch_norm_backward(dy, saved)}
    training = op == "forward"
    if not training:
        layer.eval()
    return {
        "layer": lambda: layer(x),
        "functional": lambda: F.batch_norm(x, weight, bias, mean, var, training=training),
    }


def torch_calls(op: str, x: Any, dy: Any) -> dict[str, Call]:
    """The operator as such, and, backward, what a user of autograd pays."""
    c = x.shape[1]
    tx, tdy = torch.from_numpy(x), torch.from_numpy(dy)
    weight, bias, mean, var = torch.ones(c), torch.zeros(c), torch.zeros(c), torch.ones(c)
    forward = torch.ops.aten.native_batch_norm.default
    if op != "backward":
        training = op == "forward"
        return {
            "torch aten": lambda: forward(tx, weight, bias, mean, var, training, 0.1, 1e-5),
        }
    _, m, inv_std = forward(tx, weight, bias, None, None, True, 0.1, 1e-5)
    backward = torch.ops.aten.native_batch_norm_backward.default
    inputs = [t.clone().requires_grad_() for t in (tx, weight, bias)]
    y = torch.nn.functional.batch_norm(inputs[0], None, None, *inputs[1:], training=True)
    wanted = [True, True, True]
    return {
        "torch aten": lambda: backward(tdy, tx, weight, None, None, m, inv_std, True, 1e-5, wanted),
        "torch autograd": lambda: torch.autograd.grad(y, inputs, tdy, retain_graph=True),
    }


def measure(op: str, shape: tuple[int, ...], seconds: float) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    x, dy = (rng.standard_normal(shape, dtype=np.float32) for _ in range(2))
    calls = bncore_calls(op, x, dy)
    if torch is not None:
        calls |= torch_calls(op, x, dy)
    times = interleaved(calls, seconds=seconds)
    return {
        "op": op,
        "shape": shape,
        "median_us": {name: t["median"] for name, t in times.items()},
        "min_us": {name: t["min"] for name, t in times.items()},
    }


def show(row: dict[str, Any]) -> None:
    us = row["median_us"]
    shown = "  ".join(f"{name} {value:6.2f}" for name, value in us.items())
    ratios = "  ".join(
        f"{name} / functional {us[name] / us['functional']:5.1f}"
        for name in us
        if name.startswith("torch")
    )
    print(f"{row['op']:11s} {row['shape']!s:14s} us: {shown}  | {ratios}", flush=True)


def summarize(rows: list[dict[str, Any]]) -> None:
    """Geometric means of PyTorch's time over ours, and the goals."""
    for name in ("torch aten", "torch autograd"):
        values = [
            r["median_us"][name] / r["median_us"]["functional"]
            for r in rows
            if name in r["median_us"]
        ]
        if values:
            mean = math.exp(sum(map(math.log, values)) / len(values))
            print(f"{name}: {mean:.1f} times our time (geometric mean), at least {min(values):.1f}")
    for row in rows:
        for (op, way), goal in GOALS_US.items():
            if row["op"] == op and row["shape"] == (32, 64):
                us = row["median_us"][way]
                verdict = "met" if us <= goal else "missed"
                print(f"(32, 64) {op} through {way}: {us:.2f} us, goal {goal} us: {verdict}")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the results here")
    parser.add_argument("--seconds", type=float, default=1.0, help="per row")
    args = parser.parse_args()
    if torch is None:
        print("PyTorch is not installed (pip install 'bncore[bench]')", file=sys.stderr)
    else:
        torch.set_num_threads(1)
    rows = []
    with threadpool_limits(1):
        for shape in SHAPES:
            for op in OPS:
                rows.append(measure(op, shape, args.seconds))
                show(rows[-1])
    summarize(rows)
    save(args.json, cases=rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
