"""Nets put together by chance: whatever reads what, a plan gives what the layers give."""

from __future__ import annotations

import os

import numpy as np
import pytest

import bncore as bn
from bncore.plan import Run, lower

HOW = {"dtype": np.float64}
SEEDS = 2000 if os.environ.get("BNCORE_EXPLORE") == "1" else 80


def piece(rng, channels, depth):
    """A layer for so many channels, and how many come out; heights and widths stay."""
    kinds = [
        "conv",
        "conv norm",
        "conv norm",
        "norm",
        "act",
        "residual",
        "residual",
        "concat",
        "row",
    ]
    kind = rng.choice(kinds if depth else kinds[:5])
    out = int(rng.integers(1, 6)) * (4 if rng.random() < 0.3 else 1)
    if kind.startswith("conv"):
        size = int(rng.choice([1, 3]))
        relu = "relu" if rng.random() < 0.2 else None
        bias = bool(rng.random() < 0.3)
        conv = bn.Conv2d(
            channels, out, size, padding=size // 2, bias=bias, activation=relu, rng=rng, **HOW
        )
        if kind == "conv":
            return conv, out
        return bn.Sequential(conv, norm(rng, out)), out
    if kind == "norm":
        return norm(rng, channels), channels
    if kind == "act":
        return bn.SiLU() if rng.random() < 0.5 else bn.MaxPool(3, 1, 1), channels
    if kind == "residual":
        main, inner = piece(rng, channels, depth - 1)
        last = bn.Conv2d(inner, channels, 3, padding=1, bias=False, rng=rng, **HOW)
        ends = [last, bn.BatchNorm(channels, **HOW)][: int(rng.integers(1, 3))]
        shortcut = None
        if rng.random() < 0.3:
            shortcut = bn.Conv2d(channels, channels, 1, rng=rng, **HOW)
        activation = "relu" if rng.random() < 0.5 else None
        return bn.Residual(bn.Sequential(main, *ends), shortcut, activation), channels
    made = [piece(rng, channels, depth - 1) for _ in range(int(rng.integers(1, 4)))]
    if kind == "concat":
        return bn.Concat(*(layer for layer, _ in made)), sum(width for _, width in made)
    return row(rng, channels, depth - 1, 3)


def norm(rng, channels):
    how = {"activation": "relu" if rng.random() < 0.5 else None, "frozen": bool(rng.random() < 0.1)}
    return bn.BatchNorm(channels, **how, **HOW)


def row(rng, channels, depth, longest):
    layers = []
    for _ in range(int(rng.integers(1, longest + 1))):
        layer, channels = piece(rng, channels, depth)
        layers.append(layer)
    return bn.Sequential(*layers), channels


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_random_net(native, seed):
    rng = np.random.default_rng(seed)
    body, channels = row(rng, 2, 2, 4)
    net = bn.Sequential(body, bn.GlobalAvgPool(), bn.Linear(channels, 3, rng=rng, **HOW))
    net.train()
    net.require_input_gradient(False)
    x = rng.normal(size=(int(rng.integers(2, 12)), 2, 6, 5))
    dy = rng.normal(size=(len(x), 3))
    a, b = net.copy(), net.copy()
    y = a(x)
    a.backward(dy)
    run = Run(lower(b, x.shape, recompute=bool(rng.random() < 0.5)))
    run.x[...], run.gradient[...] = x, dy
    run.forward()
    run.backward()
    np.testing.assert_allclose(run.y, y, rtol=1e-9, atol=1e-11)
    expected, got = (n.flat_vectors().gradients for n in (a, b))
    scale = np.abs(expected).max() + 1e-30
    assert np.abs(expected - got).max() <= 1e-9 * scale
    for name, array in a.state_dict().items():
        np.testing.assert_allclose(b.state_dict()[name], array, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_random_net_compiled(native, seed):
    rng = np.random.default_rng(seed)
    body, channels = row(rng, 2, 2, 4)
    net = bn.Sequential(body, bn.Flatten(), bn.Linear(channels * 30, 3, rng=rng, **HOW))
    x = rng.normal(size=(int(rng.integers(1, 12)), 2, 6, 5))
    net(np.concatenate([x, -2 * x]))
    net.eval()
    expected = net(x)
    scale = np.abs(expected).max()
    assert np.abs(bn.compile(net, x)(x) - expected).max() <= 1e-10 * scale
