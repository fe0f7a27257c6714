"""Outputs live in the pool, invisibly: nobody overwrites a live array, memory comes back, the bound holds."""

from __future__ import annotations

import gc
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import bncore as bn
from bncore import functional as F

pytestmark = pytest.mark.usefixtures("native")


def output(n=1000, c=64, seed=0):
    return F.batch_norm(np.random.default_rng(seed).standard_normal((n, c)))[0]


def test_outputs_are_ordinary_arrays():
    y = output()
    assert type(y) is np.ndarray
    assert y.base is None
    assert y.flags.owndata
    assert y.flags.writeable
    assert y.ctypes.data % 64 == 0
    assert np.array_equal(pickle.loads(pickle.dumps(y)), y)
    grown = y.copy()
    y.resize((2000, 64), refcheck=False)
    assert np.array_equal(y[:1000], grown)
    assert y.shape == (2000, 64)


def test_a_view_keeps_its_memory():
    y = output()
    view, copy = y[10:20], y[10:20].copy()
    del y
    gc.collect()
    others = [output(seed=i) for i in range(20)]
    assert np.array_equal(view, copy)
    assert all(not np.may_share_memory(view, o) for o in others)


def test_memory_is_used_again():
    address = output().ctypes.data
    before = bn.pool.statistics()
    again = [output().ctypes.data for _ in range(5)]
    after = bn.pool.statistics()
    assert after["hits"] > before["hits"]
    assert after["misses"] == before["misses"]
    assert address in again


def test_trim_returns_idle_memory():
    output(20_000)
    assert bn.pool.statistics()["idle_bytes"] >= 20_000 * 64 * 8
    freed = bn.pool.trim()
    assert freed >= 20_000 * 64 * 8
    assert bn.pool.statistics()["idle_bytes"] == 0


def test_live_bytes_return_to_where_they_were():
    gc.collect()
    before = bn.pool.statistics()["live_bytes"]
    kept = [output(n) for n in (10, 1000, 50_000)]
    assert bn.pool.statistics()["live_bytes"] > before
    del kept
    gc.collect()
    assert bn.pool.statistics()["live_bytes"] == before


def in_child(code, **environment):
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **environment},
    )
    return done.stdout.strip(), done.stderr


def test_the_bound_holds():
    code = """
import numpy as np, bncore as bn
from bncore import functional as F
x = np.ones((4000, 64)); x[::2] = 2
for rows in range(100, 4000, 300):
    F.batch_norm(x[:rows].copy())
    assert bn.pool.statistics()["idle_bytes"] <= 1_000_000
print(bn.pool.statistics()["bound_bytes"], bn.pool.statistics()["evicted"] > 0)
"""
    out, err = in_child(code, BNCORE_POOL_BYTES="1000000", BNCORE_BACKEND="native")
    assert out == "1000000 True", err


def test_a_bad_bound_is_named():
    _, err = in_child("import bncore.backend", BNCORE_POOL_BYTES="plenty", BNCORE_BACKEND="native")
    assert "BNCORE_POOL_BYTES must be a number of bytes, got 'plenty'" in err


def test_arrays_alive_at_exit_do_no_harm():
    code = """
import numpy as np
from bncore import functional as F
class Keeper: pass
keep = Keeper(); keep.me = keep
keep.y = F.batch_norm(np.random.rand(5000, 64))
view = keep.y[0][3:5]
print("done")
"""
    assert in_child(code, BNCORE_BACKEND="native") == ("done", "")


def test_many_threads_take_and_give():
    def churn(seed):
        rng = np.random.default_rng(seed)
        alive = []
        for _ in range(150):
            n = int(rng.integers(2, 3000))
            x = np.full((n, 8), float(seed))
            x[0] += 1
            alive.append((F.batch_norm(x, None, np.full(8, float(seed)), eps=1.0)[0], n))
            if len(alive) > 10:
                y, n = alive.pop(int(rng.integers(10)))
                # mean of y is beta, whoever else wrote meanwhile
                assert abs(y.mean() - seed) < 1e-9
        return True

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(churn, range(6)))
