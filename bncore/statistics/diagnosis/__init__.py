"""Why training and evaluation disagree: measurements of every norm, a judgement in words, a picture."""

from __future__ import annotations

from .diagnose import diagnose
from .diagnosis import Diagnosis
from .records import Distance, DropoutEffect, Noise, NormRecord
from .results import Finding, Score

__all__ = [
    "Diagnosis",
    "Distance",
    "DropoutEffect",
    "Finding",
    "Noise",
    "NormRecord",
    "Score",
    "diagnose",
]
