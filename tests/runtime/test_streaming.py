"""Stores past the caches: the same bits as plain ones, wherever outputs begin and rows end."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.usefixtures("native")

SCRIPT = """
import sys, zlib
import numpy as np
from bncore import functional as F

def at(shape, dtype, offset):
    size = int(np.prod(shape)) + 128
    whole = np.full(size, np.nan, dtype)
    start = -whole.ctypes.data % 64 // whole.itemsize + offset
    return whole[start : start + size - 128].reshape(shape), whole

def check(name, whole, out):
    outside = whole.size - np.isnan(whole).sum()
    assert outside == out.size, (name, "wrote beside its output")
    print(name, zlib.crc32(out.tobytes()))

for dtype in ("float32", "float64"):
    rng = np.random.default_rng(0)
    for shape, axis in (((37, 768), 1), ((9, 1031), 1), ((37, 80), 1), ((5, 17, 199), 1), ((3, 17, 1024), 1), ((5, 199, 17), -1)):
        x, dy = (rng.standard_normal(shape).astype(dtype) for _ in range(2))
        c = shape[axis]
        w, b = np.linspace(0.5, 2, c, dtype=dtype), np.linspace(-1, 1, c, dtype=dtype)
        for offset in (0, 1, 5):
            label = (dtype, shape, offset)
            out, whole = at(shape, dtype, offset)
            _, saved = F.batch_norm(x, w, b, axis=axis, out=out)
            check(("batch", *label), whole, out)
            dx, whole = at(shape, dtype, offset)
            F.batch_norm_backward(dy, saved, out=dx)
            check(("batch backward", *label), whole, dx)
            if len(shape) == 3 and axis == 1:  # groups that are runs of memory
                for groups in (1, 17):
                    out, whole = at(shape, dtype, offset)
                    _, saved = F.group_norm(x, groups, w, b, out=out)
                    check(("group", groups, *label), whole, out)
                    dx, whole = at(shape, dtype, offset)
                    F.group_norm_backward(dy, saved, out=dx)
                    check(("group backward", groups, *label), whole, dx)
            if axis == -1 or len(shape) == 2:
                for norm in ("layer_norm", "rms_norm"):
                    out, whole = at(shape, dtype, offset)
                    _, saved = getattr(F, norm)(x, w, *([b] if norm == "layer_norm" else []), out=out)
                    check((norm, *label), whole, out)
                    dx, whole = at(shape, dtype, offset)
                    getattr(F, norm + "_backward")(dy, saved, out=dx)
                    check((norm + " backward", *label), whole, dx)
"""


def bits(cache):
    """What the script prints, for a last-level cache of so many bytes."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={
            **os.environ,
            "BNCORE_LLC_BYTES": str(cache),
            "PYTHONPATH": os.pathsep.join(sys.path),
        },
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_streaming_changes_no_bit_and_writes_nothing_else():
    plain, streaming = bits(1 << 40), bits(4096)
    assert len(plain) > 100
    assert streaming == plain
