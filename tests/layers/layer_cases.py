"""One small example of every layer and container, in float64, with an input that fits; and gradients by differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import bncore as bn

F64 = np.float64


def conv(*args: Any, **kwargs: Any) -> bn.Conv2d:
    return bn.Conv2d(*args, dtype=F64, **{"rng": 7, **kwargs})


def norm(c: int, **kwargs: Any) -> bn.BatchNorm:
    return bn.BatchNorm(c, dtype=F64, **kwargs)


def linear(*args: Any, **kwargs: Any) -> bn.Linear:
    return bn.Linear(*args, dtype=F64, **{"rng": 7, **kwargs})


def block(axis: int = 1, activation: str | None = "relu", shortcut: bool = False) -> bn.Residual:
    """conv - norm+ReLU - conv - norm, the norm taking sum and ReLU."""
    out = 6 if shortcut else 4
    main = bn.Sequential(
        conv(4, out, 3, padding=1, bias=False, axis=axis),
        norm(out, axis=axis, activation="relu"),
        conv(out, out, 3, padding=1, bias=False, axis=axis),
        norm(out, axis=axis),
    )
    side = (
        bn.Sequential(conv(4, out, 1, bias=False, axis=axis), norm(out, axis=axis))
        if shortcut
        else None
    )
    return bn.Residual(main, side, activation)


def branches(axis: int = 1) -> bn.Concat:
    return bn.Concat(
        conv(4, 3, 1, axis=axis),
        bn.Sequential(
            conv(4, 2, 3, padding=1, bias=False, axis=axis), norm(2, axis=axis, activation="relu")
        ),
        bn.MaxPool(3, 1, 1, axis=axis),
        axis=axis,
    )


ROWS, LENGTH, IMAGE, IMAGE_LAST = (5, 4), (3, 4, 7), (3, 4, 6, 5), (3, 6, 5, 4)
STEPS = (3, 5, 4)

# name -> (how to make it, shape of the input)
CASES: dict[str, tuple[Callable[[], bn.layers.Layer], tuple[int, ...]]] = {
    "norm": (lambda: norm(4), IMAGE),
    "norm-rows": (lambda: norm(4), ROWS),
    "norm-last": (lambda: norm(4, axis=-1, activation="relu"), IMAGE_LAST),
    "norm-no-weight": (lambda: norm(4, weight=False), LENGTH),
    "norm-no-bias": (lambda: norm(4, bias=False), LENGTH),
    "norm-not-affine": (lambda: norm(4, affine=False), LENGTH),
    "norm-cumulative": (lambda: norm(4, momentum=None), IMAGE),
    "norm-untracked": (lambda: norm(4, track_running_stats=False), IMAGE),
    "norm-frozen": (lambda: norm(4, frozen=True), IMAGE),
    "norm-ghost": (lambda: norm(4, ghost_batch_size=2, activation="relu"), (6, 4, 3)),
    "norm-moving": (lambda: norm(4, statistics="moving", momentum=0.0), IMAGE),
    "norm-zero-debias": (lambda: norm(4, zero_debias=True), ROWS),
    "renorm": (lambda: bn.BatchRenorm(4, schedule="paper", dtype=F64), IMAGE),
    "renorm-last": (
        lambda: bn.BatchRenorm(4, schedule="paper", axis=-1, activation="relu", dtype=F64),
        IMAGE_LAST,
    ),
    "group": (lambda: bn.GroupNorm(2, 4, dtype=F64), IMAGE),
    "group-rows": (lambda: bn.GroupNorm(2, 4, weight=False, dtype=F64), ROWS),
    "group-last": (lambda: bn.GroupNorm(2, 4, axis=-1, activation="relu", dtype=F64), IMAGE_LAST),
    "group-not-affine": (lambda: bn.GroupNorm(1, 4, affine=False, dtype=F64), LENGTH),
    "instance": (lambda: bn.InstanceNorm(4, dtype=F64), IMAGE),
    "instance-last": (lambda: bn.InstanceNorm(4, axis=-1, affine=True, activation="relu", dtype=F64), IMAGE_LAST),
    "instance-tracked": (lambda: bn.InstanceNorm(4, affine=True, track_running_stats=True, dtype=F64), LENGTH),
    "instance-cumulative": (lambda: bn.InstanceNorm(4, momentum=None, track_running_stats=True, unbiased=False, dtype=F64), LENGTH),
    "residual-group": (lambda: bn.Residual(bn.Sequential(conv(4, 4, 1), bn.GroupNorm(2, 4, dtype=F64))), IMAGE),
    "layer-norm": (lambda: bn.LayerNorm(4, dtype=F64), ROWS),
    "layer-norm-relu": (lambda: bn.LayerNorm(7, activation="relu", bias=False, dtype=F64), LENGTH),
    "layer-norm-images": (lambda: bn.LayerNorm((4, 6, 5), dtype=F64), IMAGE),
    "layer-norm-channels": (lambda: bn.LayerNorm(4, axis=1, dtype=F64), IMAGE),
    "layer-norm-plain": (lambda: bn.LayerNorm((6, 5), elementwise_affine=False, dtype=F64), IMAGE),
    "rms-norm": (lambda: bn.RMSNorm(4, dtype=F64), ROWS),
    "rms-norm-bias": (lambda: bn.RMSNorm((4, 7), bias=True, activation="relu", dtype=F64), LENGTH),
    "rms-norm-partial": (lambda: bn.RMSNorm(5, partial=0.5, weight=False, dtype=F64), IMAGE),
    "residual-layer-norm": (lambda: bn.Residual(bn.Sequential(linear(4, 4), bn.LayerNorm(4, dtype=F64))), ROWS),
    "linear": (lambda: linear(4, 3), ROWS),
    "linear-relu": (lambda: linear(4, 3, activation="relu"), ROWS),
    "linear-no-bias": (lambda: linear(4, 3, bias=False), (2, 3, 4)),
    "conv1d": (lambda: bn.Conv1d(4, 3, 3, stride=2, padding=1, dtype=F64, rng=1), LENGTH),
    "conv1d-last": (lambda: bn.Conv1d(4, 3, 3, axis=-1, dtype=F64, rng=1), (3, 7, 4)),
    "conv2d": (lambda: conv(4, 6, 3, padding=1), IMAGE),
    "conv2d-same": (lambda: conv(4, 6, (2, 3), padding="same", activation="relu"), IMAGE),
    "conv2d-groups": (lambda: conv(4, 6, 3, stride=2, padding=(1, 2), groups=2), IMAGE),
    "conv2d-depthwise": (lambda: conv(4, 4, 3, dilation=2, padding=2, groups=4), IMAGE),
    "conv2d-last": (lambda: conv(4, 6, 3, stride=2, axis=-1, bias=False), IMAGE_LAST),
    "conv-transpose": (
        lambda: bn.ConvTranspose2d(4, 6, 3, 2, 1, 1, groups=2, dtype=F64, rng=1),
        IMAGE,
    ),
    "conv-transpose-last": (lambda: bn.ConvTranspose2d(4, 2, 2, axis=-1, dtype=F64, rng=1), IMAGE_LAST),
    "max-pool": (lambda: bn.MaxPool(2), IMAGE),
    "max-pool-1d": (lambda: bn.MaxPool(3, 2, 1), LENGTH),
    "avg-pool": (lambda: bn.AvgPool((2, 3), 2, 1), IMAGE),
    "avg-pool-no-pad": (lambda: bn.AvgPool(3, 2, 1, count_include_pad=False, axis=-1), IMAGE_LAST),
    "global-avg": (bn.GlobalAvgPool, IMAGE),
    "global-avg-last": (lambda: bn.GlobalAvgPool(axis=-1), IMAGE_LAST),
    "global-max": (bn.GlobalMaxPool, IMAGE),
    "flatten": (bn.Flatten, IMAGE),
    "dropout": (lambda: bn.Dropout(0.4, rng=3), IMAGE),
    "dropout-0": (lambda: bn.Dropout(0.0), IMAGE),
    "relu": (bn.ReLU, IMAGE),
    "leaky-relu": (lambda: bn.LeakyReLU(0.1), IMAGE),
    "gelu": (bn.GELU, IMAGE),
    "gelu-tanh": (lambda: bn.GELU("tanh"), IMAGE),
    "silu": (bn.SiLU, IMAGE),
    "sigmoid": (bn.Sigmoid, IMAGE),
    "tanh": (bn.Tanh, IMAGE),
    "rnn": (lambda: bn.RNN(4, 3, dtype=F64, rng=1), STEPS),
    "rnn-relu": (lambda: bn.RNN(4, 3, nonlinearity="relu", bias=False, dtype=F64, rng=1), STEPS),
    "gru": (lambda: bn.GRU(4, 3, 2, bidirectional=True, dtype=F64, rng=1), STEPS),
    "gru-norm": (lambda: bn.GRU(4, 3, norm="batch", output="last", dtype=F64, rng=1), STEPS),
    "lstm": (lambda: bn.LSTM(4, 3, batch_first=False, dtype=F64, rng=1), STEPS),
    "lstm-last": (lambda: bn.LSTM(4, 3, 2, bidirectional=True, output="last", dtype=F64, rng=1), STEPS),
    "lstm-norm": (lambda: bn.LSTM(4, 3, 2, bidirectional=True, dropout=0.3, norm="batch", dtype=F64, rng=1), STEPS),
    "residual-gru": (lambda: bn.Residual(bn.GRU(4, 4, norm="layer", dtype=F64, rng=1)), STEPS),
    "image-rows": (bn.ImageRows, IMAGE),
    "image-rows-last": (lambda: bn.ImageRows(axis=-1), IMAGE_LAST),
    "image-rows-sequence": (bn.ImageRows, STEPS),
    "sequential": (lambda: bn.Sequential(linear(4, 5), bn.Tanh(), linear(5, 2)), ROWS),
    "sequential-empty": (bn.Sequential, ROWS),
    "residual": (block, IMAGE),
    "residual-last": (lambda: block(-1), IMAGE_LAST),
    "residual-no-relu": (lambda: block(activation=None), IMAGE),
    "residual-shortcut": (lambda: block(shortcut=True), IMAGE),
    "residual-one-norm": (lambda: bn.Residual(norm(4)), ROWS),
    "residual-nested": (lambda: bn.Residual(bn.Sequential(bn.Tanh(), bn.Sequential(linear(4, 4), norm(4)))), ROWS),
    "residual-unfused": (lambda: bn.Residual(bn.Sequential(norm(4), linear(4, 4))), ROWS),
    "residual-unfused-linear": (lambda: bn.Residual(linear(4, 4), linear(4, 4, rng=2), activation=None), ROWS),
    "residual-identity": (lambda: bn.Residual(bn.Dropout(0.0)), ROWS),
    "concat": (branches, IMAGE),
    "concat-last": (lambda: branches(-1), IMAGE_LAST),
    "concat-one": (lambda: bn.Concat(norm(4)), ROWS),
    "concat-identities": (lambda: bn.Concat(bn.Dropout(0.0), bn.Dropout(0.0), bn.Dropout(0.0)), ROWS),
    "whole-net": (
        lambda: bn.Sequential(
            norm(4, affine=False), block(shortcut=True), bn.MaxPool(2), bn.Flatten(), bn.Dropout(0.2, rng=1), linear(36, 3)
        ),
        IMAGE,
    ),
}  # fmt: skip


def make(name: str) -> tuple[bn.layers.Layer, np.ndarray]:
    """The example with weights away from their start (gamma 1 and beta 0 hide mistakes), and an input."""
    factory, shape = CASES[name]
    layer = factory()
    rng = np.random.default_rng(42)
    state = layer.state_dict()
    for key, value in state.items():
        if key.endswith("running_var"):
            value[...] = rng.uniform(0.5, 2.0, value.shape)
        elif value.dtype == F64:
            value += 0.3 * rng.standard_normal(value.shape)
    layer.load_state_dict(state)
    return layer, rng.standard_normal(shape)


def random_layers(layer: bn.layers.Layer) -> list[bn.Dropout]:
    return [child for _, child in layer.named_layers() if isinstance(child, bn.Dropout)]


def differences(
    run: Callable[[], np.ndarray],
    array: np.ndarray,
    dy: np.ndarray,
    count: int = 12,
    step: float = 1e-6,
) -> tuple[np.ndarray, np.ndarray]:
    """Central differences of sum(dy · run()) along some elements of ``array``; returns their indices and the slopes."""
    flat = array.reshape(-1)
    assert np.shares_memory(flat, array)
    picked = np.random.default_rng(0).permutation(flat.size)[:count]
    slopes = []
    for index in picked:
        kept = flat[index]
        flat[index] = kept + step
        up = np.vdot(dy, run())
        flat[index] = kept - step
        down = np.vdot(dy, run())
        flat[index] = kept
        slopes.append((up - down) / (2 * step))
    return picked, np.array(slopes)
