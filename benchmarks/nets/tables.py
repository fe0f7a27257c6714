"""The README's tables of whole nets, from results/train.json and results/infer.json. Losing rows too."""

from __future__ import annotations

import math
from typing import Any

from . import ratios

Row = dict[str, Any]
# column -> its contenders, which share a cell
COLUMNS = {
    "bncore": ("bncore", "bncore channels-last"),
    "bncore, layer by layer": ("bncore layers", "bncore layers channels-last"),
    "PyTorch": ("torch", "torch channels-last"),
    "torch.compile": ("torch compile",),
    "JAX": ("jax",),
    "ONNX Runtime": ("onnxruntime", "onnxruntime bound"),
    "scikit-learn, without norms": ("sklearn (no norm)",),
}
WHAT = {
    "train": "A training step: forward, loss, backward, SGD with momentum; all with the same weights and batch, whose first "
    "losses agree to 1e-4. ",
    "infer": "Inference with norms folded away, for all libraries; outputs agree to 1e-4 of the largest with those of the "
    "net with its norms in float64. ONNX Runtime: as it is / on arrays bound before. ",
}


def render(what: str, results: dict[str, Any], where: str) -> str:
    """Where and how it was measured, the summary, times, memory."""
    rows = results["cases"]
    head = (
        f"{WHAT[what]}{where}. float32, ms, medians of contenders in turns in one process; images with channels first / last. "
        "Last column: the best peer's time over the best of bncore's; **bold**: the peer is faster."
    )
    return "\n".join([head, "", summary(rows), "", *times(rows), "", *memory(rows)]).rstrip()


def summary(rows: list[Row]) -> str:
    found = [ratio for ratio in map(best_ratio, rows) if ratio is not None]
    if not found:
        return "No peer was there to compare with."
    mean = math.exp(sum(map(math.log, found)) / len(found))
    return (
        f"The best peer takes {mean:.1f} times as long as bncore (geometric mean of {len(found)} rows); "
        f"a peer is faster in {sum(ratio < 1 for ratio in found)} of them."
    )


def best_ratio(row: Row) -> float | None:
    name = ratios.fastest(row, ratios.ours(row))
    return None if name is None else ratios.ratio(row, name)


def times(rows: list[Row]) -> list[str]:
    columns = [title for title, names in COLUMNS.items() if any(present(r, names) for r in rows)]
    titles = ["net, batch", "threads", *columns, "best peer / bncore"]
    lines = [line(titles), "|---|" + "---:|" * (len(titles) - 1)]
    for row in rows:
        cells = [times_of(row, COLUMNS[title]) for title in columns]
        lines.append(line([label(row), str(row["threads"]), *cells, verdict(row)]))
    return lines


def line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def label(row: Row) -> str:
    return f"{row['net']}, {row['batch']}"


def present(row: Row, names: tuple[str, ...]) -> list[str]:
    return [name for name in names if name in row["median_ms"] or name in row["failed"]]


def times_of(row: Row, names: tuple[str, ...]) -> str:
    return " / ".join(time(row, name) for name in present(row, names))


def time(row: Row, name: str) -> str:
    if name in row["failed"]:
        return "failed"
    return "wrong result" if name in row["wrong"] else digits(row["median_ms"][name])


def digits(ms: float) -> str:
    return f"{ms:.0f}" if ms >= 100 else f"{ms:.3g}"


def verdict(row: Row) -> str:
    """The ratio and whose it is."""
    ratio, best = best_ratio(row), ratios.fastest(row, ratios.peers(row))
    return "" if ratio is None else f"{emphasized(ratio)} ({best})"


def emphasized(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio >= 1 else f"**{ratio:.2f}**"


def memory(rows: list[Row]) -> list[str]:
    """Peaks and growth of the leanest of ours and of the peers; nothing where none was measured."""
    rows = [row for row in rows if row.get("memory")]
    if not rows:
        return []
    head = (
        "Memory of a process with one contender, MB: its peak, and how much of it came with the first steps (the first of "
        "which compiles what is compiled). In each column the least of bncore's and of the peers'."
    )
    titles = ["net, batch", "peak, bncore", "peer", "ratio", "growth, bncore", "peer", "ratio"]
    lines = [line(titles), "|---|" + "---:|" * (len(titles) - 1)]
    for row in rows:
        cells = [cell for which in ("peak", "growth") for cell in least(row, which)]
        lines.append(line([label(row), *cells]))
    return [head, "", *lines]


def least(row: Row, which: str) -> list[str]:
    """Ours, a peer's, and theirs over ours."""
    ours, theirs = (ratios.leanest(row, n, which) for n in (ratios.ours(row), ratios.peers(row)))
    cells = ["" if value is None else digits(value) for value in (ours, theirs)]
    return [*cells, emphasized(theirs / ours) if ours and theirs else ""]
