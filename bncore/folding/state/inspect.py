"""What `bncore inspect` says of a state dict's norms: as far as names and shapes tell where they sit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ...support.floats import FLOATS
from ...support.tensors import StateDict
from ..algebra import FoldRefused
from ..findings import Finding, findings
from ..inspection import NormRow
from ..report import Kept
from .fold import fold_state
from .modules import Modules, Norm
from .norms import read_norm
from .pairs import Pair

__all__ = ["inspect_state"]


def inspect_state(
    state: StateDict, modules: Modules, pairs: Sequence[Pair], kept: Iterable[Kept], eps: float
) -> list[NormRow]:
    """One row for every norm; whether it can be folded is tried, without keeping the result.

    Parameters
    ----------
    modules, pairs, kept
        As `find_modules` and `resolve` give them.
    eps : float
        Of all norms whose pair does not say another.
    """
    report = fold_state(state, pairs, kept, eps=eps).report
    verdicts = {entry.path: (True, f"into {entry.into} ({entry.rule})") for entry in report.folded}
    verdicts |= {entry.path: (False, entry.why) for entry in report.kept}
    rows = []
    for path, norm in modules.norms.items():
        own = [pair for pair in pairs if pair.norm.path == path]
        before, after = (
            [pair.linear.path for pair in own if pair.reading.direction == direction]
            for direction in ("after", "before")
        )
        row = NormRow(path or "(root)", "norm", norm.channels, ", ".join(before), after)
        row.foldable, row.why = verdicts[path]
        known = own[0].eps if own else None
        row.findings = _findings(state, norm, own, eps if known is None else known)
        rows.append(row)
    for path in modules.unusable:
        row = NormRow(path or "(root)", "norm", None, "", [])
        row.foldable, row.why = verdicts[path]
        rows.append(row)
    return rows


def _findings(state: StateDict, norm: Norm, pairs: Sequence[Pair], eps: float) -> list[Finding]:
    """For the type of the weights that would take the norm, or of the norm itself."""
    try:
        values = read_norm(state, norm, eps)
    except FoldRefused:  # not of a floating type
        return []
    dtype = next((p.linear.dtype for p in pairs), state.tensors[norm.mean].dtype)
    if dtype not in FLOATS:
        dtype = state.tensors[norm.mean].dtype
    return findings(values.weight, values.bias, values.mean, values.var, eps, dtype)
