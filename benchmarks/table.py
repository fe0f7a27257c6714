"""Writes the tables of measurements in README.md and benchmarks/README.md from the JSON of bench_*.py, losing cases too.

python benchmarks/table.py [--table norm|rows|family|population|conv|train|infer|fold|lab] [--json benchmarks/results/norm.json] [--check]
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lab_table
from folds import tables as fold_tables
from nets import tables as net_tables
from norms import tables

ROOT = Path(__file__).resolve().parents[1]
# what a table stands between
MARKERS = {
    "norm": (
        "<!-- benchmark table: written by benchmarks/table.py -->",
        "<!-- end of benchmark table -->",
    ),
    "rows": (
        "<!-- every row of bench_norm.py: written by benchmarks/table.py -->",
        "<!-- end of every row of bench_norm.py -->",
    ),
    "family": (
        "<!-- benchmark table of the family: written by benchmarks/table.py -->",
        "<!-- end of benchmark table of the family -->",
    ),
    "population": (
        "<!-- benchmark table of statistics: written by benchmarks/table.py -->",
        "<!-- end of benchmark table of statistics -->",
    ),
    "conv": (
        "<!-- benchmark table of convolutions: written by benchmarks/table.py -->",
        "<!-- end of benchmark table of convolutions -->",
    ),
    "train": (
        "<!-- benchmark table of training steps: written by benchmarks/table.py -->",
        "<!-- end of benchmark table of training steps -->",
    ),
    "infer": (
        "<!-- benchmark table of inference: written by benchmarks/table.py -->",
        "<!-- end of benchmark table of inference -->",
    ),
    "fold": (
        "<!-- benchmark table of folding: written by benchmarks/table.py -->",
        "<!-- end of benchmark table of folding -->",
    ),
    "lab": (
        "<!-- table of the lab: written by benchmarks/table.py -->",
        "<!-- end of table of the lab -->",
    ),
}


def _where(results: dict[str, Any]) -> str:
    """The machine, its software, and the date."""
    machine = results["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return f"{machine['cpu']}, {machine['cpus']} CPUs, {machine['date']}; {versions}"


def render_norm(results: dict[str, Any]) -> str:
    return tables.readme(results, _where(results))


def render_rows(results: dict[str, Any]) -> str:
    return tables.full(results, _where(results))


def render_family(results: dict[str, Any]) -> str:
    """Where and how it was measured, the summary, and all rows behind a line to open."""
    head = (
        _where(results)
        + ". Medians in µs, contenders in turns in one process, every result checked against float64 first. "
        "GB/s counts the least possible traffic, beside a copy measured in the same run. "
        "**Bold**: the other one is faster."
    )
    rows = [
        "| operation | layout | shape | type | threads | bncore | PyTorch | NumPy | PyTorch / bncore | NumPy / bncore | GB/s (copy) |",
        "|---|---|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    rows += [_row(case) for case in results["cases"]]
    opened = f"<details><summary>All {len(results['cases'])} rows</summary>"
    return "\n".join(
        [head, "", _summary(results["cases"]), "", opened, "", *rows, "", "</details>"]
    )


# contender -> how the table of statistics calls it
READERS = {
    "bncore": "`bn.population(array)`",
    "bncore memmap": "`bn.population(memmap of a .npy file)`",
    "bncore weighted": "`bn.population(array, weights=...)`",
    "StandardScaler": "scikit-learn `StandardScaler().fit`",
    "numpy float32": "NumPy `mean`, `var`",
    "numpy float64": "NumPy `mean`, `var` in float64",
    "read numpy": "reading it once: NumPy",
    "read torch": "reading it once: PyTorch",
}


def render_population(results: dict[str, Any]) -> str:
    """Times of statistics as multiples of ours, and how wrong they are, one column a shape and number of threads."""
    cases = results["cases"]
    names = [
        f"{'×'.join(map(str, c['shape']))}, {c['threads']} thread{'s' * (c['threads'] > 1)}"
        for c in cases
    ]
    rows = [
        "| | " + " | ".join(names) + " | error of var |",
        "|---|" + "---:|" * (len(cases) + 1),
    ]
    for key, label in READERS.items():
        if key not in cases[0]["median_us"]:
            continue
        cells = [
            f"{c['median_us'][key] / 1e3:.1f} ms ({c['times_bncore'][key]:.2f})" for c in cases
        ]
        error = cases[0]["var_error"].get(key)
        rows.append(
            f"| {label} | {' | '.join(cells)} | {'' if error is None else f'{error:.0e}'} |"
        )
    head = (
        _where(results)
        + ". float32 at mean 1e4 and standard deviation 1; medians, contenders in turns in one process, "
        "in brackets as multiples of bncore's first row; the largest relative error of a variance."
    )
    return "\n".join([head, "", *rows])


def render_conv(results: dict[str, Any]) -> str:
    """One row a layer: PyTorch's time over ours, forward and backward, for each number of threads."""
    cases = results["cases"]
    columns = sorted(
        {(c["threads"], c["op"]) for c in cases}, key=lambda c: (c[0], c[1] != "forward")
    )
    layers: dict[str, dict[tuple[int, str], str]] = {}
    for case in cases:
        us = case["median_us"]
        cell = f"{us['bncore']:.0f} ({_ratio(us.get('torch'), us['bncore'])})"
        layers.setdefault(_layer(case), {})[case["threads"], case["op"]] = cell
    names = [f"{op}, {threads} thread{'s' * (threads > 1)}" for threads, op in columns]
    rows = ["| layer, batch | " + " | ".join(names) + " |", "|---|" + "---:|" * len(columns)]
    rows += [
        f"| {name} | {' | '.join(cells[c] for c in columns)} |" for name, cells in layers.items()
    ]
    head = (
        _where(results)
        + ". float32, channels last; µs, and in brackets PyTorch's time (its convolution operators, oneDNN) over ours; "
        "backward: both gradients. **Bold**: PyTorch is faster."
    )
    return "\n".join([head, "", _summary(cases), "", *rows])


