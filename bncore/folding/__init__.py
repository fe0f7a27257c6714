"""Folding: an evaluation-mode batch norm disappears into the weights around it, exactly."""

from __future__ import annotations

from .net import fold_net
from .report import Folded, FoldReport, Kept
from .verify import Verification, verify

__all__ = ["FoldReport", "Folded", "Kept", "Verification", "fold_net", "verify"]
