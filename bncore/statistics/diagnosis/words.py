"""Numbers as the sentences of a diagnosis say them. Decides nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable

from .records import Distance, DropoutEffect, Noise
from .results import Score

__all__ = [
    "TITLES",
    "channels",
    "distance",
    "effect_of",
    "listed",
    "named",
    "percent",
    "scatter",
    "value",
]

TITLES = {
    "start": "Running statistics have not arrived",
    "stale": "Running statistics lag behind",
    "foreign": "Running statistics of something else",
    "scatter": "Running statistics scatter",
    "dropout": "Dropout in front of a norm",
    "batches": "Batch averages are not the population's",
    "stopped": "Channels stopped varying",
    "renorm": "Batch renormalization's running statistics",
    "not finite": "Running statistics are not finite",
    "mixing": "Batches are not mixed",
    "noise": "Batches are small",
    "unreachable": "Answers depend on the batch",
    "dead": "Dead channels",
    "constant": "Constant channels",
}
"""What the kinds of findings are called."""


def named(path: str) -> str:
    """A layer's path; the net itself has none."""
    return path or "(net)"


def listed(paths: Iterable[str]) -> str:
    """a, b and c; the first three of more than four."""
    names = [named(path) for path in paths]
    if len(names) > 4:
        return f"{', '.join(names[:3])} and {len(names) - 3} more"
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def percent(share: float) -> str:
    return f"{100 * share:.0f} %" if math.isfinite(share) else "without bound"


def value(score: Score) -> str:
    """Accuracy where it is known, else the loss."""
    if score.accuracy is not None:
        return f"accuracy {100 * score.accuracy:.1f} %"
    if score.loss is not None:
        return f"loss {score.loss:.4g}"
    return f"outputs moved by {percent(score.gap)} of their spread"


def distance(far: Distance) -> str:
    """up to 0.5 std off in mean and 0.3 to 1.2 times in variance (2 constant channels left out)"""
    numbers = far.to_dict()
    low, high = f"{numbers['variance_min']:.2g}", f"{numbers['variance_max']:.2g}"
    factor = low if low == high else f"{low} to {high}"
    return f"up to {numbers['mean_max']:.2g} std off in mean and {factor} times in variance{_left_out(far)}"


def _left_out(far: Distance) -> str:
    """How many channels a distance does not count, if any."""
    count = len(far.constant)
    return f" ({count} constant channel{'s' * (count > 1)} left out)" if count else ""


def scatter(noise: Noise) -> str:
    """means scatter by 0.5 std and variances by 70 %"""
    numbers = noise.to_dict()
    return f"means scatter by {numbers['mean']:.2f} std and variances by {percent(numbers['variance'])}"


def effect_of(dropout: DropoutEffect) -> str:
    """Which dropout, through what, and the variance ratio, measured and predicted."""
    layers = " and ".join(f"{path} Dropout({p:g})" for path, p in dropout.layers)
    through = f" through {', '.join(dropout.through)}" if dropout.through else ""
    ratio = dropout.to_dict()
    predicted = ratio["predicted"]
    theory = (
        f"not predicted: {dropout.why}"
        if predicted is None
        else f"predicted {predicted:.2f} for this dropout alone"
    )
    return (
        f"{layers}{through}: the variance in evaluation is {ratio['measured']:.2f} times that in training "
        f"({theory})"
    )


def channels(which: tuple[int, ...], total: int) -> str:
    """2 of 64 channels (5, 17)"""
    shown = ", ".join(map(str, which[:8])) + (", ..." if len(which) > 8 else "")
    return f"{len(which)} of {total} channels ({shown})"
