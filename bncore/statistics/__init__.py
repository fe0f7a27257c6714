"""Population statistics, of data of any size and of a net's norms over a data set; what is wrong with the running ones."""

from __future__ import annotations

from .diagnosis import Diagnosis, diagnose
from .population import population
from .recalibrate import recalibrate
from .report import LayerChange, RecalibrationReport

__all__ = [
    "Diagnosis",
    "LayerChange",
    "RecalibrationReport",
    "diagnose",
    "population",
    "recalibrate",
]
