"""Masks over positions, or lengths, as the runs of valid positions that backends take.

Nothing is computed on the data here.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def valid_runs(mask: Any, shape: tuple[int, ...], axis: int) -> Array:
    """The valid positions of an array of ``shape`` (channel axis ``axis`` >= 0), in memory order.

    Parameters
    ----------
    mask : ndarray
        bool: True where a position counts; its shape is that of the array without the channel axis, or a leading part
        of it. Integers of shape (N,): how many positions from the front of each sample count.

    Returns
    -------
    ndarray of int64, shape (runs + 1, 2)
        (first position, valid positions before it) for every run, then (all positions, valid positions). A position
        is an index into the flattened axes other than the channel axis; a run ends where that axis interrupts memory.

    Raises
    ------
    TypeError
        If mask is not an array of bool or integers.
    ValueError
        If its shape does not fit, or a length is negative or too large.
    """
    positions = shape[:axis] + shape[axis + 1 :]
    after, total = prod(shape[axis + 1 :]), prod(positions)
    if not isinstance(mask, np.ndarray):
        mask = np.asarray(mask)
    if mask.dtype.kind in "iu":
        _judge_lengths(mask, positions)
        if total and (axis == 1 or after == 1):  # a sample's valid positions are one run
            item = np.flatnonzero(mask)
            per_step = prod(positions[2:])
            return _runs(
                item * (positions[1] * per_step), mask[item].astype(np.int64) * per_step, total
            )
        mask = np.arange(positions[1]) < mask[:, None]
    valid = _grid(mask, positions)
    if total == 0:
        return np.zeros((1, 2), np.int64)
    # where nothing follows the channels all positions are neighbours in memory, elsewhere those of one item are;
    # channels-first items are taken one by one even if each has a single position
    together = after == 1 and (axis != 1 or len(shape) == 2)
    rows = valid.reshape(1, total) if together else valid.reshape(-1, after)
    edges = np.diff(rows.view(np.int8), axis=1, prepend=np.int8(0), append=np.int8(0))
    item, column = np.nonzero(edges == 1)
    lengths = np.nonzero(edges == -1)[1] - column
    return _runs(item * rows.shape[1] + column, lengths, total)


def _runs(begins: Array, lengths: Array, total: int) -> Array:
    runs = np.empty((len(begins) + 1, 2), np.int64)
    runs[:-1, 0] = begins
    runs[-1, 0] = total
    runs[0, 1] = 0
    np.cumsum(lengths, out=runs[1:, 1])
    return runs


def _grid(mask: Array, positions: tuple[int, ...]) -> Array:
    """The mask as a contiguous bool array of shape `positions`."""
    if mask.dtype != np.bool_:
        raise TypeError(
            f"mask must be an array of bool (True: valid) or of integer lengths, got {mask.dtype}"
        )
    if mask.ndim == 0 or mask.shape != positions[: mask.ndim]:
        raise ValueError(
            f"mask must have shape {positions}, or a leading part of it, for this input, got {mask.shape}"
        )
    rest = (1,) * (len(positions) - mask.ndim)
    return np.ascontiguousarray(np.broadcast_to(mask.reshape(mask.shape + rest), positions))


def _judge_lengths(lengths: Array, positions: tuple[int, ...]) -> None:
    if len(positions) < 2:
        raise ValueError(
            "mask must be bool for input without a position axis beside samples and channels, got lengths"
        )
    if lengths.shape != positions[:1]:
        raise ValueError(
            f"mask must have shape {positions[:1]} if it holds lengths, got {lengths.shape}"
        )
    shortest, longest = (int(lengths.min()), int(lengths.max())) if lengths.size else (0, 0)
    if shortest < 0 or longest > positions[1]:
        wrong = shortest if shortest < 0 else longest
        raise ValueError(f"mask must hold lengths from 0 to {positions[1]}, got {wrong}")
