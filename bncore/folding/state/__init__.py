"""Folding of state dicts: named tensors without a graph, from PyTorch or anything that names its tensors alike.

`fold_state_dict` does all of it with arrays. For files (see bncore.io.state_file, none is read here) in steps:
`find_modules` says what is there, `find_pairs` what belongs together, and `fold_state` folds.

To add a naming convention, add a word or a row in names.py; a kind of operation, a reading in readings.py, its rule in
absorb.py and its formula in check.py.
"""

from __future__ import annotations

from .arrays import find_pairs, fold_state_dict
from .fold import KEEP_NORM, StateFold, fold_state
from .modules import Linear, Modules, Norm, find_modules
from .pairs import Pair
from .readings import KINDS, Reading

__all__ = [
    "KEEP_NORM",
    "KINDS",
    "Linear",
    "Modules",
    "Norm",
    "Pair",
    "Reading",
    "StateFold",
    "find_modules",
    "find_pairs",
    "fold_state",
    "fold_state_dict",
]
