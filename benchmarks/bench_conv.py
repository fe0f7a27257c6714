"""Single convolutions, forward and backward, against PyTorch (oneDNN, channels last): the layers of the reference nets and some more.

Every contender computes on channels-last arrays; results of two images are checked against float64 first, PyTorch's against
ours. Contenders take turns in one process, with a
pause before each, so that no pool of threads spins beside the next one; medians. Run it with nothing else on the machine:

    python benchmarks/bench_conv.py --json benchmarks/results/conv.json
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from timing import save

import bncore as bn
from bncore import functional as F

try:
    import torch
except ImportError:
    torch = None

Call = Callable[[], Any]
PAUSE, BLOCK = 0.03, 0.01  # seconds before a turn; of a turn's calls at least


@dataclass(frozen=True)
class Layer:
    """Square images and kernels, padding k // 2."""

    n: int
    ci: int
    co: int
    size: int
    k: int
    stride: int = 1
    groups: int = 1

    def __str__(self) -> str:
        kind = f"/{self.stride}" if self.stride > 1 else ""
        kind += f" groups {self.groups}" if self.groups > 1 else ""
        return (
            f"{self.k}x{self.k} {self.ci}->{self.co} {self.size}x{self.size}{kind} batch {self.n}"
        )


LAYERS = (
    Layer(64, 1, 16, 28, 3),
    Layer(64, 16, 32, 28, 3, 2),
    Layer(64, 32, 64, 14, 3, 2),
    Layer(128, 3, 16, 32, 3),
    Layer(128, 16, 16, 32, 3),
    Layer(128, 16, 32, 32, 3, 2),
    Layer(128, 32, 32, 16, 3),
    Layer(128, 32, 64, 16, 3, 2),
    Layer(128, 64, 64, 8, 3),
    Layer(128, 64, 128, 16, 1),
    Layer(64, 16, 32, 14, 5),
    Layer(64, 64, 64, 16, 3, groups=64),
    Layer(1, 64, 64, 56, 3),
    Layer(1, 3, 64, 224, 7, 2),
    Layer(32, 33, 50, 15, 3),
)


def bncore_calls(layer: Layer, x: Any, weight: Any, dy: Any) -> dict[str, Call]:
    options = {"stride": layer.stride, "padding": layer.k // 2, "groups": layer.groups, "axis": -1}
    _, saved = F.conv2d(x, weight, **options)
    return {
        "forward": lambda: F.conv2d(x, weight, **options),
        "backward": lambda: F.conv2d_backward(dy, saved)[:2],
    }


def torch_calls(layer: Layer, x: Any, weight: Any, dy: Any) -> dict[str, Call]:
    """The operators themselves: autograd's own cost is not what is asked."""
    tx, tdy = (torch.from_numpy(a).permute(0, 3, 1, 2) for a in (x, dy))
    tw = torch.from_numpy(weight).contiguous(memory_format=torch.channels_last)
    pads, strides = [layer.k // 2] * 2, [layer.stride] * 2
    where = (None, strides, pads, [1, 1], False, [0, 0], layer.groups)
    backward = torch.ops.aten.convolution_backward.default
    return {
        "forward": lambda: torch.ops.aten.convolution.default(tx, tw, *where),
        "backward": lambda: backward(tdy, tx, tw, *where, [True, True, False])[:2],
    }


def disagreement(op: str, ours: Any, theirs: Any) -> float:
    """Of y, or of dx and dweight: the largest difference, relative to the largest magnitude."""
    pairs = [(ours[0], theirs[0])] if op == "forward" else zip(ours, theirs)
    return max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in pairs)


def of_torch(result: Any) -> list[Any]:
    """PyTorch's y, or dx and dweight, laid out as ours."""
    if torch.is_tensor(result):
        return [result.permute(0, 2, 3, 1).numpy()]
    return [result[0].permute(0, 2, 3, 1).numpy(), result[1].numpy()]


def error(layer: Layer, op: str, arrays: list[Any]) -> float:
    """Of ours, for two images, against the NumPy twin in float64."""
    x, weight, dy = arrays[0][:2], arrays[1], arrays[2][:2]
    ours = bncore_calls(layer, x, weight, dy)[op]()
    with bn.use_backend("numpy"):
        exact = bncore_calls(layer, *(a.astype(np.float64) for a in (x, weight, dy)))[op]()
    return disagreement(op, ours, exact)


def turn(call: Call) -> float:
    """Seconds of a call, after a pause and a call that does not count."""
    time.sleep(PAUSE)
    call()
    start, calls = time.perf_counter(), 0
    while time.perf_counter() - start < BLOCK or calls == 0:
        call()
        calls += 1
    return (time.perf_counter() - start) / calls


def measure(layer: Layer, threads: int, rounds: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((layer.n, layer.size, layer.size, layer.ci), dtype=np.float32)
    shape = (layer.co, layer.ci // layer.groups, layer.k, layer.k)
    weight = rng.standard_normal(shape, dtype=np.float32)
    size = (layer.size - 1) // layer.stride + 1  # kernels are odd
    dy = rng.standard_normal((layer.n, size, size, layer.co), dtype=np.float32)
    contenders = {"bncore": bncore_calls(layer, x, weight, dy)}
    if torch is not None:
        contenders["torch"] = torch_calls(layer, x, weight, dy)
    rows = []
    for op in ("forward", "backward"):
        calls = {name: found[op] for name, found in contenders.items()}
        wrong = error(layer, op, [x, weight, dy])
        if wrong > 1e-5:
            raise RuntimeError(f"{op} of {layer}: off by {wrong:.1e}")
        if torch is not None:
            apart = disagreement(op, calls["bncore"](), of_torch(calls["torch"]()))
            if apart > 1e-4:  # two orders of long sums
                raise RuntimeError(f"{op} of {layer}: PyTorch's result differs by {apart:.1e}")
        times: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(rounds):
            for name, call in calls.items():
                times[name].append(turn(call))
        us = {name: 1e6 * statistics.median(values) for name, values in times.items()}
        rows.append(
            {**asdict(layer), "op": op, "threads": threads, "median_us": us, "error": wrong}
        )
    return rows


def show(layer: Layer, rows: list[dict[str, Any]]) -> None:
    parts = []
    for row in rows:
        us = row["median_us"]
        ratio = f" (x{us['torch'] / us['bncore']:.2f})" if "torch" in us else ""
        parts.append(f"{row['op']} " + ", ".join(f"{k} {v:.0f}" for k, v in us.items()) + ratio)
    print(f"{rows[0]['threads']}T {layer}: us: " + " | ".join(parts), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the results here")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, bn.info().get("threads", 1)])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--quick", action="store_true", help="small batches, once: does it run?")
    parser.add_argument("--direct", action="store_true", help="without Winograd's way")
    args = parser.parse_args()
    if torch is None:
        print("PyTorch is not installed (pip install 'bncore[bench]')", file=sys.stderr)
    layers = [replace(layer, n=2) for layer in LAYERS[::4]] if args.quick else LAYERS
    rows = []
    for threads in sorted(set(args.threads)):
        if torch is not None:
            torch.set_num_threads(threads)
        with bn.threads(threads), bn.winograd(not args.direct):
            for layer in layers:
                rows += measure(layer, threads, 1 if args.quick else args.rounds)
                show(layer, rows[-2:])
    save(args.json, cases=rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
