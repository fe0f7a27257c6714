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


# Both ways round sums of about 200 to 500 products; the transforms add roundings of their own, and those of the large tiles
# have numbers up to 5 times as large as what they are made of, in both directions. Measured: 0.3 to 1 and 1 to 3 times the
# plain sum's largest error.
ERROR_OF_THE_PLAIN_SUM = {2: 2, 4: 5}


@pytest.mark.parametrize("axis", [1, -1])
@pytest.mark.parametrize("tile", [2, 4])
@pytest.mark.parametrize("data", [{}, {"shift": 100.0}, {"scale": 1e-20}, {"scale": 1e15}], ids=str)
def test_it_errs_about_as_little_as_the_direct_way(rng, data, tile, axis):
    x, weight, dy = arrays(rng, **data)
    with bn.winograd(False):
        exact = all_three(*(a.astype(np.float64) for a in (x, weight, dy)), axis)
        direct = all_three(x, weight, dy, axis)
    with bn.winograd(tile):
        ours = all_three(x, weight, dy, axis)
    for a, b, c in zip(ours, direct, exact):
        largest = np.abs(c).max()
        times = ERROR_OF_THE_PLAIN_SUM[tile]
        limit = times * np.abs(b - c).max() + 2 * np.finfo(np.float32).eps * largest
        assert np.abs(a - c).max() <= limit
    assert not np.array_equal(ours[0], direct[0])  # or it was not Winograd's at all


@pytest.mark.parametrize("size", [(2, 2), (3, 5), (4, 4), (5, 7), (8, 8), (13, 6)], ids=str)
@pytest.mark.parametrize("channels", [(16, 16), (19, 33)], ids=str)
@pytest.mark.parametrize("padding", [0, 1, 2])
@pytest.mark.parametrize("tile", [2, 4])
def test_every_size_in_float64(rng, size, channels, padding, tile):
    """Tails of tiles and channels, in all three passes."""
    h, w = (n + 2 - 2 * min(padding, 1) for n in size)
    x = rng.standard_normal((16, channels[0], h, w))
    weight = rng.standard_normal((channels[1], channels[0], 3, 3))
    results = []
    for way in (False, tile):
        with bn.winograd(way):
            y, saved = F.conv2d(x, weight, padding=padding)
            results.append(
                [y, *F.conv2d_backward(np.cos(np.arange(y.size)).reshape(y.shape), saved)]
            )
    for ours, direct in zip(results[1][:3], results[0][:3]):
        assert np.abs(ours - direct).max() <= 1e-13 * np.abs(direct).max()


def test_the_larger_tiles_are_taken_where_they_save_products(rng):
    for size, larger in (
        (8, True),
        (7, True),
        (6, False),
        (5, False),
        (4, True),
        (3, True),
        (2, False),
    ):
        x = rng.standard_normal((16, 16, size, size)).astype(np.float32)
        weight = rng.standard_normal((16, 16, 3, 3)).astype(np.float32)
        with bn.winograd(2):
            small, _ = F.conv2d(x, weight, padding=1)
        with bn.winograd(4):
            either, _ = F.conv2d(x, weight, padding=1)
        assert np.array_equal(small, either) != larger, size


def test_a_single_small_image_is_not_worth_the_larger_tiles(rng):
    """Their weights are 36 numbers for 9, read for four tiles."""
    x = rng.standard_normal((1, 16, 8, 8)).astype(np.float32)
    weight = rng.standard_normal((16, 16, 3, 3)).astype(np.float32)
    with bn.winograd(2):
        small, _ = F.conv2d(x, weight, padding=1)
    assert np.array_equal(F.conv2d(x, weight, padding=1)[0], small)


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


def with_an_infinity(rng, place, tile):
    """Which outputs are not finite, in the direct way and in tiles, and which of the latter are NaN."""
    x, weight, _ = arrays(rng)
    x[1, 5, place[0], place[1]] = np.inf
    with bn.winograd(False):
        direct, _ = F.conv2d(x, weight, padding=1)
    with bn.winograd(tile):
        y, _ = F.conv2d(x, weight, padding=1)
    return ~np.isfinite(direct), ~np.isfinite(y), np.isnan(y)


@pytest.mark.parametrize("place", [(4, 6), (5, 7), (0, 0), (10, 13)])
def test_an_infinity_reaches_what_it_should_and_becomes_nan(rng, place):
    """Transforms of small tiles add and subtract it: its sign is lost, but no output outside of the kernel sees it."""
    direct, ours, nan = with_an_infinity(rng, place, 2)
    assert direct.any() and np.array_equal(ours, direct) and nan.any()


@pytest.mark.parametrize("place", [(4, 6), (5, 7), (0, 0), (10, 13)])
def test_an_infinity_spreads_over_large_tiles_and_no_farther(rng, place):
    direct, ours, nan = with_an_infinity(rng, place, 4)
    tiles = np.zeros((3, 20, 12, 16), bool)
    tiles[:, :, :11, :14] = direct
    for i in range(0, 12, 4):
        for j in range(0, 16, 4):
            tile = tiles[:, :, i : i + 4, j : j + 4]
            tile[...] = tile.any(axis=(2, 3), keepdims=True)
    assert not (direct & ~ours).any() and not (ours & ~tiles[:, :, :11, :14]).any() and nan.any()


@pytest.mark.parametrize("shape", [(1, 32, 40, 40), (5, 16, 7, 7), (40, 48, 4, 4)], ids=str)
@pytest.mark.parametrize("enabled", [4, 2, False])
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
        assert native.winograd_allowed() == 0
        with bn.winograd(True):
            assert native.winograd_allowed() == 4
        with bn.winograd(2):
            assert native.winograd_allowed() == 2
        assert native.winograd_allowed() == 0
    assert native.winograd_allowed() == before
    for bad in (1, 3, -2):
        with pytest.raises(ValueError, match="enabled"), bn.winograd(bad):
            pass
    for bad in ("on", 2.0, None):
        with pytest.raises(TypeError, match="enabled"), bn.winograd(bad):
            pass


@pytest.mark.parametrize(
    ("value", "word"), [("0", "0"), ("1", "4"), ("", "4"), ("2", "2"), ("3", "BNCORE_WINOGRAD")]
)
def test_the_environment_says_it_from_the_start(value, word):
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
