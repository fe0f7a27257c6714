"""Recurrent layers in NumPy, in one direction, given their input products a = W x + b_ih.

Sequences are packed: sequence i has lengths[i] rows, one after the other. Every kind is a cell and its gradient; the
way through time is the same for all. With u = U h + b_hh, all in blocks of `units` in PyTorch's order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .activation import activation

_Array = np.ndarray[Any, Any]
_Maybe = np.ndarray[Any, Any] | None
_Cell = Callable[..., tuple[Any, ...]]


def recurrent(
    products: _Array,
    weight: _Array,
    bias: _Maybe,
    h0: _Maybe,
    c0: _Maybe,
    lengths: _Array,
    kind: str,
    reverse: bool,
    keep: bool,
    out: _Maybe,
) -> tuple[_Array, _Array, _Maybe, _Maybe, _Maybe]:
    """products (m, g·units), weight (g·units, units) -> y (m, units), the last states hn, cn (n, units), and, if
    ``keep``, the gates (m, 4·units) of GRU and LSTM and the LSTM's cells (m, units).
    """
    m, n, units = len(products), len(lengths), weight.shape[1]
    cell, _ = _CELLS[kind]
    h, c = (np.zeros((n, units), weight.dtype) if s is None else s.copy() for s in (h0, c0))
    y = np.empty((m, units), weight.dtype) if out is None else out
    gates, cells = np.empty((m, 4 * units), weight.dtype), np.empty((m, units), weight.dtype)
    for now, row in _steps(lengths, reverse):
        u = h[now] @ weight.T
        if bias is not None:
            u += bias
        h[now], c[now], gates[row] = cell(products[row], u, h[now], c[now])
        y[row], cells[row] = h[now], c[now]
    has_cell = kind == "lstm"
    has_gates = has_cell or kind == "gru"
    return (
        y,
        h,
        c if has_cell else None,
        gates if keep and has_gates else None,
        cells if keep and has_cell else None,
    )


def recurrent_backward(
    dy: _Maybe,
    dhn: _Maybe,
    dcn: _Maybe,
    weight: _Array,
    h0: _Maybe,
    c0: _Maybe,
    lengths: _Array,
    y: _Array,
    gates: _Maybe,
    cells: _Maybe,
    kind: str,
    reverse: bool,
    need_dbias: bool,
    dweight: _Maybe,
    dbias: _Maybe,
) -> tuple[_Array, _Array, _Maybe, _Array, _Maybe]:
    """(dproducts, dweight, dbias or None, dh0, dc0 or None); dy, dhn and dcn may be None: zeros."""
    (m, units), n = y.shape, len(lengths)
    _, cell_backward = _CELLS[kind]
    gates = np.empty((m, 0), y.dtype) if gates is None else gates
    cells = np.empty_like(y) if cells is None else cells
    before = (_before(y, h0, lengths, reverse), _before(cells, c0, lengths, reverse))
    dh, dc = (np.zeros((n, units), y.dtype) if s is None else s.copy() for s in (dhn, dcn))
    da = np.empty((m, len(weight)), y.dtype)  # to the input products
    du = np.empty_like(da)  # to the hidden ones
    for now, row in reversed(list(_steps(lengths, reverse))):
        if dy is not None:
            dh[now] += dy[row]
        da[row], du[row], direct, dc[now] = cell_backward(
            gates[row], *(b[row] for b in before), y[row], cells[row], dh[now], dc[now]
        )
        dh[now] = du[row] @ weight + direct
    dweight = np.matmul(du.T, before[0], out=dweight)
    if need_dbias:
        dbias = np.sum(du, axis=0, out=dbias)
    return da, dweight, dbias if need_dbias else None, dh, dc if kind == "lstm" else None


def _steps(lengths: _Array, reverse: bool) -> Iterator[tuple[_Array, _Array]]:
    """For each step, the sequences that have it and their rows."""
    start = np.cumsum(lengths) - lengths
    for step in range(int(lengths.max(initial=0))):
        now = np.flatnonzero(lengths > step)
        yield now, start[now] + (lengths[now] - 1 - step if reverse else step)


def _before(states: _Array, initial: _Maybe, lengths: _Array, reverse: bool) -> _Array:
    """The state before each row: that of the step before, the initial one at a sequence's first."""
    before, last = np.zeros_like(states, order="C"), None
    for now, row in _steps(lengths, reverse):
        if last is not None:
            before[row] = states[last[now]]
        elif initial is not None:
            before[row] = initial[now]
        last = np.zeros(len(lengths), np.intp)
        last[now] = row
    return before


