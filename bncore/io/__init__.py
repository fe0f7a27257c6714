"""Nets in files. Reads and writes; computes nothing."""

from __future__ import annotations

from .npz import load, load_meta, save

__all__ = ["load", "load_meta", "save"]
