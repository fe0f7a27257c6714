"""Draws how bncore does against the best peer: norms, also against the speed of memory, by size; training and inference of nets;
folding of ONNX models.

python benchmarks/plot.py [--picture norm|train|infer|fold] [--json benchmarks/results/norm.json] [--out benchmarks/results/norm.png]
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from folds import picture as fold_picture
from nets import picture
from norms.figures import Row, case_of, form, fraction, ratio

ROOT = Path(__file__).resolve().parents[1]
MARKERS = {
    "channels-first": "s",
    "channels-last": "^",
    "(N, C)": "o",
    "LayerNorm": "D",
    "RMSNorm": "X",
}
COLOURS = {
    "forward": "tab:blue",
    "backward": "tab:orange",
    "evaluation": "tab:green",
    "statistics": "tab:purple",
}


def draw(results: dict[str, Any], out: Path) -> None:
    """Two panels: the ratio to the best peer, at kernel level, and the fraction of the roof; the most threads there are."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    threads = max(row["threads"] for row in results["cases"])
    rows = [row for row in results["cases"] if row["threads"] == threads]
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(12, 4.6))
    scatter(left, rows, lambda row: ratio(row, "kernel"))
    left.set(yscale="log", ylabel="time of the best peer / time of bncore")
    left.set_yticks([0.5, 1, 2, 5, 10, 20], ["0.5", "1", "2", "5", "10", "20"])
    scatter(right, rows, fraction)
    right.set(ylim=(0, None), ylabel="fraction of the roof")
    for panel in (left, right):
        panel.axhline(1, color="black", linewidth=0.8)
        panel.set(xscale="log", xlabel="size of x, MB")
        panel.minorticks_off()
    left.set_title(f"against the best peer, {threads} thread" + "s" * (threads > 1))
    right.set_title("against the speed of memory")
    for op, colour in COLOURS.items():
        right.plot([], [], "o", color=colour, label=op)
    for name, marker in MARKERS.items():
        right.plot([], [], marker, color="gray", label=name)
    right.plot([], [], "o", color="gray", fillstyle="none", label="fused with ReLU")
    right.plot([], [], ".", color="gray", label="random shape")
    right.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1.01, 1))
    figure.tight_layout()
    figure.savefig(out, dpi=100)


def scatter(panel: Any, rows: list[Row], value: Callable[[Row], float | None]) -> None:
    """One mark a row that has that value."""
    for row in rows:
        case, y = case_of(row), value(row)
        if y is None:
            continue
        panel.plot(
            case.nbytes / 1e6,
            y,
            MARKERS[form(case)],
            color=COLOURS[case.direction.partition("+")[0]],
            fillstyle="none" if "relu" in case.op else "full",
            markersize=3 if case.section == "random" else 6,
            alpha=0.8,
        )


# picture -> what draws it, from the results of that name
PICTURES: dict[str, Callable[[dict[str, Any], Path], None]] = {
    "norm": draw,
    "train": picture.draw,
    "infer": picture.draw,
    "fold": fold_picture.draw,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--picture", choices=PICTURES, default="norm")
    parser.add_argument("--json", type=Path, help="default: the results of the picture's name")
    parser.add_argument("--out", type=Path, help="default: beside them")
    args = parser.parse_args()
    source = args.json or ROOT / f"benchmarks/results/{args.picture}.json"
    target = args.out or ROOT / f"benchmarks/results/{args.picture}.png"
    PICTURES[args.picture](json.loads(source.read_text(encoding="utf-8")), target)
    return 0


if __name__ == "__main__":
    sys.exit(main())
