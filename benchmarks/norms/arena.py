"""Gives the workers their turns: one process a library, all of them at one case, a block of calls at a time.

Knows what a worker is asked and what it answers, not what it does (worker.py).
"""

from __future__ import annotations

import importlib.util
import json
import os
import random
import select
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import peers

from .cases import Case
from .data import Data, Room
from .reference import Files, Reference

WORKER = Path(__file__).resolve().parents[1] / "worker.py"
PATIENCE = 300  # seconds for one answer: compiling takes long
SETTLE = 0.2  # seconds a worker's threads may go on spinning before the next one's turn
ROUNDS = 5
SLOW, SLOW_ROUNDS = 0.04, 3  # calls of more seconds get fewer rounds
Row = dict[str, Any]


class Lost(Exception):
    """A worker is gone, or cannot do what it was asked."""


class Process:
    """A worker and the pipes to it."""

    def __init__(self, kind: str, threads: int) -> None:
        self.kind = kind
        env = {**os.environ, **peers.KINDS[kind].env}
        for name in ("OMP", "MKL", "OPENBLAS"):
            env[f"{name}_NUM_THREADS"] = str(threads)
        spec = importlib.util.find_spec("bncore")
        assert spec is not None and spec.origin is not None
        env["PYTHONPATH"] = os.pathsep.join(
            filter(None, [str(Path(spec.origin).parents[1]), env.get("PYTHONPATH")])
        )
        self.process = subprocess.Popen(
            [sys.executable, str(WORKER), kind, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=env,
        )
        self.rest = b""

    def send(self, **request: Any) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(request).encode() + b"\n")
            self.process.stdin.flush()
        except OSError as error:
            raise Lost("the process has ended") from error

    def receive(self) -> dict[str, Any]:
        """The next answer; raises Lost if none will come."""
        assert self.process.stdout is not None
        pipe = self.process.stdout.fileno()
        while b"\n" not in self.rest:
            if not select.select([pipe], [], [], PATIENCE)[0]:
                raise Lost(f"no answer for {PATIENCE} s")
            piece = os.read(pipe, 1 << 16)
            if not piece:
                raise Lost(f"the process ended with code {self.process.wait()}")
            self.rest += piece
        line, _, self.rest = self.rest.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        if "lost" in answer:
            raise Lost(answer["lost"])
        return answer

    def ask(self, **request: Any) -> dict[str, Any]:
        self.send(**request)
        return self.receive()

    def settle(self) -> None:
        """Waits until none of the worker's threads runs any more: thread pools spin a while before they sleep."""
        end = time.perf_counter() + SETTLE
        while time.perf_counter() < end and running(self.process.pid):
            time.sleep(5e-4)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


def running(pid: int) -> bool:
    """Whether a thread of that process wants a CPU; after a short sleep False where nobody can tell."""
    try:
        states = [
            path.read_text().rpartition(")")[2].split()[0]
            for path in Path(f"/proc/{pid}/task").glob("*/stat")
        ]
    except OSError:  # not on this system, or a thread has just ended
        time.sleep(0.01)
        return False
    return "R" in states


