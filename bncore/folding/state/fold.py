"""Folds a state dict's pairs: which norm is taken by what, what is left of it, and the new tensors, one at a time.

Weights are computed again when they are fetched, so that no more than one of them is in memory at a time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...support import checks as arguments
from ...support.tensors import StateDict, TensorType
from .. import algebra
from ..algebra import Affine, Array64, FoldRefused
from ..report import Folded, FoldReport, Kept
from .absorb import Absorbed
from .check import Check
from .norms import read_norm, stored_remainder
from .pairs import Pair
from .sharing import Sharing
from .work import Side, Tolerance, Work

__all__ = ["KEEP_NORM", "StateFold", "fold_state"]

KEEP_NORM = ("identity", "drop")
Stored = np.ndarray[Any, Any]


@dataclass
class StateFold:
    """What folding made of a state dict.

    Attributes
    ----------
    state : StateDict
        The folded one; its values are computed when they are read, from the original's.
    report : FoldReport
    checks : dict
        Of every folded norm by path.
    off : dict
        How far the scale of a norm that stays as an identity is from 1, where it is.
    """

    state: StateDict
    report: FoldReport
    checks: dict[str, Check] = field(default_factory=dict)
    off: dict[str, float] = field(default_factory=dict)


def fold_state(
    state: StateDict,
    pairs: Iterable[Pair],
    kept: Iterable[Kept] = (),
    *,
    eps: float = 1e-5,
    keep_norm: str = "identity",
    rtol: float | None = None,
    atol: float | None = None,
    seed: int = 0,
) -> StateFold:
    """Fold the norms of a state dict into the operations they are paired with.

    After an operation ``W' = s W``, ``b' = s (b - mean) + bias`` with ``s = weight/sqrt(var + eps)``; before one
    ``W' = W s``, ``b' = b + W t`` with ``t = bias - s mean``. Where the operation has no bias to take the shift, or
    zero padding may stand between, it takes the scale alone, and the norm that stays becomes ``x + shift``.

    Parameters
    ----------
    state : StateDict
        Only read.
    pairs : iterable of Pair
    kept : iterable of Kept
        Norms that have no pair, for the report.
    eps : float
        Of all norms whose pair does not say another.
    keep_norm : {"identity", "drop"}
        Whether norms stay, so that the module that has them loads the result; or go, and operations get biases.
    rtol, atol : float, optional
        Tolerance of the check of every pair; by default twice the storage type's eps, and some of its smallest
        numbers.
    seed : int
        Of the check's random patches.

    Returns
    -------
    StateFold
        A norm that cannot be folded is no error: the report says why it stays.
    """
    arguments.non_negative(eps, "eps")
    arguments.one_of(keep_norm, "keep_norm", KEEP_NORM)
    folder = _Folder(state, keep_norm == "drop", Tolerance(rtol, atol), seed)
    by_norm: dict[str, list[Pair]] = {}
    for pair in pairs:
        by_norm.setdefault(pair.norm.path, []).append(pair)
    report = FoldReport(kept=list(kept))
    for path, group in by_norm.items():
        try:
            rule = folder.fold(group, eps if group[0].eps is None else group[0].eps)
        except FoldRefused as reason:
            report.kept.append(Kept(path, str(reason), "kept"))
            continue
        report.folded.append(Folded(path, ", ".join(p.linear.path for p in group), rule))
    return StateFold(folder.result(), report, folder.checks, folder.off)


class _Folder:
    """What has been decided about operations and norms so far."""

    def __init__(self, state: StateDict, drop: bool, tolerance: Tolerance, seed: int) -> None:
        self._state, self._drop, self._tolerance, self._seed = state, drop, tolerance, seed
        # what random numbers make different: weights of operations, and a norm's means
        telling = (
            name
            for name, tensor in state.tensors.items()
            if len(tensor.shape) >= 2 or name.endswith("running_mean")
        )
        self._sharing = Sharing(state, telling)
        self._work: dict[str, Work] = {}  # by the name of the weight
        self._small: dict[str, Stored] = {}  # new biases and norms
        self._gone: set[str] = set()
        self.checks: dict[str, Check] = {}
        self.off: dict[str, float] = {}

    def fold(self, pairs: list[Pair], eps: float) -> str:
        """One norm into every operation that it is paired with, or FoldRefused; returns the rule."""
        norm = pairs[0].norm
        for pair in pairs:
            if pair.linear.others:
                unknown = ", ".join(pair.linear.others)
                raise FoldRefused(f"{pair.linear.path} has tensors of unknown use: {unknown}")
            self._sharing.judge(pair.linear.weight, pair.linear.bias, *norm.tensors)
        values = read_norm(self._state, norm, eps)
        taken, left = _share_out(pairs, values.affine(), self._drop)
        stays = None if self._drop else stored_remainder(self._state, norm, left, eps)
        side = Side(values, None if stays is None else stays.values)
        changed: dict[str, Work] = {}
        small: dict[str, Stored] = {}
        found: list[Check] = []
        for pair in pairs:
            linear = pair.linear
            work = self._work.get(linear.weight, Work(linear, new_bias=self._drop))
            work = work.taking(Absorbed(taken, pair.reading), side)
            weights = work.weights(self._state)
            found.append(work.check(self._state, weights, self._tolerance, self._seed))
            changed[linear.weight] = work
            if weights.bias is not None:
                small[_bias_name(work)] = weights.bias
        # nothing was refused: from here on it counts
        self._work |= changed
        self._small |= small
        self.checks[norm.path] = max(found, key=lambda check: (not check.agrees, check[1]))
        if stays is None:
            self._gone.update(norm.tensors)
        else:
            self._small |= stays.tensors
            if stays.error:
                self.off[norm.path] = stays.error
        return _rule(pairs, left)

    def result(self) -> StateDict:
        """The new tensors, in the order of the old ones."""
        tensors: dict[str, TensorType] = {}
        for name, tensor in self._state.tensors.items():
            if name not in self._gone:
                tensors[name] = tensor
            work = self._work.get(name)
            if work is not None and work.linear.bias is None and work.has_bias:
                bias = self._small[_bias_name(work)]
                tensors[_bias_name(work)] = TensorType(tensor.dtype, bias.shape)
        return StateDict(tensors, self._state.metadata, self._read)

    def _read(self, name: str) -> Stored:
        if name in self._small:
            return self._small[name]
        if name in self._work:
            return self._work[name].weights(self._state).weight
        return self._state.read(name)


def _share_out(pairs: list[Pair], affine: Affine, drop: bool) -> tuple[Affine, Array64]:
    """What the operations take of a norm's map, and the shift that is left in the norm."""
    none = np.zeros(affine.channels)
    if not affine.offset.any():
        return affine.without_offset(), none
    if pairs[0].reading.direction == "after":
        if drop or pairs[0].linear.bias is not None:
            return affine, none
        return affine.without_offset(), affine.offset
    padded = any(p.reading.kind != "linear" and not p.unpadded for p in pairs)
    transposed = any(p.reading.kind == "conv_transpose" for p in pairs)
    biased = drop or all(p.linear.bias is not None for p in pairs)
    if biased and not padded and not transposed:
        for pair in pairs:
            algebra.check_forward(affine, pair.linear.dtype)
        return affine, none
    if drop:
        raise FoldRefused(
            "a shift before a transposed convolution is not one bias"
            if transposed
            else "zero padding would have to be shifted too: padding=0 in the pair says that there is none"
        )
    return affine.without_offset(), -affine.zero_point


def _rule(pairs: list[Pair], left: Array64) -> str:
    kinds = " + ".join(dict.fromkeys(pair.reading.kind for pair in pairs))
    after = pairs[0].reading.direction == "after"
    what = f"{kinds} → norm" if after else f"norm → {kinds}"
    return f"{what}, which still adds its shift" if left.any() else what


def _bias_name(work: Work) -> str:
    linear = work.linear
    return linear.bias or f"{linear.path}.bias".lstrip(".")
