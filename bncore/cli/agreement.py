"""Whether a folded net still is the same function: what to try it on, how far apart is too far, how to say it.

Folding and the comparison itself are in bncore.folding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .report import table

if TYPE_CHECKING:
    from ..folding import FoldReport, Verification

__all__ = ["agrees", "default_tolerance", "fold_section", "fold_text", "sample_inputs"]


def default_tolerance(dtype: str) -> float:
    """How far apart two nets may be that differ by rounding alone, see `agrees`."""
    return 1e-10 if dtype == "float64" else 1e-4


def agrees(found: Verification, tolerance: float) -> bool:
    """Whether the largest difference is within ``tolerance``, absolutely or of the largest output.

    Outputs that are not finite never agree.
    """
    return bool(min(found.max_abs_error, found.max_rel_error) <= tolerance)


def sample_inputs(shape: tuple[int, ...], dtype: Any, seed: int, *, count: int = 64) -> np.ndarray:
    """Random inputs of one sample's ``shape`` at three magnitudes: no ReLU always on or always off."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((count, *shape))
    x *= np.resize([0.1, 1.0, 10.0], count).reshape(-1, *[1] * len(shape))
    return x.astype(dtype)


def fold_section(report: FoldReport, found: Verification, tolerance: float) -> dict[str, Any]:
    """What became of every norm, and how far apart both nets are, for --json."""
    return {
        **report.to_dict(),
        **found.to_dict(),
        "tolerance": tolerance,
        "agree": agrees(found, tolerance),
    }


def fold_text(section: dict[str, Any]) -> str:
    """The same for people."""
    rows = [
        (item["path"] or "(net)", "folded into", item["into"], item["rule"])
        for item in section["folded"]
    ]
    rows += [(item["path"] or "(net)", "kept", item["why"], "") for item in section["kept"]]
    lines = [f"folding: {section['norms_folded']} norms folded, {section['norms_left']} left"]
    if rows:
        lines.append(table(rows))
    lines.append(
        f"  largest |folded - unfolded| {section['max_abs_error']:.2g} "
        f"({section['max_rel_error']:.2g} of the largest output); from the same net in float64: "
        f"unfolded {section['net_error']:.2g}, folded {section['folded_error']:.2g}"
    )
    return "\n".join(lines)
