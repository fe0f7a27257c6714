"""Folding of state dicts: named tensors without a graph, from PyTorch or anything that names its tensors alike.

`find_modules` says what is there, `candidates_by_name` and given.py what may belong together, `resolve` decides, and
`fold_state` folds. Files are not read here (see bncore.io.state_file).

To add a naming convention, add a word or a row in names.py; a kind of operation, a reading in readings.py, its rule in
absorb.py and its formula in check.py.
"""

from __future__ import annotations

from .fold import KEEP_NORM, StateFold, fold_state
from .given import candidates_by_rule, candidates_from_lines, kinds_of
from .modules import Linear, Modules, Norm, find_modules
from .pairs import Candidate, Pair, candidates_by_name, resolve
from .readings import KINDS, Reading, readings

__all__ = [
    "KEEP_NORM",
    "KINDS",
    "Candidate",
    "Linear",
    "Modules",
    "Norm",
    "Pair",
    "Reading",
    "StateFold",
    "candidates_by_name",
    "candidates_by_rule",
    "candidates_from_lines",
    "find_modules",
    "fold_state",
    "kinds_of",
    "readings",
    "resolve",
]
