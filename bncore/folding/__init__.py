"""Folding: an evaluation-mode batch norm disappears into the weights around it, exactly.

Of nets made of bncore's layers (`fold_net`), of plain arrays from anywhere (`fold_conv`, `fold_linear`,
`fold_conv_transpose`), and of state dicts (`fold_state_dict`).
"""

from __future__ import annotations

from .algebra import FoldRefused
from .arrays import fold_conv, fold_conv_transpose, fold_linear
from .findings import Finding, findings
from .net import fold_net
from .report import Folded, FoldReport, Kept
from .state.arrays import fold_state_dict
from .verify import Verification, verify

__all__ = [
    "Finding",
    "FoldRefused",
    "FoldReport",
    "Folded",
    "Kept",
    "Verification",
    "findings",
    "fold_conv",
    "fold_conv_transpose",
    "fold_linear",
    "fold_net",
    "fold_state_dict",
    "verify",
]
