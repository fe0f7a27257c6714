"""Arrays for tests of recurrences, all the results of one forward and backward call in a list; small layers."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

import bncore as bn
from bncore import functional as F
from tests.reference.recurrent import GATES

KINDS = tuple(GATES)
# (lengths, units): one of each, tails of every vector width, several chunks, empty sequences, none at all
SIZES = [
    ([1], 1),
    ([3], 5),
    ([4, 2, 0, 7, 4], 16),
    ([6] * 9, 33),
    ([0, 0], 3),
    (list(range(20)) * 2, 7),
    ([2] * 40, 130),
]


class Arrays(NamedTuple):
    products: np.ndarray
    weight: np.ndarray
    bias: np.ndarray | None
    state: Any
    dy: np.ndarray
    dstate: Any


def arrays(kind, lengths, units, dtype=np.float64, seed=0, bias=True):
    rng = np.random.default_rng(seed)
    m, n, width = int(sum(lengths)), len(lengths), GATES[kind] * units

    def draw(*shape, scale=1.0):
        return (scale * rng.standard_normal(shape)).astype(dtype)

    def state():
        h, c = draw(n, units), draw(n, units)
        return (h, c) if kind == "lstm" else h

    weight = draw(width, units, scale=units**-0.5)
    return Arrays(
        draw(m, width), weight, draw(width) if bias else None, state(), draw(m, units), state()
    )


def run(a: Arrays, kind, lengths, reverse=False, **options):
    y, state, saved = F.recurrent(
        a.products,
        a.weight,
        a.bias,
        a.state,
        kind=kind,
        lengths=lengths,
        reverse=reverse,
        **options,
    )
    return y, state, saved


def flat(values) -> list[np.ndarray]:
    """Arrays out of tuples, without the Nones."""
    found: list[np.ndarray] = []
    for value in values:
        if isinstance(value, tuple):
            found += flat(value)
        elif value is not None:
            found.append(value)
    return found


def everything(a: Arrays, kind, lengths, reverse=False, **options) -> list[np.ndarray]:
    """y, final states, and all gradients."""
    y, state, saved = run(a, kind, lengths, reverse, **options)
    return flat((y, state, *F.recurrent_backward(a.dy, saved, dstate=a.dstate)))


# ---- layers

F64 = np.float64
LAYERS = {
    "rnn": (bn.RNN, {}),
    "rnn-relu": (bn.RNN, {"nonlinearity": "relu"}),
    "gru": (bn.GRU, {}),
    "lstm": (bn.LSTM, {}),
}
LENGTHS = [3, 5, 1, 0, 5, 4]
BATCH, STEPS, INPUTS, HIDDEN = len(LENGTHS), 5, 4, 3


def make(name, **options):
    cls, own = LAYERS[name]
    return cls(INPUTS, HIDDEN, **{"dtype": F64, "rng": 3, **own, **options})


def draw(layer, rng, count=1):
    """x, dy, and `count` states."""
    sides = 2 if layer.bidirectional else 1
    shape = (layer.num_layers * sides, BATCH, HIDDEN)

    def state():
        parts = [rng.standard_normal(shape) for _ in range(2 if layer.kind == "lstm" else 1)]
        return tuple(parts) if len(parts) == 2 else parts[0]

    x = rng.standard_normal((BATCH, STEPS, INPUTS))
    dy = rng.standard_normal((BATCH, STEPS, sides * HIDDEN))
    if layer.output == "last":
        dy = dy[:, 0].copy()
    elif not layer.batch_first:
        dy = np.ascontiguousarray(dy.swapaxes(0, 1))
    if not layer.batch_first:
        x = np.ascontiguousarray(x.swapaxes(0, 1))
    return x, dy, [state() for _ in range(count)]
