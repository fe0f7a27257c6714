"""Which statistics a trained net keeps: those that training left, or those of the training part.

Decides by the training loss alone; the test part is scored for the report only. What a net is worth then is
outcome.py's.
"""

from __future__ import annotations

import math
from typing import Any

from ..layers import Layer
from ..statistics import recalibrate
from ..training.data import Dataset
from .inputs import score

__all__ = ["choose_statistics", "rises"]

SHARE, LEAST = 0.05, 1e-3
"""A rise of the training loss by more than this share of it, and by more than so much, is more than noise."""


def choose_statistics(net: Layer, data: Dataset, *, measure: bool) -> tuple[Layer, dict[str, Any]]:
    """The net to keep, and what was compared.

    Population statistics stay unless the loss on the training part rises with them by more than 5 % and by more than
    1e-3 (of a regression: 1e-3 of the targets' variance). They usually help, but a net such as one with batch
    renormalization was trained for its running statistics. ``measure=False`` keeps these unseen.
    """
    before = score(net, data.x_test, data.y_test, data.task)
    section: dict[str, Any]
    if not measure:
        change = recalibrate(net, data.x_train, method="ema")
        section = {"kept": "running", "train": None, "before": before, "after": before}
        return net, {**change.to_dict(), **section}
    renewed = net.copy()
    change = recalibrate(renewed, data.x_train, method="sequential")
    after = score(renewed, data.x_test, data.y_test, data.task)
    train: dict[str, Any] = {
        "running": score(net, data.x_train, data.y_train, data.task),
        "population": score(renewed, data.x_train, data.y_train, data.task),
    }
    least = LEAST
    if data.task != "classification":
        least *= float(data.y_train.var(axis=0, dtype="float64").mean())
    running = not change.layers or rises(
        train["running"]["loss"], train["population"]["loss"], least
    )
    section = {
        "kept": "running" if running else "population",
        "train": train,
        "before": before,
        "after": after,
    }
    return (net if running else renewed), {**change.to_dict(), **section}


def rises(before: float, after: float, least: float = LEAST) -> bool:
    """Whether a loss is higher by more than noise; one that is no number is higher than any."""
    if not math.isfinite(before):
        return False
    return not after - before <= max(SHARE * abs(before), least)
