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


BOUND = """
import os, time
import numpy as np
from bncore import functional as F, _native
def places():
    return sorted(sorted(os.sched_getaffinity(int(t))) for t in os.listdir("/proc/self/task"))
x = np.random.default_rng(0).standard_normal((20_000, 64)).astype(np.float32)
F.batch_norm(x)
before = places()
for _ in range(5):
    time.sleep(0.005)  # long enough for the workers to be steered
    F.batch_norm(x)
assert places() == before, (before, places())
assert len(before) == _native.thread_limit() > 1, before
print("done")
"""

VISITOR = """
import os, threading, time
import numpy as np
from bncore import functional as F, _native
def places():
    return {int(t): os.sched_getaffinity(int(t)) for t in os.listdir("/proc/self/task")}
def compute():
    for _ in range(5):
        time.sleep(0.005)  # long enough for the workers to sleep: they are placed when they wake
        F.batch_norm(x)
x = np.random.default_rng(0).standard_normal((20_000, 64)).astype(np.float32)
_native.force_threads(2)
compute()
before = places()
def elsewhere():
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    compute()
    global during
    during = places()
thread = threading.Thread(target=elsewhere)
thread.start()
thread.join()
moved = [t for t in before if during[t] != before[t]]
assert len(moved) == 1 and moved[0] != os.getpid(), (before, during)
compute()
assert places() == before
print("done")
"""


@pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2,
    reason="needs two processors",
)
@pytest.mark.parametrize(
    ("script", "variables"),
    [(BOUND, {"OMP_PROC_BIND": "true"}), (BOUND, {"OMP_PLACES": "threads"}), (VISITOR, {})],
    ids=["bound", "placed", "visitor"],
)
def test_workers_stay_where_they_belong(script, variables):
    """Threads that the user bound are used and not moved; unbound ones have the processors of whoever calls."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_"))}
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=clean | {"OPENBLAS_NUM_THREADS": "1"} | variables,
    )
    assert done.stdout == "done\n", done.stderr


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
