"""Starts workers: a process of its own for every case and number of threads, which nothing before has warmed, filled or split."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .cases import Case

BENCHMARKS = Path(__file__).resolve().parents[1]


class Lost(Exception):
    """A worker ended without an answer."""


def ask(job: str, case: Case, threads: int, **request: Any) -> dict[str, Any]:
    """What a new worker answers. Its progress goes where ours does.

    Raises
    ------
    Lost
        If it fails; it has said why.
    """
    text = json.dumps({"job": job, "case": asdict(case), **request})
    done = subprocess.run(
        [sys.executable, "-c", START, str(threads), text],
        env=environment(threads),
        cwd=BENCHMARKS,
        stdout=subprocess.PIPE,
        check=False,
        text=True,
    )
    if done.returncode or not done.stdout.strip():
        raise Lost(f"{job} of {case}: the process ended with code {done.returncode}")
    answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer


# JAX has as many threads as the process has CPUs when it is imported
START = """
import os, sys
threads = int(sys.argv.pop(1))
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])
from nets.worker import main
main()
"""


def environment(threads: int) -> dict[str, str]:
    env = dict(os.environ)
    for name in ("OMP", "MKL", "OPENBLAS"):
        env[f"{name}_NUM_THREADS"] = str(threads)
    env["JAX_PLATFORMS"] = "cpu"
    if threads == 1:
        env["XLA_FLAGS"] = f"{env.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false".strip()
    spec = importlib.util.find_spec("bncore")
    assert spec is not None and spec.origin is not None
    paths = [str(BENCHMARKS), str(Path(spec.origin).parents[1]), env.get("PYTHONPATH", "")]
    env["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    return env


def cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
