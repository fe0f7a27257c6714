"""Data sets by name or by file.

``load("digits")``, ``load("mnist/")``, ``load("table.csv", target="price")``.

One small module per kind of source; each gives a :class:`Dataset` of plain arrays. Nothing is
scaled here: raw inputs are standardized by the net, with a first batch norm that is saved and
folded with it (``standardize`` in :mod:`bncore.nets`), or by the norm after its first convolution.
"""

from .dataset import Dataset
from .loading import load
from .split import stratified_split, train_test_split
from .streams import Stream, stream

__all__ = ["Dataset", "Stream", "load", "stratified_split", "stream", "train_test_split"]
