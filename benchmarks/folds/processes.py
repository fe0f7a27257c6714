"""Starts workers and outlives them: a tool that crashes or hangs on a model has that as its result
there.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

BENCHMARKS = Path(__file__).resolve().parents[1]
Row = dict[str, Any]
POLL = 0.02  # seconds


class Missing(Exception):
    """The tool is not installed."""


def fold_all(tool: str, names: list[str], *, timeout: float, repeats: int) -> dict[str, Row]:
    """A row for every model.

    Raises
    ------
    Missing
        If the tool is not there.
    """
    rows: dict[str, Row] = {}
    while len(rows) < len(names):
        left = [name for name in names if name not in rows]
        lines, end = one_process(tool, left, timeout, repeats)
        for line in lines:
            if "missing" in line:
                raise Missing(line["missing"])
            if "row" in line:
                rows[line["model"]] = line["row"]
        if len(rows) == len(names):
            break
        end = end or "the process ended too early"
        last = lines[-1] if lines and "row" not in lines[-1] else {"model": left[0]}
        stage = last.get("stage", "starting")
        rows[last["model"]] = {"status": "crashed", "why": f"{stage}: {end}"}
    return rows


def one_process(
    tool: str, names: list[str], timeout: float, repeats: int
) -> tuple[list[Row], str | None]:
    """The lines a worker wrote, and how it ended before its time, if it did."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "lines"
        file.touch()
        command = [sys.executable, "-m", "folds.worker", tool, str(file), str(repeats), *names]
        process = subprocess.Popen(
            command,
            cwd=BENCHMARKS,
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            end = wait(process, file, timeout)
        finally:
            process.kill()
            process.wait()
        text = file.read_text(encoding="utf-8")
        return [json.loads(line) for line in text.split("\n")[:-1]], end  # whole lines only


def wait(process: subprocess.Popen[bytes], file: Path, timeout: float) -> str | None:
    """None after an ordinary end; else what happened. Time counts from the last line written."""
    size, since = 0, time.monotonic()
    while process.poll() is None:
        now = file.stat().st_size
        if now != size:
            size, since = now, time.monotonic()
        elif time.monotonic() - since > timeout:
            return f"no answer in {timeout:g} s"
        time.sleep(POLL)
    return None if process.returncode == 0 else f"the process ended with code {process.returncode}"


def environment() -> dict[str, str]:
    """One thread, and the bncore this process sees, with its tests' zoo."""
    env = dict(os.environ)
    for name in ("OMP", "MKL", "OPENBLAS"):
        env[f"{name}_NUM_THREADS"] = "1"
    spec = importlib.util.find_spec("bncore")
    assert spec is not None and spec.origin is not None
    paths = [str(BENCHMARKS), str(Path(spec.origin).parents[1]), str(BENCHMARKS.parent)]
    env["PYTHONPATH"] = os.pathsep.join([*paths, env.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    return env