def render_train(results: dict[str, Any]) -> str:
    return net_tables.render("train", results, _where(results))


def render_infer(results: dict[str, Any]) -> str:
    return net_tables.render("infer", results, _where(results))


def _layer(case: dict[str, Any]) -> str:
    size, k = case["size"], case["k"]
    stride = f", stride {case['stride']}" if case["stride"] > 1 else ""
    groups = ", depthwise" if case["groups"] == case["ci"] > 1 else ""
    return f"{k}×{k}, {case['ci']} → {case['co']}, {size}×{size}{stride}{groups}, {case['n']}"


def _summary(cases: list[dict[str, Any]]) -> str:
    """One sentence on all rows in which PyTorch was timed, with the number of those it wins."""
    ratios = [c["median_us"]["torch"] / c["median_us"]["bncore"] for c in cases if _both(c)]
    if not ratios:
        return "PyTorch was not there to compare with."
    mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
    faster = sum(ratio < 1 for ratio in ratios)
    return (
        f"PyTorch takes {mean:.1f} times as long as bncore (geometric mean of {len(ratios)} rows); "
        f"it is the faster one in {faster} of them."
    )


def _both(case: dict[str, Any]) -> bool:
    return {"bncore", "torch"} <= set(case["median_us"])


def _row(case: dict[str, Any]) -> str:
    us = case["median_us"]
    cells = [
        case["op"],
        case["layout"],
        "×".join(str(n) for n in case["shape"]),
        case["dtype"],
        str(case["threads"]),
        *(_time(us.get(name), name in case["wrong"]) for name in ("bncore", "torch", "numpy")),
        _ratio(us.get("torch"), us.get("bncore")),
        _ratio(us.get("numpy"), us.get("bncore")),
        _rate(case["gb_per_s"].get("bncore"), case["copy_gb_per_s"]),
    ]
    return "| " + " | ".join(cells) + " |"


def _time(us: float | None, wrong: bool) -> str:
    if wrong:
        return "wrong result"
    return "" if us is None else f"{us:.0f}" if us >= 100 else f"{us:.1f}"


def _ratio(other: float | None, ours: float | None) -> str:
    if other is None or ours is None:
        return ""
    text = f"{other / ours:.2f}"
    return text if other >= ours else f"**{text}**"


def _rate(ours: float | None, copy: float) -> str:
    return "" if ours is None else f"{ours:.0f} ({copy:.0f})"


def replace(text: str, table: str, begin: str, end: str) -> str:
    """The text with everything between the markers replaced."""
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"the markers {begin!r} and {end!r} are not there")
    return f"{before}{begin}\n{table}\n{end}{after}"


# table -> what makes it, of which results, and the file it stands in
TABLES: dict[str, tuple[Callable[[dict[str, Any]], str], str, str]] = {
    "norm": (render_norm, "norm.json", "README.md"),
    "rows": (render_rows, "norm.json", "benchmarks/README.md"),
    "family": (render_family, "family.json", "README.md"),
    "population": (render_population, "population.json", "README.md"),
    "conv": (render_conv, "conv.json", "README.md"),
    "train": (render_train, "train.json", "README.md"),
    "infer": (render_infer, "infer.json", "README.md"),
    "fold": (fold_tables.render, "fold.json", "README.md"),
    "lab": (lab_table.render, "lab.json", "README.md"),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--table", choices=TABLES, default="norm")
    parser.add_argument("--json", type=Path, help="default: that of the table")
    parser.add_argument("--readme", type=Path, help="default: the file the table stands in")
    parser.add_argument(
        "--check",
        action="store_true",
        help="only say whether the README is up to date (exit 1 if not)",
    )
    args = parser.parse_args()
    render, file, target = TABLES[args.table]
    source = args.json or ROOT / "benchmarks/results" / file
    readme = args.readme or ROOT / target
    old = readme.read_text(encoding="utf-8")
    table = render(json.loads(source.read_text(encoding="utf-8")))
    new = replace(old, table, *MARKERS[args.table])
    if args.check:
        if new != old:
            print(
                f"{readme.name}: its table is not what benchmarks/table.py makes of the results",
                file=sys.stderr,
            )
        return int(new != old)
    readme.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