class Arena:
    """The workers of one number of threads."""

    def __init__(self, kinds: Iterable[str], threads: int) -> None:
        self.threads = threads
        self.kinds = list(kinds)
        self.processes: dict[str, Process] = {}
        self.missing: dict[str, str] = {}
        self.versions: dict[str, str] = {}
        self.room, self.files = Room(), Files()
        self.data: Data | None = None
        self.reference: Reference | None = None

    def __enter__(self) -> Arena:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes.values():
            process.stop()

    def run(self, case: Case, seconds: float, rounds: int = ROUNDS) -> Row:
        """The row of one case."""
        row: Row = {"threads": self.threads, **case.describe(), "layout": case.layout}
        row |= {"least_bytes": case.least_bytes, "median_us": {}, "min_us": {}, "rounds": {}}
        row |= {"error": {}, "digest": {}, "wrong": [], "missing": {}}
        contenders = self._prepare(case, row)
        self._contest(contenders, seconds, rounds, row)
        return row

    def _wanted(self, case: Case) -> Iterable[str]:
        for name in self.kinds:
            kind = peers.KINDS[name]
            if name in self.missing or (name == "torch-compile" and not case.compiled):
                continue
            if kind.only_float32 and case.dtype != "float32":
                continue
            if kind.largest is None or case.size <= kind.largest:
                yield name

    def _start(self, kinds: Iterable[str]) -> None:
        """Starts those that do not run yet, all at once; notes which cannot take part."""
        new = {kind: Process(kind, self.threads) for kind in kinds if kind not in self.processes}
        for kind, process in new.items():
            try:
                hello = process.receive()
            except Lost as lost:
                hello = {"missing": str(lost)}
            if "missing" in hello:
                self.missing[kind] = hello["missing"]
                print(f"{kind} does not take part: {hello['missing']}", file=sys.stderr)
                process.stop()
                continue
            self.processes[kind] = process
            self.versions[kind] = hello["version"]

    def _prepare(self, case: Case, row: Row) -> list[tuple[str, str]]:
        """Has every worker make its contenders and check them: [(kind, name)] of those that are right."""
        self._start(self._wanted(case))
        ready = self._all(list(self._wanted(case)), row, do="load", case=case.describe())
        if self.data is None or Data.key(self.data.case) != Data.key(case):
            self.room.leave()
            self.data = Data(case, self.room, self.room)
            self.reference = Reference(self.data)
        assert self.reference is not None
        self.reference.write(case, self.files)
        ready = self._all(list(ready), row, do="prepare", expected=self.files.paths)
        found = []
        for kind, answer in ready.items():
            row["missing"] |= answer["failed"]
            for name, report in answer["contenders"].items():
                row["error"][name] = report["error"]
                if "digest" in report:
                    row["digest"][name] = report["digest"]
                if report["wrong"]:
                    row["wrong"].append(name)
                else:
                    found.append((kind, name))
        return found

    def _all(self, kinds: list[str], row: Row, **request: Any) -> dict[str, dict[str, Any]]:
        """Asks all at once: kind -> answer, of those that answer."""
        answers = {}
        for kind in list(kinds):
            try:
                self.processes[kind].send(**request)
            except (Lost, KeyError) as lost:
                kinds.remove(kind)
                self._drop(kind, row, lost)
        for kind in kinds:
            try:
                answers[kind] = self.processes[kind].receive()
            except Lost as lost:
                self._drop(kind, row, lost)
        return answers

    def _drop(self, kind: str, row: Row, why: Exception) -> None:
        """Without this worker for the rest of the case; a new one may start with the next."""
        row["missing"][kind] = self.missing.get(kind, str(why))
        if process := self.processes.pop(kind, None):
            process.stop()

    def _contest(
        self, contenders: list[tuple[str, str]], seconds: float, rounds: int, row: Row
    ) -> None:
        shuffle = random.Random(0).shuffle
        block = seconds / rounds / max(1, len(contenders))
        medians: dict[str, list[float]] = {name: [] for _, name in contenders}
        least: dict[str, float] = {}
        left = list(contenders)
        for process in self.processes.values():
            process.settle()
        for i in range(rounds):
            shuffle(left)
            for kind, name in list(left):
                if kind not in self.processes:  # lost meanwhile
                    left.remove((kind, name))
                    continue
                try:
                    answer = self._turn(kind, name, block, calibrate=i == 0)
                except Lost as lost:
                    self._drop(kind, row, lost)
                    continue
                medians[name].append(answer["median"])
                least[name] = min(least.get(name, answer["min"]), answer["min"])
                if answer["median"] > SLOW and i + 1 >= SLOW_ROUNDS:
                    left.remove((kind, name))
        for name, values in medians.items():
            if values:
                row["median_us"][name] = round(1e6 * statistics.median(values), 3)
                row["min_us"][name] = round(1e6 * least[name], 3)
                row["rounds"][name] = len(values)

    def _turn(self, kind: str, name: str, block: float, calibrate: bool) -> dict[str, Any]:
        """A block of calls; once more if others took a CPU away meanwhile and it was a short one."""
        process = self.processes[kind]
        for last in (False, True):
            answer = process.ask(do="turn", name=name, seconds=block, calibrate=calibrate)
            process.settle()
            if last or not answer["disturbed"] or answer["seconds"] > 4 * block:
                break
        return answer
