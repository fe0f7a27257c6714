"""The team of threads as a process sees it: fork, exit, signals, limits, processors. Every test is a script of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("native")


def check(script, code=0, **variables):
    """Runs a script of its own, which prints "done", without the thread limits of these tests' process."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_"))}
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=clean | {"OPENBLAS_NUM_THREADS": "1"} | variables,
    )
    assert (done.stdout, done.returncode) == ("done\n", code), done.stderr


FORK = """
import os, sys
import numpy as np
from bncore import functional as F, _native
_native.force_threads(2)
x = np.random.default_rng(0).standard_normal((20_000, 64)).astype(np.float32)
wanted = F.batch_norm(x)[0]          # the parent's threads are running
for _ in range(5):
    child = os.fork()
    if child == 0:
        same = np.array_equal(F.batch_norm(x)[0], wanted) and F.statistics(x).count == 20_000
        team = _native.thread_statistics()
        own = team["kind"] != "own" or len(os.listdir("/proc/self/task")) == 2
        os._exit(0 if same and own else 3)
    assert os.waitpid(child, 0)[1] == 0
    assert np.array_equal(F.batch_norm(x)[0], wanted)
print("done")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_forked_children_compute():
    """libgomp deadlocks in the child of a process that has used it; bncore must not (hence the time limit).

    With a team of our own the child computes on several threads.
    """
    check(FORK)


FORK_UNDER_WAY = """
import os, threading
import numpy as np
from bncore import functional as F, _native
_native.force_threads(2)
x = np.random.default_rng(0).standard_normal((20_000, 64)).astype(np.float32)
wanted = F.batch_norm(x)[0]
stop = threading.Event()
def compute():
    while not stop.is_set():
        F.batch_norm(x)
threads = [threading.Thread(target=compute) for _ in range(2)]
for thread in threads:
    thread.start()
for _ in range(20):
    child = os.fork()
    if child == 0:
        os._exit(0 if np.array_equal(F.batch_norm(x)[0], wanted) else 3)
    assert os.waitpid(child, 0)[1] == 0
stop.set()
for thread in threads:
    thread.join()
print("done")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_fork_while_other_threads_compute():
    check(FORK_UNDER_WAY)


EXIT = """
import threading, time
import numpy as np
from bncore import functional as F, _native
_native.force_threads(3)
x = np.random.default_rng(0).standard_normal((20_000, 64)).astype(np.float32)
def compute():
    while True:
        F.batch_norm(x)
threading.Thread(target=compute, daemon=True).start()
time.sleep(0.1)
print("done", flush=True)
{end}
"""


@pytest.mark.parametrize("end", ["", "raise SystemExit", "raise ValueError"])
def test_a_process_ends_while_threads_compute(end):
    """Workers and a daemon's call in the midst of it keep nobody from leaving, by whatever door."""
    check(EXIT.format(end=end), code=1 if "Value" in end else 0)


TASKS = """
import os, time
from pathlib import Path
import numpy as np
from bncore import functional as F, _native
def workers():
    tasks = [Path("/proc/self/task", t) for t in os.listdir("/proc/self/task")]
    return [t for t in tasks if (t / "comm").read_text() == "bncore\\n"]
def field(task, name):
    lines = dict(line.split(":", 1) for line in (task / "status").read_text().splitlines())
    return lines[name].strip()
def places(tasks):
    return [os.sched_getaffinity(int(t.name)) for t in tasks]
x = np.random.default_rng(0).standard_normal((20_000, 64)).astype(np.float32)
small = x[:500]
"""

IDLE = (
    TASKS
    + """
_native.force_threads(3)
F.batch_norm(x)
for _ in range(500):  # a worker has its name only once it has run
    time.sleep(0.01)
    if [field(t, "State")[0] for t in workers()] == ["S", "S"]:
        break
else:
    raise AssertionError("there are not two workers that sleep")
blocked = {int(field(t, "SigBlk"), 16) for t in workers()}
import signal
usual = [signal.SIGINT, signal.SIGTERM, signal.SIGALRM, signal.SIGCHLD, signal.SIGUSR1]
assert all(mask >> (s - 1) & 1 for mask in blocked for s in usual), blocked
assert not any(mask >> (signal.SIGSEGV - 1) & 1 for mask in blocked)
print("done")
"""
)

SMALL = (
    TASKS
    + """
for _ in range(50):
    F.batch_norm_backward(small, F.batch_norm(small)[1])
assert not workers() and _native.thread_statistics()["together"] == 0
print("done")
"""
)

