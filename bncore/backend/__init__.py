"""Chooses who computes: the compiled core or its NumPy twin, behind one set of function names.

``backend.active`` is the module in force; ``functional`` looks it up at every call. Not here: any computing.
"""

from __future__ import annotations

from . import numpy

active = numpy


class Refused(Exception):
    """The native entry met an argument it does not take as it is: to be converted, or explained, by the caller."""


__all__ = ["Refused", "active", "numpy"]
