"""What the machine grants this process: processors by control group, memory for the pool."""

from __future__ import annotations

import math
import os
from pathlib import Path

_GIB = 1 << 30


def cpu_quota() -> int:
    """Processors that the control groups of this process allow, rounded up; 0 without a limit (or without groups)."""
    try:
        groups = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return 0
    limits = [limit for line in groups for limit in _limits_of(*line.split(":", 2)[1:])]
    return math.ceil(min(limits)) if limits else 0


def _limits_of(controllers: str, path: str) -> list[float]:
    """Limits of one group and all above it: cpu.max in version 2, cpu.cfs_* in version 1."""
    if controllers and "cpu" not in controllers.split(","):
        return []
    root = Path("/sys/fs/cgroup") / ("cpu" if controllers else "")
    folder = root / path.lstrip("/")
    found = []
    for group in [folder, *folder.parents]:
        limit = _limit_v1(group) if controllers else _limit_v2(group)
        if limit:
            found.append(limit)
        if group == root:
            break
    return found


def _limit_v2(group: Path) -> float:
    try:
        quota, period = (group / "cpu.max").read_text().split()
        return 0.0 if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        return 0.0


def _limit_v1(group: Path) -> float:
    try:
        quota = int((group / "cpu.cfs_quota_us").read_text())
        return quota / int((group / "cpu.cfs_period_us").read_text()) if quota > 0 else 0.0
    except (OSError, ValueError):
        return 0.0


def pool_bytes() -> int:
    """Bound of the pool's idle memory: BNCORE_POOL_BYTES, else a quarter of the machine's memory, at most 4 GiB."""
    text = os.environ.get("BNCORE_POOL_BYTES")
    if text is not None:
        if not text.isdecimal():
            raise ImportError(f"BNCORE_POOL_BYTES must be a number of bytes, got {text!r}")
        return int(text)
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return _GIB
    return min(memory // 4, 4 * _GIB)
