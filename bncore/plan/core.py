"""The compiled core, whose steps a plan is made of. A build without it has no plans."""

from __future__ import annotations

from typing import Any

core: Any
try:
    from .. import _native as core
except ModuleNotFoundError:
    core = None

__all__ = ["core"]
