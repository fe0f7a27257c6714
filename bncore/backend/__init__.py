"""Chooses who computes: the compiled core or its NumPy twin, behind one set of function names.

``backend.active`` is the module in force; ``functional`` looks it up at every call.
"""

from __future__ import annotations

from . import numpy as active

__all__ = ["active"]
