"""Winograd's way: as exact as the direct one, no farther reaching, the same for any number of threads, switchable."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

import bncore as bn
from bncore import backend as backends
from bncore import functional as F
from tests.reference import conv as reference

pytestmark = pytest.mark.usefixtures("native")
SHAPE, WEIGHT = (3, 24, 11, 14), (20, 24, 3, 3)


def arrays(rng, scale=1.0, shift=0.0):
    x = (shift + scale * rng.standard_normal(SHAPE)).astype(np.float32)
    weight = rng.standard_normal(WEIGHT).astype(np.float32)
    return x, weight, rng.standard_normal((3, 20, 11, 14)).astype(np.float32)


def all_three(x, weight, dy, axis=1):
    """y, dx and dweight, channels first."""
    if axis == -1:
        x, dy = (np.ascontiguousarray(np.moveaxis(a, 1, -1)) for a in (x, dy))
    y, saved = F.conv2d(x, weight, padding=1, axis=axis)
    dx, dweight, _ = F.conv2d_backward(dy, saved)
    return [a if axis == 1 else np.moveaxis(a, -1, 1) for a in (y, dx)] + [dweight]


@pytest.mark.parametrize("axis", [1, -1])
@pytest.mark.parametrize("data", [{}, {"shift": 100.0}, {"scale": 1e-20}, {"scale": 1e15}], ids=str)
def test_it_errs_as_little_as_the_direct_way(rng, data, axis):
    x, weight, dy = arrays(rng, **data)
    with bn.winograd(False):
        exact = all_three(*(a.astype(np.float64) for a in (x, weight, dy)), axis)
        direct = all_three(x, weight, dy, axis)
    ours = all_three(x, weight, dy, axis)
    for a, b, c in zip(ours, direct, exact):
        largest = np.abs(c).max()
        # both round sums of about 200 to 500 products; the transforms add a few roundings of their own
        limit = 2 * np.abs(b - c).max() + 2 * np.finfo(np.float32).eps * largest
        assert np.abs(a - c).max() <= limit
    assert not np.array_equal(ours[0], direct[0])  # or it was not Winograd's at all


def test_the_direct_way_is_the_formula(rng):
    """What the test above calls exact."""
    x, weight, _ = arrays(rng)
    with bn.winograd(False):
        y, _ = F.conv2d(x.astype(np.float64), weight.astype(np.float64), padding=1)
    options = {
        "groups": 1,
        "out_size": (11, 14),
        "stride": (1, 1),
        "padding": (1, 1),
        "dilation": (1, 1),
    }
    expected = reference.conv(x, weight, np.zeros(20), kernel=(3, 3), **options)
    assert np.abs(y - expected).max() <= 1e-12 * np.abs(expected).max()


@pytest.mark.parametrize("place", [(4, 6), (5, 7), (0, 0), (10, 13)])
def test_an_infinity_reaches_what_it_should_and_becomes_nan(rng, place):
    """Transforms add and subtract it: its sign is lost, but no output outside of the kernel sees it."""
    x, weight, _ = arrays(rng)
    x[1, 5, place[0], place[1]] = np.inf
    with bn.winograd(False):
        direct, _ = F.conv2d(x, weight, padding=1)
    y, _ = F.conv2d(x, weight, padding=1)
    assert np.array_equal(np.isfinite(y), np.isfinite(direct))
    assert np.isinf(direct).any() and np.isnan(y).any()


@pytest.mark.parametrize("shape", [(1, 32, 40, 40), (5, 16, 7, 7), (40, 48, 4, 4)], ids=str)
@pytest.mark.parametrize("enabled", [True, False])
def test_the_same_bits_for_any_number_of_threads(rng, shape, enabled):
    native = backends.native_module()
    x = rng.standard_normal(shape).astype(np.float32)
    weight = rng.standard_normal((33, shape[1], 3, 3)).astype(np.float32)
    results = []
    with bn.winograd(enabled):
        for threads in (1, 2, 3, 5):
            native.force_threads(threads)
            try:
                y, saved = F.conv2d(x, weight, padding=1)
                results.append([y, *F.conv2d_backward(y, saved)[:2]])
            finally:
                native.force_threads(0)
    for others in results[1:]:
        assert all(map(np.array_equal, results[0], others))


def test_the_switch_goes_back():
    native = backends.native_module()
    before = native.winograd_allowed()
    with bn.winograd(False):
        assert not native.winograd_allowed()
        with bn.winograd(True):
            assert native.winograd_allowed()
        assert not native.winograd_allowed()
    assert native.winograd_allowed() == before
    with pytest.raises(TypeError, match="enabled"), bn.winograd(1):
        pass


@pytest.mark.parametrize(
    ("value", "word"), [("0", "False"), ("1", "True"), ("", "True"), ("2", "BNCORE_WINOGRAD")]
)
def test_the_environment_forbids_it(value, word):
    code = "from bncore import _native; import bncore.backend; print(_native.winograd_allowed())"
    env = {k: v for k, v in os.environ.items() if k != "BNCORE_BACKEND"} | {
        "BNCORE_WINOGRAD": value
    }
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=env,
        check=False,
        timeout=120,
    )
    assert word in done.stdout + done.stderr
