"""Times contenders in turns within one process and describes the machine. Knows no operation; see bench_*.py for those."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import platform
import random
import statistics
import time
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

__all__ = ["interleaved", "machine", "save"]

Call = Callable[[], Any]


def interleaved(
    contenders: Mapping[str, Call], *, seconds: float, rounds: int = 15, block: float = 2e-4
) -> dict[str, dict[str, float]]:
    """Median time of one call of each contender, in microseconds.

    Every round times a block of calls of each contender, in shuffled order, so that a change of the machine's mood
    meets all of them; a block during which this thread lost its core is thrown away and repeated.

    Parameters
    ----------
    contenders : mapping of name to function without arguments
    seconds : float
        About how long to measure all together.
    rounds : int
        At least this many rounds, however long they take.
    block : float
        Least seconds per block: short calls are repeated, so that the clock's own cost does not count.

    Returns
    -------
    dict
        name -> {"median", "min", "rounds"}.
    """
    repeats = {name: _calls_per_block(call, block) for name, call in contenders.items()}
    times: dict[str, list[float]] = {name: [] for name in contenders}
    order = list(contenders)
    shuffle = random.Random(0).shuffle
    end = time.perf_counter() + seconds
    done = 0
    while done < rounds or time.perf_counter() < end:
        shuffle(order)
        for name in order:
            times[name].append(_block(contenders[name], repeats[name]))
        done += 1
    return {
        name: {
            "median": 1e6 * statistics.median(values),
            "min": 1e6 * min(values),
            "rounds": float(done),
        }
        for name, values in times.items()
    }


def _calls_per_block(call: Call, block: float) -> int:
    for _ in range(3):  # the first calls allocate, compile and fill caches
        call()
    start = time.perf_counter()
    call()
    return max(1, int(block / max(time.perf_counter() - start, 1e-8)))


def _block(call: Call, repeats: int, tries: int = 5) -> float:
    """Seconds per call of one undisturbed block (or of the last try)."""
    elapsed = 0.0
    for _ in range(tries):
        switches = _involuntary_switches()
        start = time.perf_counter()
        for _ in range(repeats):
            call()
        elapsed = time.perf_counter() - start
        if _involuntary_switches() == switches:
            break
    return elapsed / repeats


def _involuntary_switches() -> int:
    try:
        import resource

        return resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw
    except (ImportError, AttributeError):  # not on this system: nothing is thrown away
        return 0


def machine() -> dict[str, Any]:
    """Where and with what the figures were taken."""
    import numpy

    import bncore
    from bncore import backend

    versions = {
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "bncore": bncore.__version__,
    }
    for package in ("torch", "jax", "onnxruntime", "scikit-learn", "onednn-cpu-gomp"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return {
        "date": datetime.date.today().isoformat(),
        "cpu": _cpu_name(),
        "llc_bytes": _last_level_cache(),
        "cpus": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": versions,
        "backend": backend.info(),
    }


def _last_level_cache() -> int:
    """What the system says of the largest cache; 32 MiB where it says nothing."""
    sizes = [32 << 20]
    for path in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size")):
        text = path.read_text().strip()
        unit = {"K": 1 << 10, "M": 1 << 20}.get(text[-1:], 1)
        sizes.append(int(text.rstrip("KM")) * unit)
    return sizes[-1]


def _cpu_name() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"


def save(path: Path | None, **results: Any) -> None:
    """Writes the results, behind the machine they were measured on, as JSON; to None nothing."""
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"machine": machine(), **results}, indent=1) + "\n")
