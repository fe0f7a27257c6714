"""What recalibration changed, norm by norm, for people and for machines."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..support.table import table

__all__ = ["LayerChange", "RecalibrationReport"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class LayerChange:
    """What recalibration changed in one norm.

    Attributes
    ----------
    path : str
        The norm's place in the net.
    count : float
        Values per channel that were measured; 0 for ``"ema"``.
    mean_shift : ndarray, shape (c,)
        ``|new mean - old mean| / sqrt(new var + eps)``: how many standard deviations the mean
        moved.
    variance_ratio : ndarray, shape (c,)
        ``(new var + eps) / (old var + eps)``.
    """

    path: str
    count: float
    mean_shift: Array
    variance_ratio: Array

    def to_dict(self) -> dict[str, Any]:
        return {
            "path": self.path,
            "channels": self.mean_shift.size,
            "count": self.count,
            "mean_shift": float(self.mean_shift.max(initial=0.0)),
            "variance_ratio": [float(self.variance_ratio.min()), float(self.variance_ratio.max())],
        }


@dataclass
class RecalibrationReport:
    """What `recalibrate` did: one `LayerChange` per norm, and the norms it left alone with the
    reason.

    Attributes
    ----------
    method : str
    samples, passes : int
        Size of the data set, and how often it was read.
    layers : list of LayerChange
    skipped : list of (path, why)
    """

    method: str
    samples: int = 0
    passes: int = 0
    layers: list[LayerChange] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Python numbers and strings only, ready for JSON."""
        return {
            "method": self.method,
            "samples": self.samples,
            "passes": self.passes,
            "layers": [change.to_dict() for change in self.layers],
            "skipped": [{"path": path, "why": why} for path, why in self.skipped],
        }

    def __str__(self) -> str:
        times = "once" if self.passes == 1 else f"{self.passes} times"
        lines = [
            f"recalibration, method {self.method!r}: {len(self.layers)} norms, {self.samples} samples read {times}"
        ]
        if self.method == "ema":
            lines = [
                f"recalibration, method 'ema': {len(self.layers)} norms keep what training left behind"
            ]
        rows = [("norm", "channels", "mean moved by", "variance times")]
        for change in map(LayerChange.to_dict, self.layers):
            low, high = change["variance_ratio"]
            shift = f"{change['mean_shift']:.3g} std"
            rows.append(
                (
                    change["path"] or "(net)",
                    str(change["channels"]),
                    shift,
                    f"{low:.3g} to {high:.3g}",
                )
            )
        if len(rows) > 1:
            lines.append(table(rows))
        lines += [f"  {path or '(net)'}: left alone, {why}" for path, why in self.skipped]
        return "\n".join(lines)