# cell(a, u, h, c) -> h', c', gates; its gradient (gates, h, c, h', c', dh', dc') -> da, du, dh beside u, dc


def _rnn_tanh(a: _Array, u: _Array, h: _Array, c: _Array) -> tuple[Any, ...]:
    """h' = tanh(a + u)"""
    return np.tanh(a + u), c, 0


def _rnn_tanh_backward(
    gates: _Array, h: _Array, c: _Array, h1: _Array, c1: _Array, dh: _Array, dc: _Array
) -> tuple[Any, ...]:
    da = dh * (1 - h1) * (1 + h1)
    return da, da, 0, dc


def _rnn_relu(a: _Array, u: _Array, h: _Array, c: _Array) -> tuple[Any, ...]:
    """h' = max(a + u, 0)"""
    s = a + u
    return np.where(s <= 0, 0, s), c, 0


def _rnn_relu_backward(
    gates: _Array, h: _Array, c: _Array, h1: _Array, c1: _Array, dh: _Array, dc: _Array
) -> tuple[Any, ...]:
    da = np.where(h1 <= 0, 0, dh)
    return da, da, 0, dc


def _gru(a: _Array, u: _Array, h: _Array, c: _Array) -> tuple[Any, ...]:
    """r, z = σ(a + u)    m = tanh(a_m + r·u_m)    h' = (1 - z)·m + z·h"""
    (a_r, a_z, a_m), (u_r, u_z, u_m) = np.split(a, 3, axis=1), np.split(u, 3, axis=1)
    r, z = _sigmoid(a_r + u_r), _sigmoid(a_z + u_z)
    m = np.tanh(a_m + r * u_m)
    return (1 - z) * m + z * h, c, np.hstack((r, z, m, u_m))


def _gru_backward(
    gates: _Array, h: _Array, c: _Array, h1: _Array, c1: _Array, dh: _Array, dc: _Array
) -> tuple[Any, ...]:
    r, z, m, u_m = np.split(gates, 4, axis=1)
    dm = dh * (1 - z) * (1 - m) * (1 + m)
    dr = dm * u_m * r * (1 - r)
    dz = dh * (h - m) * z * (1 - z)
    return np.hstack((dr, dz, dm)), np.hstack((dr, dz, dm * r)), dh * z, dc


def _lstm(a: _Array, u: _Array, h: _Array, c: _Array) -> tuple[Any, ...]:
    """i, f, o = σ(a + u)    g = tanh(a + u)    c' = f·c + i·g    h' = o·tanh(c')"""
    s_i, s_f, s_g, s_o = np.split(a + u, 4, axis=1)
    i, f, g, o = _sigmoid(s_i), _sigmoid(s_f), np.tanh(s_g), _sigmoid(s_o)
    c = f * c + i * g
    return o * np.tanh(c), c, np.hstack((i, f, g, o))


def _lstm_backward(
    gates: _Array, h: _Array, c: _Array, h1: _Array, c1: _Array, dh: _Array, dc: _Array
) -> tuple[Any, ...]:
    i, f, g, o = np.split(gates, 4, axis=1)
    t = np.tanh(c1)
    dc = dc + dh * o * (1 - t) * (1 + t)
    ds_i, ds_f = dc * g * i * (1 - i), dc * c * f * (1 - f)
    ds_g, ds_o = dc * i * (1 - g) * (1 + g), dh * t * o * (1 - o)
    da = np.hstack((ds_i, ds_f, ds_g, ds_o))
    return da, da, 0, dc * f


def _sigmoid(x: _Array) -> _Array:
    return activation(np.ascontiguousarray(x), "sigmoid", 0.0, None)


_CELLS: dict[str, tuple[_Cell, _Cell]] = {
    "rnn_tanh": (_rnn_tanh, _rnn_tanh_backward),
    "rnn_relu": (_rnn_relu, _rnn_relu_backward),
    "gru": (_gru, _gru_backward),
    "lstm": (_lstm, _lstm_backward),
}
