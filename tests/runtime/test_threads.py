"""Threads change speed, never a bit: any number of them, after fork, from several Python threads at once."""

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


FORK = """
import os, sys
import numpy as np
from bncore import functional as F
x = np.random.default_rng(0).standard_normal((20_000, 64)).astype(np.float32)
wanted = F.batch_norm(x)[0]          # the parent's threads are running
for _ in range(5):
    child = os.fork()
    if child == 0:
        same = np.array_equal(F.batch_norm(x)[0], wanted) and F.statistics(x).count == 20_000
        os._exit(0 if same else 3)
    assert os.waitpid(child, 0)[1] == 0
    assert np.array_equal(F.batch_norm(x)[0], wanted)
print("done")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_forked_children_compute():
    """libgomp deadlocks in the child of a process that has used it; bncore must not (hence the time limit)."""
    done = subprocess.run(
        [sys.executable, "-c", FORK], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout == "done\n", done.stderr


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
    assert naming == ["threads.c"]
