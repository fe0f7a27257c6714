"""Chooses who computes: the compiled core or its NumPy twin, behind one set of function names.

``backend.active`` is the module in force; ``functional`` looks it up at every call. BNCORE_BACKEND=numpy|native
decides at import; otherwise it is native where the extension was built. Not here: any computing.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from ..support.errors import Refused
from . import numpy

__all__ = [
    "Refused",
    "active",
    "available",
    "build_info",
    "info",
    "native_module",
    "numpy",
    "use_backend",
]


def build_info() -> dict[str, Any]:
    """What the build found: ``extension`` (bool), and ``reason`` when there is none, ``isas``, ``openmp``.

    Empty when no build has run, as in a checkout whose extension was never compiled.
    """
    try:
        return dict(json.loads((Path(__file__).parents[1] / "_build_info.json").read_text()))
    except (OSError, ValueError):
        return {}


def _load_native() -> tuple[ModuleType | None, str]:
    """The native backend, or None and why not."""
    try:
        from . import native
    except ModuleNotFoundError as error:
        if error.name != "bncore._native":
            raise
        return None, build_info().get("reason", "the extension has not been built")
    return native, ""


def _choose() -> ModuleType:
    wanted = os.environ.get("BNCORE_BACKEND", "")
    if wanted not in ("", "numpy", "native"):
        raise ImportError(f"BNCORE_BACKEND must be numpy or native, got {wanted!r}")
    if wanted == "native" and _native is None:
        raise ImportError(f"BNCORE_BACKEND=native: no compiled extension ({_why_not})")
    if wanted == "" and _native is None and not build_info():
        # A checkout shadows what was installed from it: slow where nobody asked for slow.
        warnings.warn(
            f"bncore was imported from {Path(__file__).parents[1]}, where its extension was never compiled: "
            "NumPy computes. Leave that folder to use an installed bncore, or run "
            "`python -m pip install -e .` in it; BNCORE_BACKEND=numpy says that this is on purpose",
            RuntimeWarning,
            stacklevel=2,
        )
    return numpy if wanted == "numpy" or _native is None else _native


def _put_in_force(module: ModuleType) -> None:
    global active
    active = module
    if _native is not None:
        _native.set_in_force(module is _native)


_native, _why_not = _load_native()
active: ModuleType
_put_in_force(_choose())


def available() -> tuple[str, ...]:
    """Names of the backends there are, the preferred one first."""
    return ("numpy",) if _native is None else ("native", "numpy")


def native_module() -> ModuleType | None:
    """The native backend whatever is in force, or None where there is none."""
    return _native


@contextmanager
def use_backend(name: str) -> Iterator[None]:
    """Computes with the backend `name` inside a ``with`` block, in the whole process.

    Parameters
    ----------
    name : {"native", "numpy"}

    Raises
    ------
    ValueError
        For another name, or "native" without the compiled extension.
    """
    if name not in available():
        reason = f" ({_why_not})" if name == "native" else ""
        raise ValueError(f"backend must be one of {available()}, got {name!r}{reason}")
    before = active
    _put_in_force(numpy if name == "numpy" or _native is None else _native)
    try:
        yield
    finally:
        _put_in_force(before)


def info() -> dict[str, Any]:
    """What computes and why: backend, instruction sets, threads, OpenMP, pool.

    Returns
    -------
    dict
        ``backend``, ``available``, ``reason`` (why there is no native backend, else None), ``build`` (see
        `build_info`), and with the extension ``isa``, ``available_isas``, ``openmp``, ``threads``, ``team``,
        ``caches``, ``pool``.
    """
    found: dict[str, Any] = {
        "backend": active.NAME,
        "available": list(available()),
        "reason": _why_not or None,
        "build": build_info(),
    }
    if _native is not None:
        found |= {
            "isa": _native.isa,
            "available_isas": list(_native.available_isas()),
            "openmp": _native.has_openmp(),
            "threads": _native.thread_limit(),
            "team": _native.thread_statistics(),
            "caches": _native.caches(),
            "pool": _native.pool_statistics(),
        }
    return found
