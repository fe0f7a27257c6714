"""The memory that outputs live in: what it holds, and giving it back. Empty without the compiled extension."""

from __future__ import annotations

from . import backend

__all__ = ["statistics", "trim"]


def statistics() -> dict[str, int]:
    """Bytes idle, in use and allowed to idle; requests served from the pool (hits) and by the system (misses)."""
    pool = backend.info().get("pool")
    return dict(pool) if pool else {}


def trim() -> int:
    """Returns idle memory to the system.

    Returns
    -------
    int
        How many bytes.
    """
    native = backend.native_module()
    return int(native.pool_trim()) if native else 0
