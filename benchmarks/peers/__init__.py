"""Contenders of bench_norm.py, one file a library. Each lives in a worker process of its own (../worker.py).

A module has ``Peer``: made with the number of threads, it gives the contenders of a case. Its libraries are imported
when it is made; what is not there raises Missing, whose text the benchmark prints.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from norms.data import Data

Array = np.ndarray[Any, Any]


class Missing(Exception):
    """Why a peer cannot take part."""


@dataclass(frozen=True)
class Contender:
    """A call to time and how its result becomes arrays in the case's layout (None: nothing to check)."""

    call: Callable[[], Any]
    arrays: Callable[[Any], tuple[Array, ...]] | None


class PeerType(Protocol):
    """What ``Peer`` of a module has."""

    version: str
    digests: bool  # whether the bits of its results are compared between thread counts

    def __init__(self, threads: int) -> None: ...

    def contenders(self, data: Data) -> dict[str, Callable[[], Contender]]:
        """How to make each contender for the case of ``data``; what the library cannot do is left out."""

    def forget(self) -> None:
        """Gives back memory kept for the case."""


@dataclass(frozen=True)
class Kind:
    """How a worker is started: its module here, and what must be in its environment."""

    module: str
    env: Mapping[str, str]
    largest: int | None = None  # elements of x; more is not asked of it
    only_float32: bool = False
    pinned: bool = False  # its threads follow the CPUs allowed


# Each of the threads on a CPU of its own: without it a pool that slept, as it must here, may wake up on one CPU and lose
# milliseconds a call (libgomp).
BOUND = {"OMP_PROC_BIND": "true"}
WARM_HEAP = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "100000000000"}
KINDS = {
    "bncore": Kind("ours", {}),
    "numpy": Kind("ours", {"BNCORE_BACKEND": "numpy", "BENCH_TWIN": "1"}, 1_100_000),
    "torch": Kind("pytorch", BOUND),
    # the allocator keeps what was freed: PyTorch's kernels without page faults
    "torch-warm": Kind("pytorch", {**BOUND, **WARM_HEAP, "BENCH_WARM": "1"}),
    "torch-compile": Kind("inductor", BOUND, only_float32=True),
    "onednn": Kind("onednn", BOUND, only_float32=True),
    "jax": Kind("xla", {"JAX_PLATFORMS": "cpu"}, 32_000_000, only_float32=True, pinned=True),
    "roof": Kind("roof", BOUND),
}


def make(kind: str, threads: int) -> PeerType:
    """The peer of that kind, in this process."""
    peer: PeerType = importlib.import_module(f"peers.{KINDS[kind].module}").Peer(threads)
    return peer
