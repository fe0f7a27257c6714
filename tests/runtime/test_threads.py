"""Threads change speed, never a bit: any number of them, within limits, from several Python threads at once."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import bncore as bn
from bncore import functional as F
from tests.norm.cases import arrays

pytestmark = pytest.mark.usefixtures("native")

# Large enough for many chunks in every traversal.
SHAPES = [
    ((40_000, 33), 1),
    ((64, 24, 30, 31), 1),
    ((64, 30, 31, 24), -1),
    ((1, 3, 400_001), 1),
    ((300, 48, 5, 5), 1),
]


def everything(a, axis):
    """All results of a training step, an evaluation and the statistics, as one list of arrays."""
    running = a.running_mean.copy(), a.running_var.copy()
    y, saved = F.batch_norm(
        a.x, a.weight, a.bias, *running, axis=axis, activation="relu", residual=a.residual
    )
    gradients = F.batch_norm_backward(a.dy, saved)
    evaluated, _ = F.batch_norm(a.x, a.weight, a.bias, *running, axis=axis, training=False)
    stats = F.statistics(a.x, axis=axis)
    renormed = F.batch_renorm(a.x, a.weight, a.bias, *running, axis=axis)
    mask = np.random.default_rng(0).random(np.delete(a.x.shape, axis)) < 0.7
    masked, saved = F.batch_norm(a.x, a.weight, a.bias, axis=axis, mask=mask)
    gradients += (renormed[0], masked, *F.batch_norm_backward(a.dy, saved))
    ghosts, saved = F.ghost_batch_norm(a.x, a.weight, a.bias, axis=axis, ghost_batch_size=20_000)
    gradients += (ghosts, *F.ghost_batch_norm_backward(a.dy, saved))
    return [y, *running, *gradients, evaluated, stats.mean, stats.var]


@pytest.fixture
def force_threads():
    """Uses any number of threads, more than there are processors too."""
    from bncore import _native

    yield _native.force_threads
    _native.force_threads(0)


@pytest.mark.parametrize(("shape", "axis"), SHAPES, ids=str)
def test_same_bits_for_any_number_of_threads(shape, axis, dtype, force_threads):
    a = arrays(shape, axis, dtype)
    force_threads(1)
    wanted = everything(a, axis)
    for threads in (2, 3, 8):
        force_threads(threads)
        for _ in range(3):
            for one, other in zip(everything(a, axis), wanted, strict=True):
                assert np.array_equal(one, other), threads


def test_threads_limits_the_team():
    from bncore import _native

    with bn.threads(1):
        assert _native.thread_limit() == 1
    with bn.threads(None):
        assert _native.thread_limit() >= 1


def test_threads_limits_the_team_before_anything_else_was_used():
    """The core, and OpenMP with it, comes with the first use; a limit set before must be one all the same."""
    code = (
        "import bncore as bn\n"
        "with bn.threads(1):\n"
        "    from bncore import _native\n"
        "    print(_native.thread_limit())"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    assert done.stdout.strip() == "1"


@pytest.mark.parametrize("bad", [0, -1, 1.5, "two", True])
def test_bad_thread_counts_are_named(bad):
    with pytest.raises((TypeError, ValueError), match="n "), bn.threads(bad):
        pass


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs processor affinity")
def test_affinity_limits_the_team():
    from bncore import _native

    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert _native.thread_limit() == 1
    finally:
        os.sched_setaffinity(0, allowed)


def test_many_python_threads_at_once(dtype):
    """Every Python thread gets its own right results, whoever has the team."""
    inputs = [arrays((4000 + 100 * i, 64), 1, dtype, seed=i) for i in range(6)]
    wanted = [everything(a, 1) for a in inputs]
    with ThreadPoolExecutor(6) as pool:
        for _ in range(3):
            for got, right in zip(
                pool.map(lambda a: everything(a, 1), inputs), wanted, strict=True
            ):
                assert all(np.array_equal(g, r) for g, r in zip(got, right, strict=True))


def test_only_one_file_names_openmp():
    from pathlib import Path

    sources = Path(bn.__file__).parents[1] / "src_c"
    if not sources.exists():
        pytest.skip("needs the sources")
    naming = [
        p.name
        for p in sources.rglob("*.[ch]")
        if "omp_" in p.read_text() or "pragma omp parallel" in p.read_text()
    ]
    assert naming == ["openmp.c"]