ONE = (
    TASKS
    + """
import bncore as bn
assert _native.thread_limit() == {limit}
for _ in range(20):
    F.batch_norm(np.tile(x, (4, 1)))
assert len(workers()) == {limit} - 1, workers()
if {limit} > 1:
    before = _native.thread_statistics()["together"]
    with bn.threads(1):
        F.batch_norm(np.tile(x, (4, 1)))
    os.sched_setaffinity(0, {{min(os.sched_getaffinity(0))}})
    F.batch_norm(np.tile(x, (4, 1)))
    assert _native.thread_statistics()["together"] == before
print("done")
"""
)

own_team = pytest.mark.skipif(sys.platform != "linux", reason="the own team is for Linux")
two_processors = pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2,
    reason="needs two processors",
)


@own_team
def test_workers_sleep_and_leave_signals_alone():
    check(IDLE)


@own_team
def test_small_arrays_start_nobody():
    check(SMALL)


@own_team
@two_processors
@pytest.mark.parametrize(
    ("variables", "limit"),
    [
        ({"OMP_NUM_THREADS": "2"}, 2),
        ({"OMP_NUM_THREADS": "1"}, 1),
        ({"OMP_NUM_THREADS": "2", "OMP_THREAD_LIMIT": "1"}, 1),
    ],
    ids=str,
)
def test_limits_hold_for_the_team(variables, limit):
    """OpenMP's variables, bn.threads and a change of affinity while the program runs."""
    check(ONE.format(limit=limit), **variables)


ROUNDING = """
import ctypes, platform
import numpy as np
from bncore import functional as F, _native
x = np.random.default_rng(0).standard_normal((20_000, 64)).astype(np.float32)
_native.force_threads(4)
nearest = F.batch_norm(x)[0]
libm = ctypes.CDLL("libm.so.6")
upward = {"x86_64": 0x800, "aarch64": 0x400000}[platform.machine()]
assert libm.fesetround(upward) == 0
several = [F.batch_norm(x)[0] for _ in range(20)]
_native.force_threads(1)
one = F.batch_norm(x)[0]
libm.fesetround(0)
assert all(np.array_equal(y, one) for y in several) and not np.array_equal(nearest, one)
print("done")
"""


@own_team
def test_workers_round_like_their_caller():
    check(ROUNDING)


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

VISITOR = (
    TASKS
    + """
import threading
def compute():
    for _ in range(5):
        time.sleep(0.005)  # long enough for the workers to sleep: they are placed when they wake
        F.batch_norm(x)
_native.force_threads(2)
everywhere = os.sched_getaffinity(0)
compute()
def elsewhere():
    os.sched_setaffinity(0, {min(everywhere)})
    compute()
    global during
    during = places(workers())
thread = threading.Thread(target=elsewhere)
thread.start()
thread.join()
assert during == [{min(everywhere)}], during
assert os.sched_getaffinity(0) == everywhere
compute()
(after,) = places(workers())  # all but where the caller was
assert after <= everywhere and len(after) == len(everywhere) - 1, after
print("done")
"""
)


@two_processors
@pytest.mark.parametrize(
    ("script", "variables"),
    [(BOUND, {"OMP_PROC_BIND": "true"}), (BOUND, {"OMP_PLACES": "threads"}), (VISITOR, {})],
    ids=["bound", "placed", "visitor"],
)
def test_workers_stay_where_they_belong(script, variables):
    """Threads that the user bound are used and not moved; unbound ones have the processors of whoever calls."""
    check(script, **variables)


@own_team
@pytest.mark.parametrize("team", [[], ["-DBNC_OPENMP_REGION"]], ids=["own", "openmp"])
@pytest.mark.parametrize("sanitizer", ["thread", "address,undefined"])
def test_stress_under_sanitizers(tmp_path, team, sanitizer):
    """Both teams in a C program; OpenMP's library is not made for the thread sanitizer, which misses its barriers."""
    sources = Path(__file__).parents[2] / "src_c"
    compiler = shutil.which("gcc")
    if compiler is None or not sources.exists():
        pytest.skip("needs gcc and the sources")
    if team and sanitizer == "thread":
        pytest.skip("OpenMP's barriers look like races")
    program = str(tmp_path / "stress")
    options = ["-std=gnu11", "-O1", "-g", "-fopenmp", f"-fsanitize={sanitizer}", f"-I{sources}"]
    files = [Path(__file__).with_name("team_stress.c"), *(sources / "runtime").glob("*.c")]
    files = [str(f) for f in files if f.name != "isa.c"]  # which needs the kernels
    built = subprocess.run(
        [compiler, *options, *team, *files, "-o", program, "-pthread"],
        capture_output=True,
        text=True,
        check=False,
    )
    if built.returncode and "cannot find" in built.stderr:
        pytest.skip("this compiler has no such sanitizer")
    assert built.returncode == 0, built.stderr
    done = subprocess.run(
        [program],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=os.environ | {"TSAN_OPTIONS": "die_after_fork=0"},
    )
    assert (done.stdout, done.returncode) == ("done\n", 0), done.stderr
