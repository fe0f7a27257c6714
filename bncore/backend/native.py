"""The compiled core as a backend: the functions of ``bncore._native``, and what its environment variables say.

BNCORE_ISA           generic, avx2 or avx512 instead of the best available
BNCORE_WINOGRAD      0: convolutions never take Winograd's way; 2: in small tiles only (bn.winograd)
BNCORE_POOL_BYTES    idle memory kept for outputs; default a quarter of the machine's, 4 GiB at most
"""

from __future__ import annotations

import os

import bncore._native as _native  # a missing extension is a ModuleNotFoundError this way

from .._native import *  # noqa: F403  (the module defines __all__)
from . import host

NAME = "native"
JUDGES_ARRAYS = True

isa = ""


def use_isa(name: str) -> None:
    """Uses the kernels of instruction set `name` from now on.

    Raises
    ------
    ValueError
        If this build or this machine does not have it.
    """
    global isa
    _native.select_isa(name)
    isa = name


WINOGRAD_TILES = {"0": 0, "1": 4, "2": 2, "4": 4}


def _start() -> None:
    wanted = os.environ.get("BNCORE_ISA") or _native.available_isas()[-1]
    try:
        use_isa(wanted)
    except ValueError as error:
        raise ImportError(f"BNCORE_ISA: {error}") from None
    allowed = os.environ.get("BNCORE_WINOGRAD") or "1"
    if allowed not in WINOGRAD_TILES:
        raise ImportError(f"BNCORE_WINOGRAD must be 0, 1, 2 or 4, got {allowed!r}")
    _native.set_winograd(WINOGRAD_TILES[allowed])
    _native.set_cpu_quota(host.cpu_quota())
    _native.pool_set_bound(host.pool_bytes())


_start()
