"""A diagnosis as text: tables of what was measured, the verdict in words."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import numpy as np

from ...support.table import table
from .limits import GAP, GAP_SHOWN
from .words import distance, named, value

if TYPE_CHECKING:
    from .diagnosis import Diagnosis

__all__ = ["report", "verdict"]

WIDTH = 110


def report(diagnosis: Diagnosis) -> str:
    """Tables and verdict."""
    parts = [_head(diagnosis)]
    if diagnosis.norms:
        parts += [_distances(diagnosis), _noise(diagnosis), _dropout(diagnosis), _scores(diagnosis)]
    if diagnosis.skipped:
        skipped = [f"  {named(path)}: {why}" for path, why in diagnosis.skipped]
        parts.append("\n".join(["left alone", *skipped]))
    return "\n\n".join([*filter(None, parts), verdict(diagnosis)])


def verdict(diagnosis: Diagnosis) -> str:
    """The findings and their repairs, gravest first; that there is nothing to do, if so."""
    if not diagnosis.norms:
        if diagnosis.skipped:
            return "verdict: no norm with running statistics to measure, see above for what was left alone"
        return (
            "verdict: no norm with running statistics, so training and evaluation normalize alike"
        )
    if diagnosis.healthy:
        lines = [_wrapped("", f"verdict: nothing to do. {_health(diagnosis)}")]
    else:
        lines = ["verdict"]
    for number, finding in enumerate(diagnosis.findings, 1):
        lines.append(_wrapped(f"  {number}. ", f"{finding.severity}: {finding.text}"))
        what = "remark" if finding.severity == "note" else "repair"
        lines.append(_wrapped("     ", f"{what}: {finding.advice}."))
    return "\n".join(lines)


def _wrapped(start: str, text: str) -> str:
    """A paragraph of lines that a terminal and a page can hold."""
    filled = textwrap.fill(
        text.replace(" %", "\u00a0%"),
        WIDTH,
        initial_indent=start,
        subsequent_indent=" " * max(len(start), 2),
        break_long_words=False,
        break_on_hyphens=False,
    )
    return filled.replace("\u00a0", " ")


def _health(diagnosis: Diagnosis) -> str:
    running, right = diagnosis.score("running"), diagnosis.score(diagnosis.method)
    if running.gap >= GAP:  # a gap that is nothing to repair; a note says why
        return "Keep the running statistics."
    worst = max(diagnosis.norms, key=lambda n: n.from_population.size)
    numbers = distance(worst.from_population)
    if running.gap <= GAP_SHOWN:
        return (
            f"The running statistics are those of the population: outputs agree to {100 * running.gap:.2g} % of "
            f"their spread, and the farthest, {named(worst.path)}, are {numbers}."
        )
    answers = f"outputs move by {100 * running.gap:.1f} % of their spread"
    if running.loss is not None:
        answers = f"{value(running)} becomes {value(right)} ({answers})"
    return (
        f"Recalibrated, {answers}; the farthest running statistics, {named(worst.path)}, are {numbers}, "
        "which is usual after training."
    )


def _head(diagnosis: Diagnosis) -> str:
    count = len(diagnosis.norms)
    norms = "1 norm" if count == 1 else f"{count} norms"
    size = diagnosis.samples / max(diagnosis.batches, 1)
    drawn = "random batches" if diagnosis.random_batches else "batches as they came"
    return f"diagnosis of {norms} on {diagnosis.samples} samples in {diagnosis.batches} {drawn} of {size:.0f}"


def _distances(diagnosis: Diagnosis) -> str:
    rows: list[list[str]] = [
        ["norm", "channels", "from batch: mean", "variance", f"from {diagnosis.method}: mean", "variance", "closes", "opens"]
    ]  # fmt: skip
    shown = any(norm.closes is not None for norm in diagnosis.norms)
    for norm in diagnosis.norms:
        cells = [named(norm.path), str(norm.channels)]
        for far in (norm.from_batch.to_dict(), norm.from_population.to_dict()):
            cells.append(f"{far['mean_median']:.2f}, {far['mean_max']:.2f}")
            cells.append(
                f"{_ratio(far['variance_min'])}, {_ratio(far['variance_median'])}, {_ratio(far['variance_max'])}"
            )
        cells += [_share(norm.closes), _share(norm.opens)]
        rows.append(cells)
    lines = [
        "running statistics: distance of means in standard deviations (median, max over channels), ratio of variances "
        "(min, median, max)"
    ]
    if shown:
        lines[0] += (
            ";\nof the gap in the outputs: what population statistics in this norm alone close, what running ones in it alone open"
        )
    counts = [
        f"{named(norm.path)} {len(norm.from_batch.constant)} of {norm.channels}"
        for norm in diagnosis.norms
        if norm.from_batch.constant
    ]
    if counts:
        lines[0] += f";\nconstant channels left out: {', '.join(counts)}"
    return "\n".join([*lines, table([row if shown else row[:-2] for row in rows])])


def _noise(diagnosis: Diagnosis) -> str:
    rows = [
        ("norm", "values", "means", "if random", "if independent", "variances", "if independent")
    ]
    for norm in diagnosis.norms:
        if norm.noise is None:
            continue
        noise = norm.noise.to_dict()
        random = noise["mean_if_random"]
        rows.append(
            (
                named(norm.path),
                f"{noise['values_per_batch']:.0f}",
                f"{noise['mean']:.3f}",
                "" if random is None else f"{random:.3f}",
                f"{noise['mean_if_independent']:.3f}",
                f"{noise['variance']:.3f}",
                f"{noise['variance_if_independent']:.3f}",
            )
        )
    title = (
        "noise of batch statistics: scatter of means in standard deviations, of variances relative to them; what batches\n"
        "drawn at random would give, and values that are all independent (neighbouring positions are not)"
    )
    if len(rows) == 1:
        return "noise of batch statistics: not measured, that takes two batches"
    return f"{title}\n{table(rows)}"


def _dropout(diagnosis: Diagnosis) -> str:
    rows = [("norm", "dropout", "through", "measured", "predicted for it alone")]
    for norm in diagnosis.norms:
        if norm.dropout is None:
            continue
        effect = norm.dropout.to_dict()
        predicted = effect["predicted"]
        rows.append(
            (
                named(norm.path),
                ", ".join(f"{path} (p {p:g})" for path, p in norm.dropout.layers),
                ", ".join(norm.dropout.through) or "nothing",
                f"{effect['measured']:.3f}",
                norm.dropout.why if predicted is None else f"{predicted:.3f}",
            )
        )
    title = "dropout in front of norms: variance in evaluation over variance in training, median over channels"
    return "" if len(rows) == 1 else f"{title}\n{table(rows)}"


def _scores(diagnosis: Diagnosis) -> str:
    known = diagnosis.scores[0].loss is not None, diagnosis.scores[0].accuracy is not None
    head = [
        "statistics",
        "accuracy" if known[1] else "",
        "loss" if known[0] else "",
        "outputs move by",
    ]
    rows = [tuple(filter(None, head))]
    for score in diagnosis.scores:
        cells = [score.kind]
        if score.accuracy is not None:
            cells.append(f"{100 * score.accuracy:.2f} %")
        if score.loss is not None:
            cells.append(f"{score.loss:.4g}")
        rows.append((*cells, f"{100 * score.gap:.1f} %"))
    title = f"answers on {diagnosis.scored_samples} samples; how far outputs move is in their spread, from those with {diagnosis.method} statistics"
    return f"{title}\n{table(rows)}"


def _ratio(value: float) -> str:
    return f"{value:.2f}" if 0.01 <= abs(value) < 1000 or not np.isfinite(value) else f"{value:.1e}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.0f} %"
