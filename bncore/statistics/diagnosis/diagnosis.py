"""What `diagnose` returns: all measurements and findings, shown as text, JSON or a picture."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .records import NormRecord
from .results import Finding, Score

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Diagnosis"]


@dataclass
class Diagnosis:
    """What is the matter with a net's norms.

    Attributes
    ----------
    method : str
        The population statistics that the running ones were compared with.
    batch_size : int
        As asked for; an iterable's batches have sizes of their own.
    random_batches : bool
        Whether the batches were drawn at random from arrays.
    samples, batches : int
        What statistics were measured on.
    scored_samples : int
        How many samples' answers were compared.
    norms : list of NormRecord
        In the order of the net.
    scores : list of Score
        Answers with running, batch and population statistics.
    findings : list of Finding
        Gravest first.
    skipped : list of (path, why)
        Norms without running statistics of their own.
    """

    method: str
    batch_size: int
    random_batches: bool
    samples: int = 0
    batches: int = 0
    scored_samples: int = 0
    norms: list[NormRecord] = field(default_factory=list)
    scores: list[Score] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)

    def score(self, kind: str) -> Score:
        """The answers with one kind of statistics."""
        return next(score for score in self.scores if score.kind == kind)

    def norm(self, path: str) -> NormRecord:
        """The norm at ``path``."""
        return next(norm for norm in self.norms if norm.path == path)

    @property
    def healthy(self) -> bool:
        """Whether there is nothing to do; notes may remain."""
        return all(finding.severity == "note" for finding in self.findings)

    @property
    def repairs(self) -> tuple[str, ...]:
        """All repairs, those of the gravest finding first."""
        return tuple(
            dict.fromkeys(r for f in self.findings if f.severity != "note" for r in f.repairs)
        )

    @property
    def verdict(self) -> str:
        """What causes the gap between training and evaluation, and what repairs it."""
        from .text import verdict

        return verdict(self)

    def __str__(self) -> str:
        from .text import report

        return report(self)

    def __repr__(self) -> str:
        kinds = ", ".join(f.kind for f in self.findings if f.severity != "note")
        return f"<Diagnosis of {len(self.norms)} norms: {kinds or 'nothing to do'}>"

    def to_dict(self) -> dict[str, Any]:
        """Python numbers and strings only; what is not finite is None."""
        result: dict[str, Any] = _plain(
            {
                "method": self.method,
                "batch_size": self.batch_size,
                "random_batches": self.random_batches,
                "samples": self.samples,
                "batches": self.batches,
                "scored_samples": self.scored_samples,
                "healthy": self.healthy,
                "verdict": " ".join(self.verdict.split()),
                "repairs": list(self.repairs),
                "findings": [finding.to_dict() for finding in self.findings],
                "scores": [score.to_dict() for score in self.scores],
                "norms": [norm.to_dict() for norm in self.norms],
                "skipped": [{"path": path, "why": why} for path, why in self.skipped],
            }
        )
        return result

    def to_json(self) -> str:
        """`to_dict` as JSON text."""
        return json.dumps(self.to_dict(), indent=1, allow_nan=False)

    def plot(self, path: str | Path | None = None) -> Figure:
        """Distances, variance ratios, noise and scores, norm by norm.

        Needs the ``plot`` extra (matplotlib).

        Parameters
        ----------
        path : path, optional
            Also write the picture there; the suffix chooses the format.

        Returns
        -------
        matplotlib.figure.Figure
            Not registered with pyplot: nothing to close, no window opened.
        """
        from .plot import draw

        figure = draw(self)
        if path is not None:
            figure.savefig(path, dpi=150)
        return figure


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
