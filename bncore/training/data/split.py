"""Splits samples into two parts, reproducibly: stratified by class, or plain. Returns indices.

Copies no data.
"""

from __future__ import annotations

import numpy as np

from ...support import checks

__all__ = ["stratified_split", "train_test_split"]


def train_test_split(
    n: int, fraction: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Sorted indices of the larger and of the smaller part.

    The smaller holds ``round(fraction·n)`` samples, both at least one.
    """
    held = _held(n, fraction)
    order = rng.permutation(n)
    return np.sort(order[held:]), np.sort(order[:held])


def stratified_split(
    labels: np.ndarray, fraction: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Like :func:`train_test_split`, with every class in both parts in its own proportion.

    As far as whole samples go; the sizes of the parts are those of a plain split.

    Parameters
    ----------
    labels : array of integers, (n,)
        Class of each sample.
    fraction : float
        Share of the second part, between 0 and 1, exclusive.
    rng : numpy.random.Generator
        Decides which samples go where.

    Returns
    -------
    first, second : arrays of int64
        Sorted indices. A class of one sample stays in the first part.
    """
    n = len(labels)
    held = _held(n, fraction)
    _, positions, counts = np.unique(labels, return_inverse=True, return_counts=True)
    quota = fraction * counts
    share = np.minimum(np.floor(quota).astype(np.int64), counts - 1)
    # whole samples first, then what is missing goes to the largest remainders (Hamilton's method):
    # sizes come out exact
    room = counts - 1 - share
    for c in np.argsort(-(quota - share), kind="stable"):
        if share.sum() >= held:
            break
        share[c] += min(1, room[c])
    order = rng.permutation(n)
    # stable: within a class the permutation's order is kept
    by_class = order[np.argsort(positions[order], kind="stable")]
    starts = np.cumsum(counts) - counts
    second = np.concatenate([by_class[s : s + k] for s, k in zip(starts, share)])
    if not len(second):  # every class has one sample: stratification has nothing to offer
        return train_test_split(n, fraction, rng)
    first = np.setdiff1d(np.arange(n), second, assume_unique=True)
    return first, np.sort(second)


def _held(n: int, fraction: float) -> int:
    fraction = checks.finite(fraction, "fraction")
    if not 0.0 < fraction < 1.0:
        raise ValueError(
            f"fraction must be a number between 0 and 1, both exclusive, got {fraction}"
        )
    if n < 2:
        raise ValueError(f"at least 2 samples are needed to split them, got {n}")
    return min(max(round(fraction * n), 1), n - 1)
