"""State dicts that are in memory: from pairs to folded arrays in one call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ...support.tensors import StateDict
from ..algebra import FoldRefused
from ..report import FoldReport, Kept
from .candidates import candidates_by_name
from .fold import fold_state
from .given import candidates_by_rule, candidates_from_lines, kinds_of
from .modules import Modules, find_modules
from .pairs import Pair, resolve

__all__ = ["find_pairs", "fold_state_dict"]


def fold_state_dict(
    arrays: Mapping[str, np.ndarray[Any, Any]],
    *,
    pairs: str | Iterable[str] = "auto",
    kinds: Sequence[str] = (),
    eps: float = 1e-5,
    keep_norm: str = "identity",
) -> tuple[dict[str, np.ndarray[Any, Any]], FoldReport]:
    """Fold the batch norms of a state dict: named arrays as a framework saves them, without a graph.

    The formulas are those of `fold_conv`, `fold_linear` and `fold_conv_transpose`; arithmetic is in float64, rounded
    once, and every pair is checked with random patches.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        PyTorch's names: ``weight`` and ``bias`` of an operation; ``weight``, ``bias``, ``running_mean`` and
        ``running_var`` of a norm. Only read.
    pairs : str or iterable of str
        Which norm goes with which operation: "auto", by names and shapes, leaving out what these do not decide; a
        rule such as ``"(.*)conv(\\\\d) -> \\\\1bn\\\\2"``; or lines ``"conv1 -> bn1"`` (``"bn0 -> fc1"``: the norm comes
        before), each with ``kind=conv_transpose``, ``eps=1e-3`` or ``padding=0`` behind it where needed.
    kinds : sequence of str
        ``"NAME=conv_transpose"``, or ``=conv``, for what shapes do not tell; the name may have wildcards.
    eps : float
        Of all norms whose pair does not say another.
    keep_norm : {"identity", "drop"}
        Keep norms that change nothing, so that the unchanged module loads the result, or leave them out and give
        operations biases.

    Returns
    -------
    folded : dict
        New arrays where something changed, the given ones elsewhere.
    report : FoldReport
        For every norm what took it, or why it stays.

    Raises
    ------
    ValueError, TypeError
        For pairs or kinds that name nothing, and options that are none. A norm that cannot be folded is no error.
    FoldRefused
        If a folded pair differs from the original one by more than rounding: a defect, reported here rather than
        returned.
    """
    state = StateDict.of(arrays)
    found, kept = find_pairs(find_modules(state.tensors), pairs, kinds)
    folded = fold_state(state, found, kept, eps=eps, keep_norm=keep_norm)
    wrong = [path for path, check in folded.checks.items() if not check.agrees]
    if wrong:
        raise FoldRefused(f"folded and unfolded differ by more than rounding at {', '.join(wrong)}")
    result: dict[str, np.ndarray[Any, Any]] = {}
    bfloat16 = next((a.dtype for a in arrays.values() if a.dtype.name == "bfloat16"), None)
    for name, tensor in folded.state.tensors.items():
        values = folded.state.read(name)
        result[name] = values.view(bfloat16) if tensor.dtype == "bfloat16" else values
    return result, folded.report


def find_pairs(
    modules: Modules, pairs: str | Iterable[str], kinds: Sequence[str]
) -> tuple[list[Pair], list[Kept]]:
    """The pairs that are told or found, and every norm without one with the reason; arguments as `fold_state_dict`."""
    known = kinds_of(kinds, modules)
    if pairs == "auto":
        found, kept = resolve(modules, candidates_by_name(modules), known)
    else:
        given = (
            candidates_by_rule(pairs, modules)
            if isinstance(pairs, str)
            else candidates_from_lines(pairs, modules)
        )
        found, kept = resolve(modules, given, known, "no pair names it")
    return found, [*kept, *(Kept(path, why, "kept") for path, why in modules.unusable.items())]
