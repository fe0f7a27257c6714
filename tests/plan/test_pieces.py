"""A compiled net that takes its batch in pieces: the bits of the whole batch, whatever the threads, and never where samples see each other."""

from __future__ import annotations

import numpy as np
import pytest

import bncore as bn
from bncore.plan import pieces
from bncore.plan.core import core

from .cases import CASES

PIECEWISE = ("mlp", "cnn", "resnet20", "separable", "odd sizes")


@pytest.fixture
def small_pieces(monkeypatch):
    """Pieces of few samples, for nets that are small enough for a test."""
    monkeypatch.setattr(pieces, "PIECE_MEMORY", 1)
    monkeypatch.setattr(pieces, "PIECE_WORK", 1)


def compiled_at_once(net, shape, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("bncore.plan.inference.in_pieces", lambda net, plan: None)
        return bn.compile(net, shape)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("name", PIECEWISE)
def test_pieces_give_the_bits_of_the_whole_batch(
    native, name, dtype, threads, rng, small_pieces, monkeypatch
):
    net, shape = CASES[name](np.dtype(dtype))
    net(rng.normal(1, 2, shape).astype(dtype))
    net.eval()
    shape = (7, *shape[1:])
    whole = compiled_at_once(net, shape, monkeypatch)
    core.force_threads(threads)
    try:
        run = bn.compile(net, shape)
        assert run.plan.x.shape[0] < 7
        for _ in range(3):
            x = rng.normal(size=shape).astype(dtype)
            assert np.array_equal(run(x), whole(x))
    finally:
        core.force_threads(0)


def test_a_last_piece_that_overlaps(native, rng, small_pieces, monkeypatch):
    monkeypatch.setattr(pieces, "samples_per_piece", lambda *sizes: 4)
    net = bn.nets.mlp(5, 3).eval()
    run = bn.compile(net, (11, 5))
    assert run.plan.x.shape[0] == 4
    x = rng.normal(size=(11, 5)).astype(np.float32)
    assert np.array_equal(run(x), compiled_at_once(net, (11, 5), monkeypatch)(x))
    assert "4 of 11 samples at a time" in str(run)


def test_an_array_of_any_layout(native, rng, small_pieces):
    net = bn.nets.cnn(3, 4, (4, 8)).eval()
    run = bn.compile(net, (6, 3, 8, 8))
    assert run.plan.x.shape[0] < 6
    x = rng.normal(size=(6, 3, 8, 16)).astype(np.float32)[..., ::2]
    assert np.array_equal(run(x), run(x.copy()))


def test_samples_that_see_each_other_stay_together(native, rng, small_pieces):
    net = bn.Sequential(bn.Linear(5, 8), bn.BatchNorm(8, track_running_stats=False)).eval()
    run = bn.compile(net, (9, 5))
    x = rng.normal(size=(9, 5)).astype(np.float32)
    assert run.plan.x.shape[0] == 9
    assert np.allclose(run(x), net(x), rtol=1e-5, atol=1e-6)


def test_layers_that_are_called_stay_together(native, rng, small_pieces):
    net = bn.nets.recurrent(4, 3, 6, kind="lstm").eval()
    assert bn.compile(net, (8, 5, 4)).plan.x.shape[0] == 8


@pytest.mark.parametrize("samples", [1, 2, 7, 64, 1000])
@pytest.mark.parametrize("memory", [100, 70_000, 50_000_000])  # bytes of a sample
@pytest.mark.parametrize("work", [10, 30_000, 40_000_000])
@pytest.mark.parametrize("threads", [1, 2, 64])
def test_a_piece_is_worth_a_thread_and_fits_its_cache(samples, memory, work, threads):
    per = pieces.samples_per_piece(samples, samples * memory, samples * work, threads)
    assert 1 <= per <= samples
    if per < samples:
        assert per * work >= pieces.PIECE_WORK / 2
        assert per * memory <= pieces.PIECE_MEMORY or (per - 1) * work < pieces.PIECE_WORK


def test_pieces_are_as_many_as_the_threads_can_share():
    assert pieces.samples_per_piece(64, 64 << 18, 64 * 40_000_000, 2) == 4
    assert pieces.samples_per_piece(64, 64_000, 64 * 26_000, 2) == 32
    assert pieces.samples_per_piece(64, 64_000, 64 * 26_000, 1) == 64
    # eight images of a large net for sixty-four threads: steps share out what they do
    assert pieces.samples_per_piece(8, 8 << 24, 8 * 10**9, 64) == 8
