"""One library in a process of its own: prepares cases, checks its results, times a few calls when it is its turn.

Started by norms/arena.py, with which it talks in lines of JSON through its input and output. Its threads, its heap and
its pages are thus nobody else's, and between its turns it sleeps.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
import zlib
from typing import Any

import peers
from norms.cases import Case
from norms.data import Data, Room
from norms.reference import Expected

CLOCK = 5e-5  # seconds a sample lasts at least: short calls are repeated
SLOW = 0.04  # calls longer than this are not repeated without need
WARM = 2e-3  # calls shorter than this are warmed up more than once
TICK = 5e-3  # so often a thread may lose its CPU for a moment though nobody else is at work
LIMITS = {"float32": 1e-3, "float64": 1e-10}  # a larger error of y or dx is a wrong result


class Worker:
    """Answers requests about one peer."""

    def __init__(self, peer: peers.PeerType) -> None:
        self.peer = peer
        self.data: Data | None = None
        self.key: Any = None
        self.room, self.spare = Room(), Room()
        self.contenders: dict[str, peers.Contender] = {}
        self.seconds: dict[str, float] = {}

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        do = request.pop("do")
        return {"load": self.load, "prepare": self.prepare, "turn": self.turn}[do](**request)

    def load(self, case: dict[str, Any]) -> dict[str, Any]:
        """Lets go of the case before and makes the arrays of this one, unless they are the same."""
        self.contenders.clear()
        self.seconds.clear()
        self.peer.forget()
        self.case = Case.of(case)
        gc.collect()
        self.spare.leave()
        if self.data is None or Data.key(self.case) != self.key:
            self.room.leave()
            self.data, self.key = Data(self.case, self.room, self.spare), Data.key(self.case)
        self.data.case = self.case
        return {}

    def prepare(self, expected: dict[str, str]) -> dict[str, Any]:
        """Makes the contenders, and checks their results against the files ``expected``."""
        assert self.data is not None
        right = Expected(self.case, **expected)
        if right.silent is not None:
            self.data.silence(right.silent)
        report, failed = {}, {}
        for name, make in self.peer.contenders(self.data).items():
            try:
                report[name] = self._check(name, make(), right)
            except Exception as error:  # whatever a library raises costs its figure alone
                failed[name] = f"{type(error).__name__}: {str(error)[:200]}"
        return {"contenders": report, "failed": failed}

    def _check(self, name: str, contender: peers.Contender, right: Expected) -> dict[str, Any]:
        start = time.perf_counter()
        result = contender.call()
        self.seconds[name] = time.perf_counter() - start
        found: dict[str, Any] = {"error": {}, "wrong": False}
        if contender.arrays is not None:
            arrays = contender.arrays(result)
            found["error"] = right.errors(arrays)
            limit = LIMITS[self.case.dtype]
            found["wrong"] = not all(error < limit for error in found["error"].values())
            if self.peer.digests:
                found["digest"] = digest(arrays)
        if not found["wrong"]:
            self.contenders[name] = contender
        return found

    def turn(self, name: str, seconds: float, calibrate: bool = False) -> dict[str, Any]:
        """Times a block of calls that lasts about ``seconds``: the median and the least time of one call."""
        call = self.contenders[name].call
        if calibrate:
            self.seconds[name] = one(call)
        last = self.seconds[name]
        if calibrate and last > SLOW:
            return {"median": last, "min": last, "disturbed": False, "seconds": last}
        if seconds > last / 2:  # a slow call is not worth warming up for
            call()
        if last < WARM:
            call()
            last = one(call)
        inner = max(1, int(CLOCK / max(last, 1e-8)))
        samples = min(400, max(1, int(seconds / (last * inner))))
        gc.disable()
        before, times = switches(), []
        for _ in range(samples):
            start = time.perf_counter()
            for _ in range(inner):
                call()
            times.append((time.perf_counter() - start) / inner)
        gc.enable()
        times.sort()
        return {
            "median": times[len(times) // 2],
            "min": times[0],
            "disturbed": switches() - before > samples // 4 + sum(times) * inner / TICK,
            "seconds": sum(times) * inner,
        }


def one(call: Any) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def digest(arrays: tuple[Any, ...]) -> str:
    """Equal for equal bits."""
    value = 0
    for array in arrays:
        value = zlib.crc32(memoryview(array.reshape(-1)).cast("B"), value)
    return f"{value:08x}"


def switches() -> int:
    """How often this process lost a CPU so far: somebody else was at work."""
    try:
        import resource
    except ImportError:  # not on this system
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


def pin(threads: int) -> None:
    """Allows as many CPUs: for libraries whose threads follow them."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])


def main() -> int:
    kind, threads = sys.argv[1], int(sys.argv[2])
    output = os.fdopen(os.dup(1), "w", buffering=1)  # what libraries print goes to the errors
    os.dup2(2, 1)

    def reply(message: dict[str, Any]) -> None:
        output.write(json.dumps(message) + "\n")

    if peers.KINDS[kind].pinned:
        pin(threads)
    try:
        worker = Worker(peers.make(kind, threads))
    except peers.Missing as missing:
        reply({"missing": str(missing)})
        return 0
    gc.collect()
    gc.freeze()  # what libraries made when they were imported need not be looked at again
    reply({"version": worker.peer.version})
    for line in sys.stdin:
        try:
            reply(worker.answer(json.loads(line)))
        except Exception as error:
            reply({"lost": f"{type(error).__name__}: {str(error)[:200]}"})
    return 0


if __name__ == "__main__":
    sys.exit(main())
