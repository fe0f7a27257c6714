"""What norms choose for a shape (`norm_plan`, `rows_plan`, `group_plan`): the choices hang together, and calls do what the plan says."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from bncore import backend
from bncore import functional as F

pytestmark = pytest.mark.usefixtures("native")

OPS = ("forward", "evaluation", "backward")
SHAPES = [
    (32, 64, 1),
    (1000, 3, 1),
    (8192, 512, 1),
    (7, 5, 3),
    (64, 32, 49),
    (64, 256, 196),
    (2, 3, 224 * 224),
    (1, 16, 300_000),
    (20, 1, 1000),
    (5_000_000, 2, 1),
]


def plan(op="forward", shape=(64, 256, 196), double=False, residual=False):
    native = backend.native_module()
    return native.norm_plan(op, *shape, double, residual)


@pytest.fixture
def two_threads():
    native = backend.native_module()
    if native.thread_statistics()["kind"] == "none":
        pytest.skip("a serial build")
    native.force_threads(2)
    yield native
    native.force_threads(0)


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("shape", SHAPES)
def test_chunks_cover_the_array(shape, op):
    p = plan(op, shape)
    n, c, s = shape
    assert p["n"] * p["c"] * p["s"] == n * c * s
    assert p["reduces"] == (op != "evaluation")
    assert not (p["by_channels"] and (p["columns"] or not p["reduces"] or p["partials"] > 1))
    if p["columns"]:
        assert p["width"] == p["joined"] * c * s
    if not p["reduces"]:
        return
    if p["columns"]:
        assert p["chunks"] == p["partials"] == max(1, -(-(n // p["joined"]) // p["n_per"]))
    else:
        blocks = -(-p["n"] // p["n_per"]) * -(-p["s"] // p["s_per"])
        assert p["partials"] == blocks
        assert p["chunks"] == blocks * -(-p["c"] // p["c_per"])


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("shape", SHAPES)
def test_stores_go_past_the_caches_where_the_arrays_do_not_fit(shape, op):
    p = plan(op, shape)
    caches = backend.native_module().caches()
    assert p["cache_share"] <= caches["llc"]
    assert p["streaming"] == (p["bytes"] > p["cache_share"])


def test_bytes_are_those_of_the_arrays():
    n, c, s = shape = (64, 256, 196)
    one = n * c * s * 4
    assert plan("forward", shape)["bytes"] == 2 * one
    assert plan("forward", shape, residual=True)["bytes"] == 3 * one
    assert plan("evaluation", shape)["bytes"] == 2 * one
    assert plan("backward", shape)["bytes"] == 3 * one
    assert plan("backward", shape, residual=True)["bytes"] == 5 * one
    assert plan("backward", shape, double=True)["bytes"] == 6 * one


@pytest.mark.parametrize("shape", SHAPES)
def test_the_number_of_threads_moves_no_chunk(shape, two_threads):
    free = ("threads", "limit", "little", "cache_share", "streaming")
    two = plan("forward", shape)
    two_threads.force_threads(1)
    one = plan("forward", shape)
    assert (two["threads"], one["threads"]) == (2, 1)
    assert {k: v for k, v in one.items() if k not in free} == {
        k: v for k, v in two.items() if k not in free
    }


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("shape", [s for s in SHAPES if s[0] * s[1] * s[2] < 2_000_000])
def test_a_call_runs_the_passes_of_its_plan(shape, op, two_threads):
    """Passes of several chunks, which two threads then share, are counted by the team."""
    n, c, s = shape
    x = np.random.default_rng(0).standard_normal((n, c, s)).astype(np.float32)
    ones, zeros = np.ones(c, np.float32), np.zeros(c, np.float32)
    running = {"running_mean": zeros.copy(), "running_var": ones.copy()}
    training = {**running, "training": op != "evaluation"}
    p = plan(op, shape)
    y, saved = F.batch_norm(x, ones, zeros, **training)
    before = two_threads.thread_statistics()["together"]
    if op == "backward":
        F.batch_norm_backward(y, saved)
    else:
        F.batch_norm(x, ones, zeros, **training)
    passes = [p["pass_chunks"]]
    if p["reduces"] and not p["by_channels"]:
        passes.append(p["chunks"])
    expected = sum(chunks > 1 for chunks in passes)
    assert two_threads.thread_statistics()["together"] - before == expected


def test_thresholds_follow_the_last_level_cache():
    def streams(size: str) -> bool:
        program = (
            "import json, bncore.backend as b;"
            "print(json.dumps(b.native_module().norm_plan('forward', 4096, 64, 1, False, False)))"
        )
        env = {**os.environ, "BNCORE_LLC_BYTES": size, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(
            [sys.executable, "-c", program], env=env, check=True, capture_output=True, text=True
        )
        return json.loads(done.stdout)["streaming"]

    assert streams("512K")
    assert not streams("1G")


ROWS = [(4096, 64), (333, 1031), (4, 1_000_000), (40, 200_000), (1, 1), (100_000, 5)]


@pytest.mark.parametrize("op", ["forward", "backward"])
@pytest.mark.parametrize("shape", ROWS)
def test_chunks_of_rows_cover_the_array(shape, op):
    rows, d = shape
    p = backend.native_module().rows_plan(op, rows, d, False)
    assert (p["rows"], p["d"]) == shape
    assert p["chunks"] == -(-rows // p["rows_per"])
    assert 1 <= p["group"] <= p["rows_per"]
    assert p["pieces"] == (-(-d // p["at"]["piece"]) if p["cut"] else 1)
    assert p["bytes"] == (3 if op == "backward" else 2) * 4 * rows * d


@pytest.mark.parametrize("shape", [s for s in ROWS if s[0] * s[1] < 2_000_000])
def test_layer_norm_runs_the_passes_of_its_plan(shape, two_threads):
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    p = two_threads.rows_plan("forward", *shape, False)
    before = two_threads.thread_statistics()["together"]
    F.layer_norm(x)
    assert two_threads.thread_statistics()["together"] - before == (p["chunks"] > 1)


GROUPS = [  # n, a, c, s, groups
    (8, 1, 64, 1024, 16),
    (9000, 1, 64, 1, 8),
    (1000, 1, 6, 5, 3),
    (8, 1024, 64, 1, 16),
    (200, 20, 12, 3, 12),
    (3, 1, 2, 120_000, 2),
    (2, 300, 8, 50, 2),
    (1, 1, 2, 1, 1),
]


@pytest.mark.parametrize("op", ["forward", "backward"])
@pytest.mark.parametrize("shape", GROUPS)
def test_chunks_of_groups_cover_the_array(shape, op):
    n, a, c, s, groups = shape
    p = backend.native_module().group_plan(op, *shape, False)
    assert tuple(p[size] for size in ("n", "a", "c", "s", "groups")) == shape
    assert p["blocks"] == -(-n // p["chunk_items"]) <= p["at"]["most_partials"]
    assert p["group_blocks"] == -(-groups // p["tile_groups"])
    assert p["chunks"] == p["blocks"] * p["group_blocks"]
    assert p["part"] == p["tile_groups"] * (c // groups) * a * s
    stored_by = n * c * a * s if p["direct"] else p["part"]  # by the call, or by one part's pass
    assert p["bytes"] == (3 if op == "backward" else 2) * 4 * stored_by
    if p["tile_groups"] < groups:
        assert (a, p["tile_items"]) == (1, 1)
    assert p["tile_items"] == 1 or p["tile_items"] * p["part"] <= p["at"]["chunk"]
    assert p["turned"] == (a == 1 and c // groups * s < p["at"]["short_group"])


@pytest.mark.parametrize("op", ["forward", "backward"])
@pytest.mark.parametrize("shape", GROUPS)
def test_group_norm_runs_the_passes_of_its_plan(shape, op, two_threads):
    """One pass over chunks, within which all is serial; or a reduction and an output for each tile in turn."""
    n, a, c, s, groups = shape
    x = np.random.default_rng(0).standard_normal((n, a, c, s)).astype(np.float32)
    p = two_threads.group_plan(op, *shape, False)
    _, saved = F.group_norm(x, groups, axis=2)
    before = two_threads.thread_statistics()["together"]
    if op == "backward":
        F.group_norm_backward(x, saved)
    else:
        F.group_norm(x, groups, axis=2)
    inside = (p["reduction_chunks"] > 1) + (p["pass_chunks"] > 1)
    expected = inside * n * p["group_blocks"] if p["inside"] else p["chunks"] > 1
    assert two_threads.thread_statistics()["together"] - before == expected


def test_few_large_tiles_are_shared_out_inside():
    native = backend.native_module()

    def inside(*shape):
        return native.group_plan("forward", *shape, False)["inside"]

    assert inside(2, 1, 2, 200_000, 2)
    assert not inside(4, 1, 2, 200_000, 2)  # eight chunks are enough for a team
    assert not inside(2, 1, 2, 20_000, 2)  # a tile is no work for two
