"""The lab: small experiments, each of which answers one question about batch norm on real data.

``bncore.lab.run("speed")`` trains what the question needs with the library as any user would, and returns a
`Report`: a conclusion computed from the numbers, criteria that were met or not, tables and pictures.

One file per experiment in ``experiments/``; a new one is such a file and a line in ``catalogue.py``.
"""

from .catalogue import NAMES, question
from .outcome import Criterion, Outcome, Report, Table
from .page import page
from .running import run

__all__ = ["NAMES", "Criterion", "Outcome", "Report", "Table", "page", "question", "run"]
