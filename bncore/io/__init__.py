"""Nets and statistics in files. Reads and writes; computes nothing."""

from __future__ import annotations

from .npz import load, load_meta, save
from .statistics_file import load_statistics, save_statistics

__all__ = ["load", "load_meta", "load_statistics", "save", "save_statistics"]
