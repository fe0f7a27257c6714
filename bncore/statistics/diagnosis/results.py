"""What a diagnosis holds of the net as a whole: its answers with each kind of statistics, and findings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["Finding", "Gap", "Score"]


@dataclass(frozen=True)
class Score:
    """The net's answers with one kind of statistics.

    Attributes
    ----------
    kind : str
        "running", "batch", or a population method.
    gap : float
        Root mean square distance of the outputs from those with population statistics, in standard
        deviations of these.
    loss, accuracy : float or None
        Where there are targets.
    """

    kind: str
    gap: float
    loss: float | None = None
    accuracy: float | None = None

    def to_dict(self) -> dict[str, Any]:
        return {
            "statistics": self.kind,
            "gap": self.gap,
            "loss": self.loss,
            "accuracy": self.accuracy,
        }


@dataclass(frozen=True)
class Gap:
    """How much of the gap in the outputs is each norm's.

    Attributes
    ----------
    closes : dict of path to float
        Share of the gap that is gone with population statistics in this norm alone; negative if
        that widens it.
    opens : dict of path to float
        The gap with running statistics in this norm alone, as a share of the whole.
    """

    closes: dict[str, float] = field(default_factory=dict)
    opens: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Finding:
    """One thing that was found, in words.

    Attributes
    ----------
    kind : str
        "start", "stale", "foreign", "scatter", "dropout", "batches", "stopped", "renorm", "not finite" (what causes a
        gap between training and evaluation), "noise", "mixing", "unreachable", "dead", "constant".
    severity : {"problem", "warning", "note"}
    norms : tuple of str
        Paths of the norms concerned.
    text : str
        What was measured and what it means.
    repairs : tuple of str
        "recalibrate", "momentum", "batch size", "renorm", "dropout", "shuffle", "eps", "prune".
    advice : str
        The repairs in words.
    """

    kind: str
    severity: str
    norms: tuple[str, ...]
    text: str
    repairs: tuple[str, ...] = ()
    advice: str = ""

    def to_dict(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "severity": self.severity,
            "norms": list(self.norms),
            "text": self.text,
            "repairs": list(self.repairs),
            "advice": self.advice,
        }
