"""Nets, statistics and state dicts in files. Reads and writes; computes nothing."""

from __future__ import annotations

from .npz import load, load_meta, save
from .state_file import open_state, save_state
from .statistics_file import load_statistics, save_statistics

__all__ = [
    "load",
    "load_meta",
    "load_statistics",
    "open_state",
    "save",
    "save_state",
    "save_statistics",
]
