"""Population statistics of a net's norms over a whole data set."""

from __future__ import annotations

from .recalibrate import recalibrate
from .report import LayerChange, RecalibrationReport

__all__ = ["LayerChange", "RecalibrationReport", "recalibrate"]
