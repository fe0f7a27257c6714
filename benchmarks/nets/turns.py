"""Contenders of one process in turns: each after a pause in which the threads of the one before fall asleep, and calls that wake its own.

After a sleep some pools of threads compute on one CPU for many calls, until the system moves one of them (PyTorch's, on
virtual machines: single calls of tenths of a second). What is timed is a contender that is awake.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Call = Callable[[], Any]


@dataclass(frozen=True)
class Effort:
    """How long to measure."""

    rounds: int = 7  # after one that does not count
    block: float = 0.15  # seconds of timed calls of a turn
    least: int = 3  # of them
    awake: int = 2  # before them: calls in a row that take about the least time so far
    patience: float = 3.0  # seconds to wait for those


QUICK = Effort(rounds=1, block=0.0, least=1, awake=1, patience=0.0)
NEAR = 1.3  # times the least time so far is about that
LOOK, PAUSE = 0.03, 0.5  # seconds: one look at the process, and the longest pause
ASLEEP = 0.05  # share of a CPU


def in_turns(contenders: Mapping[str, Call], effort: Effort) -> dict[str, dict[str, float]]:
    """Median and least time of a call, in ms, by name: medians of blocks, the contenders of a round in shuffled order."""
    found = {name: Times(call, effort) for name, call in contenders.items()}
    order, shuffle = list(found.values()), random.Random(0).shuffle
    for number in range(effort.rounds + 1):
        shuffle(order)
        for times in order:
            settle()
            times.take_turn(counts=number > 0)
    return {
        name: {"median": 1e3 * statistics.median(times.medians), "min": 1e3 * times.least}
        for name, times in found.items()
    }


def settle() -> None:
    """Sleeps until no thread of this process spins any more, so that nobody computes beside the pool of another library."""
    end = time.perf_counter() + PAUSE
    while time.perf_counter() < end:
        wall, used = time.perf_counter(), time.process_time()
        time.sleep(LOOK)
        if time.process_time() - used < ASLEEP * (time.perf_counter() - wall):
            return


class Times:
    """The calls of one contender.

    Attributes
    ----------
    least : float
        Seconds of the fastest call.
    medians : list of float
        Of the timed calls of each turn.
    """

    def __init__(self, call: Call, effort: Effort) -> None:
        self.call, self.effort = call, effort
        self.least = float("inf")
        self.medians: list[float] = []

    def take_turn(self, counts: bool) -> None:
        self.wake()
        times: list[float] = []
        end = time.perf_counter() + self.effort.block
        while len(times) < self.effort.least or time.perf_counter() < end:
            times.append(self.timed())
        if counts:
            self.medians.append(statistics.median(times))

    def wake(self) -> None:
        """Calls until its threads run as they did before."""
        end = time.perf_counter() + self.effort.patience
        near = 0
        while near < self.effort.awake:
            near = near + 1 if self.timed() <= NEAR * self.least else 0
            if time.perf_counter() > end:
                return

    def timed(self) -> float:
        """Seconds of a call."""
        start = time.perf_counter()
        self.call()
        seconds = time.perf_counter() - start
        self.least = min(self.least, seconds)
        return seconds
