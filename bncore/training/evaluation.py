"""A net's answers and how good they are, in evaluation mode and batch by batch.

Changes nothing of the net.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import numpy as np

from ..layers import Layer
from . import losses
from .batches import batch_borders

__all__ = ["evaluate", "evaluating", "predict"]


@contextmanager
def evaluating(net: Layer) -> Iterator[Layer]:
    """The net in evaluation mode, every layer back in its own mode afterwards.

    A net that is in evaluation mode already is not touched, so that several threads may evaluate it
    at once.
    """
    modes = [(layer, layer.training, layer.keeps) for _, layer in net.named_layers()]
    if not any(training or keeps for _, training, keeps in modes):
        yield net
        return
    net.eval()
    try:
        yield net
    finally:
        for layer, training, keeps in modes:
            layer.training, layer.keeps = training, keeps


def predict(net: Layer, x: np.ndarray, *, batch_size: int = 256) -> np.ndarray:
    """The net's output for all of x, shape (n, ...), computed in evaluation mode in batches of at most ``batch_size``.

    The net is put into evaluation mode and back; errors are those of its layers.
    """
    borders = batch_borders(len(x), batch_size)
    with evaluating(net):
        if len(borders) < 3:
            return net(x)
        return np.concatenate([net(x[a:b]) for a, b in pairwise(borders)])


def evaluate(
    net: Layer,
    x: np.ndarray,
    y: np.ndarray,
    loss: str | losses.Loss | losses.LossFunction = "cross_entropy",
    *,
    batch_size: int = 256,
) -> dict[str, float]:
    """Mean loss over all samples, and accuracy where the loss knows what a right answer is.

    Parameters
    ----------
    net : Layer
        Put into evaluation mode and back; its values do not change.
    x, y : arrays
        Samples first, as many of one as of the other, at least one.
    loss : str, Loss or callable
        As for :class:`bncore.Trainer`.
    batch_size : int
        Only how much is computed at a time: without influence beyond rounding.

    Returns
    -------
    dict
        ``loss`` and, for cross-entropy and binary cross-entropy, ``accuracy``.

    Raises
    ------
    ValueError
        If x and y differ in length or are empty, for an unknown loss, or targets that do not fit the net's output.
    """
    judge = losses.resolve(loss)
    if len(x) != len(y) or not len(x):
        raise ValueError(
            f"y must have as many targets as x has samples, and at least one, got {len(y)} "
            f"for {len(x)}"
        )
    borders = batch_borders(len(x), batch_size)
    total = right = 0.0
    known = True
    with evaluating(net):
        for a, b in pairwise(borders):
            pred = net(x[a:b])
            total += judge.value(pred, y[a:b]) * (b - a)
            accuracy = judge.accuracy(pred, y[a:b])
            known = known and accuracy is not None
            right += (accuracy or 0.0) * (b - a)
    result = {"loss": total / len(x)}
    if known:
        result["accuracy"] = right / len(x)
    return result
