"""Runs an experiment: seeds, progress, time, threads. What it does is its own file's."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from .. import __version__, backend
from ..support import checks
from ..support.progress import Progress
from ..thread_limits import threads as limited
from .catalogue import find
from .context import Lab
from .outcome import Outcome, Report

__all__ = ["run"]


def run(
    name: str,
    seeds: int | Sequence[int] = 3,
    *,
    quick: bool = False,
    threads: int | None = None,
    progress: bool = True,
) -> Report:
    """Run one experiment.

    Parameters
    ----------
    name : str
        One of `NAMES`.
    seeds : int or sequence of int
        How many, counted from 0, or which. A seed decides initial weights, order of samples and dropout; the split
        into training and test samples is the same for all.
    quick : bool
        Fewer or shorter runs where the answer does not need more.
    threads : int, optional
        Limit of OpenMP and BLAS threads.
    progress : bool
        Show progress on stderr.

    Raises
    ------
    ValueError
        For another name, or no seed.
    ImportError
        If scikit-learn, whose data most experiments use, is missing.
    """
    module = find(name)
    chosen = _seeds(seeds)
    begin = time.perf_counter()
    # nets diverge here on purpose: that is reported, not warned about
    with (
        limited(threads),
        np.errstate(all="ignore"),
        Progress(label=name, show=progress) as bar,
    ):
        lab = Lab(chosen, checks.boolean(quick, "quick"), bar)
        outcome: Outcome = module.run(lab)
        environment = _environment()
    seconds = time.perf_counter() - begin
    return Report(
        name, module.QUESTION, module.SETTING, outcome, chosen, quick, seconds, environment
    )


def _seeds(seeds: int | Sequence[int]) -> tuple[int, ...]:
    if isinstance(seeds, (int, np.integer)):
        return tuple(range(checks.positive_int(seeds, "seeds")))
    chosen = tuple(checks.non_negative_int(seed, "seeds") for seed in seeds)
    if not chosen or len(set(chosen)) < len(chosen):
        raise ValueError(f"seeds must be one at least, each once, got {list(seeds)}")
    return chosen


def _environment() -> dict[str, object]:
    found = backend.info()
    return {
        "version": __version__,
        "backend": found["backend"],
        "isa": found.get("isa"),
        "threads": found["threads"],
    }
