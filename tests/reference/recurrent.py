"""Recurrent layers as their equations stand, in float64: one sequence at a time, one step at a time, one gate at a
time. The oracle of tests/recurrent.
"""

from __future__ import annotations

import numpy as np

GATES = {"rnn_tanh": 1, "rnn_relu": 1, "gru": 3, "lstm": 4}


def sigmoid(x):
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def step(kind, a, u, h, c):
    """(h', c') of one step of one sequence."""
    n = h.size
    if kind == "rnn_tanh":
        return np.tanh(a + u), c
    if kind == "rnn_relu":
        return np.maximum(a + u, 0.0), c
    if kind == "gru":
        r = sigmoid(a[:n] + u[:n])
        z = sigmoid(a[n : 2 * n] + u[n : 2 * n])
        new = np.tanh(a[2 * n :] + r * u[2 * n :])
        return (1.0 - z) * new + z * h, c
    i = sigmoid(a[:n] + u[:n])
    f = sigmoid(a[n : 2 * n] + u[n : 2 * n])
    g = np.tanh(a[2 * n : 3 * n] + u[2 * n : 3 * n])
    o = sigmoid(a[3 * n :] + u[3 * n :])
    c = f * c + i * g
    return o * np.tanh(c), c


def recurrent(products, weight, bias, h0, c0, kind, lengths, reverse):
    """(y, hn, cn) of packed sequences; None counts as zeros."""
    units = weight.shape[1]
    products, weight = products.astype(np.float64), weight.astype(np.float64)
    bias = np.zeros(len(weight)) if bias is None else bias.astype(np.float64)
    zeros = np.zeros((len(lengths), units))
    h_last = (zeros if h0 is None else h0).astype(np.float64)
    c_last = (zeros if c0 is None else c0).astype(np.float64)
    y = np.empty((len(products), units))
    start = 0
    for sequence, length in enumerate(lengths):
        h, c = h_last[sequence], c_last[sequence]
        rows = range(start, start + length)
        for row in reversed(rows) if reverse else rows:
            h, c = step(kind, products[row], weight @ h + bias, h, c)
            y[row] = h
        h_last[sequence], c_last[sequence] = h, c
        start += length
    return y, h_last, c_last


def layer(net, x, lengths=None, norm=lambda rows, name: rows):
    """y, and the final states (h, c), of a whole recurrent layer (N, L, features); ``norm(rows, name)`` stands for
    the norm ``name`` of packed input products.
    """
    lengths = [x.shape[1]] * len(x) if lengths is None else list(lengths)
    rows = np.concatenate([x[i, :length] for i, length in enumerate(lengths)])
    h_ends, c_ends = [], []
    suffixes = ("", "_reverse") if net.bidirectional else ("",)
    for number in range(net.num_layers):
        outputs = []
        for suffix in suffixes:
            name = f"l{number}{suffix}"
            products = rows @ getattr(net, f"weight_ih_{name}").T
            if getattr(net, f"bias_ih_{name}") is not None:
                products = products + getattr(net, f"bias_ih_{name}")
            products = norm(products, f"norm_{name}")
            weight, bias = getattr(net, f"weight_hh_{name}"), getattr(net, f"bias_hh_{name}")
            y, h, c = recurrent(products, weight, bias, None, None, net.kind, lengths, bool(suffix))
            outputs.append(y)
            h_ends.append(h)
            c_ends.append(c)
        rows = np.hstack(outputs)
    y = np.zeros((*x.shape[:2], rows.shape[1]))
    start = 0
    for i, length in enumerate(lengths):
        y[i, :length] = rows[start : start + length]
        start += length
    return y, np.stack(h_ends), np.stack(c_ends)
