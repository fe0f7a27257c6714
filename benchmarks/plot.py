"""Draws how long PyTorch takes, in units of bncore's time, over the size of the array, from the JSON of bench_norm.py.

python benchmarks/plot.py [--json benchmarks/results/norm.json] [--out benchmarks/results/norm.png]
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
LAYOUTS = {"(N, C)": "o", "NCHW": "s", "NHWC": "^"}
OPS = {
    "forward": "tab:blue",
    "forward+relu": "tab:cyan",
    "backward": "tab:orange",
    "evaluation": "tab:green",
}


def megabytes(case: dict[str, Any]) -> float:
    """Size of the input array."""
    return float(np.prod(case["shape"])) * np.dtype(case["dtype"]).itemsize / 1e6


def draw(results: dict[str, Any], out: Path) -> None:
    """One panel per number of threads; below the line at 1 PyTorch is faster."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    cases = [c for c in results["cases"] if {"bncore", "torch"} <= set(c["median_us"])]
    threads = sorted({c["threads"] for c in cases})
    figure, panels = pyplot.subplots(
        1, len(threads), figsize=(5.5 * len(threads), 4), sharey=True, squeeze=False
    )
    for panel, count in zip(panels[0], threads, strict=True):
        for case in (c for c in cases if c["threads"] == count):
            ratio = case["median_us"]["torch"] / case["median_us"]["bncore"]
            double = case["dtype"] == "float64"
            panel.plot(
                megabytes(case),
                ratio,
                LAYOUTS[case["layout"]],
                color=OPS[case["op"]],
                fillstyle="none" if double else "full",
            )
        panel.axhline(1, color="black", linewidth=0.8)
        panel.set(xscale="log", yscale="log", xlabel="size of x, MB")
        panel.set_yticks([0.5, 1, 2, 5, 10], ["0.5", "1", "2", "5", "10"])
        panel.minorticks_off()
        panel.set_title(f"{count} thread" + "s" * (count > 1))
    panels[0][0].set_ylabel("time of PyTorch / time of bncore")
    for op, colour in OPS.items():
        panels[0][-1].plot([], [], "o", color=colour, label=op)
    for layout, marker in LAYOUTS.items():
        panels[0][-1].plot([], [], marker, color="gray", label=layout)
    panels[0][-1].plot([], [], "o", color="gray", fillstyle="none", label="float64")
    panels[0][-1].legend(fontsize="small", loc="upper left", bbox_to_anchor=(1.01, 1))
    figure.tight_layout()
    figure.savefig(out, dpi=100)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, default=ROOT / "benchmarks/results/norm.json")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/norm.png")
    args = parser.parse_args()
    draw(json.loads(args.json.read_text(encoding="utf-8")), args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
