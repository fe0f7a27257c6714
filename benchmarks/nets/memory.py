"""What a process of one contender takes: its peak, and how much of it came with the first steps."""

from __future__ import annotations

import contextlib
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import Contender

STATUS = Path("/proc/self/status")
CALLS = 5


def measure(make: Callable[[], Contender]) -> dict[str, float]:
    """MB (10^6 bytes): "peak" of the process up to the end of a few calls, "growth" over what it had right before them.

    What is compiled is compiled by the first call.
    """
    call: Callable[[], Any] = make().call
    building = peak()
    forget_peak()
    before = resident()
    for _ in range(CALLS):
        call()
    most = peak()
    return {"peak": max(building, most) / 1e6, "growth": (most - before) / 1e6}


def forget_peak() -> None:
    """So that what building the net took for a moment does not count as growth; where Linux allows it."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def resident() -> int:
    """Bytes of memory now; where the system does not tell, the peak so far."""
    return field("VmRSS") or peak()


def peak() -> int:
    """The most so far, in bytes.

    Linux's own figure comes first: ``ru_maxrss`` begins with the peak of the process that started this one.
    """
    most = field("VmHWM")
    if most is None:
        unit = 1 if sys.platform == "darwin" else 1024
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return most


def field(name: str) -> int | None:
    """Bytes in a line of Linux's account of this process."""
    if not STATUS.exists():
        return None
    for line in STATUS.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return None
