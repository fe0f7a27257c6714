"""Population statistics of a net's norms over a whole data set, and what is wrong with the running ones."""

from __future__ import annotations

from .diagnosis import Diagnosis, diagnose
from .recalibrate import recalibrate
from .report import LayerChange, RecalibrationReport

__all__ = ["Diagnosis", "LayerChange", "RecalibrationReport", "diagnose", "recalibrate"]
