"""One direction of a recurrent layer on users' arrays, given its input products (a `linear` of the inputs, normalized
or not). Stacks, both directions and the products themselves are the layers' business.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import backend
from ..support import checks
from . import _check as check

__all__ = ["RecurrentSaved", "judge_lengths", "recurrent", "recurrent_backward"]

KINDS = {"rnn_tanh": 1, "rnn_relu": 1, "gru": 3, "lstm": 4}
"""Blocks of `units` in a row of products."""

State = Any  # an array (n, units), or for an LSTM a pair of them


@dataclass(slots=True, eq=False)
class RecurrentSaved:
    """What `recurrent_backward` needs: references to arguments and output, the gates and cells of every step."""

    weight: np.ndarray
    has_bias: bool
    h0: np.ndarray | None
    c0: np.ndarray | None
    lengths: np.ndarray
    kind: str
    reverse: bool
    y: np.ndarray
    gates: np.ndarray | None
    cells: np.ndarray | None


def recurrent(
    products: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    state: State = None,
    *,
    kind: str,
    lengths: np.ndarray,
    reverse: bool = False,
    keep: bool = True,
    out: np.ndarray | None = None,
) -> tuple[np.ndarray, State, RecurrentSaved | None]:
    """Recurrence over packed sequences, from their input products a.

    With u = U·h + b (U the weight, b the bias, h the state before, zero at first) and blocks of ``units`` in
    PyTorch's order:

    * ``"rnn_tanh"``, ``"rnn_relu"``: h' = tanh(a + u), or max(a + u, 0)
    * ``"gru"``: r, z = σ(a + u), n = tanh(a_n + r·u_n), h' = (1 - z)·n + z·h  (Cho 2014, arXiv 1406.1078)
    * ``"lstm"``: i, f, o = σ(a + u), g = tanh(a + u), c' = f·c + i·g, h' = o·tanh(c')  (Hochreiter & Schmidhuber 1997)

    Parameters
    ----------
    products : (m, g·units) float32 or float64, g = 1 (RNN), 3 (GRU: r, z, n) or 4 (LSTM: i, f, g, o)
        The rows of all sequences, one sequence after the other.
    weight : (g·units, units)
    bias : (g·units,) or None
    state : (n, units), for an LSTM (h, c), or None for zeros
        The state before the first step.
    kind : "rnn_tanh", "rnn_relu", "gru" or "lstm"
    lengths : n integers >= 0, their sum m
        How many rows each sequence has, in any order.
    reverse : bool
        From every sequence's last row to its first.
    keep : bool
        False: nothing is kept for a backward pass, ``saved`` is None.
    out : (m, units) or None
        Where to write y. Its rows may lie apart, as in ``both[:, :units]``.

    Returns
    -------
    y : (m, units)
        The state after every step.
    state : (n, units), for an LSTM (h, c)
        The state after each sequence's last step; the initial one where it has none.
    saved : RecurrentSaved or None
        It refers to weight, state, lengths and y: do not change them before the backward call.

    Raises
    ------
    TypeError
        If an array is not float32 or float64, their dtypes differ, or lengths are no integers.
    ValueError
        If a shape does not fit, lengths do not add up to m, or `out` cannot be written to.
    """
    impl = backend.active
    h0, c0 = _pair(state, kind)
    result = None
    if impl.JUDGES_ARRAYS:
        with suppress(backend.Refused, TypeError, KeyError):  # explained, or converted, below
            result = impl.recurrent(
                products, weight, bias, h0, c0, lengths, kind, reverse, keep, out
            )
    if result is None:
        products, weight, bias, h0, c0, lengths, out = _judge(
            products, weight, bias, state, kind, lengths, out
        )
        reverse, keep = checks.boolean(reverse, "reverse"), checks.boolean(keep, "keep")
        result = impl.recurrent(products, weight, bias, h0, c0, lengths, kind, reverse, keep, out)
    y, hn, cn, gates, cells = result
    saved = None
    if keep:
        has_bias = bias is not None
        saved = RecurrentSaved(weight, has_bias, h0, c0, lengths, kind, reverse, y, gates, cells)
    return y, hn if cn is None else (hn, cn), saved


def recurrent_backward(
    dy: Any,
    saved: RecurrentSaved,
    *,
    dstate: State = None,
    dweight: np.ndarray | None = None,
    dbias: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, State]:
    """Gradients of `recurrent`, through all steps.

    Parameters
    ----------
    dy : (m, units), or None for zeros
        Gradient to y. Its rows may lie apart.
    saved : what `recurrent` returned
    dstate : like the state `recurrent` returned, or None for zeros
        Gradient to that state.
    dweight, dbias : arrays to write these gradients into (not added to); new ones if None

    Returns
    -------
    dproducts, dweight, dbias, dstate
        dbias is None if there was no bias; dstate is that of the initial state (also if it was zero).

    Raises
    ------
    TypeError, ValueError
        As in `recurrent`; TypeError too for a forward call with ``keep=False``.
    """
    if type(saved) is not RecurrentSaved:
        raise TypeError(f"saved must come from recurrent(keep=True), got {type(saved).__name__}")
    s = saved
    dhn, dcn = _pair(dstate, s.kind)
    kept = (s.weight, s.h0, s.c0, s.lengths, s.y, s.gates, s.cells, s.kind, s.reverse, s.has_bias)
    impl = backend.active
    result = None
    if impl.JUDGES_ARRAYS and (s.has_bias or dbias is None):
        with suppress(backend.Refused, TypeError):  # explained, or converted, below
            result = impl.recurrent_backward(dy, dhn, dcn, *kept, dweight, dbias)
    if result is None:
        shape = (len(s.lengths), s.weight.shape[1])
        dhn, dcn = _state(dstate, s.kind, "dstate", shape, s.weight)
        dy = None if dy is None else _rows(dy, "dy", s.y)
        bias_shape = (len(s.weight),) if s.has_bias else None
        inputs = (dy, dhn, dcn, s.h0, s.c0, s.y, s.gates, s.cells)
        dweight, dbias = check.gradients(dweight, dbias, s.weight, bias_shape, inputs)
        result = impl.recurrent_backward(dy, dhn, dcn, *kept, dweight, dbias)
    da, dweight, dbias, dh0, dc0 = result
    return da, dweight, dbias, dh0 if dc0 is None else (dh0, dc0)


def judge_lengths(lengths: Any, count: int | None, longest: int) -> np.ndarray:
    """Lengths of sequences as int64: so many (any number for None), from 0 to ``longest``."""
    if not isinstance(lengths, (np.ndarray, list, tuple)):
        raise TypeError(f"lengths must be an array of integers, got {type(lengths).__name__}")
    found = np.asarray(lengths)
    if found.dtype.kind not in "iu" and found.size:
        raise TypeError(f"lengths must be an array of integers, got {found.dtype}")
    if found.ndim != 1 or (count is not None and len(found) != count):
        wanted = f"({count},)" if count is not None else "(n,)"
        raise ValueError(f"lengths must have shape {wanted}, got {found.shape}")
    if found.size and (found.min() < 0 or found.max() > longest):
        bad = found.min() if found.min() < 0 else found.max()
        raise ValueError(f"lengths must be from 0 to {longest}, got {bad}")
    return np.ascontiguousarray(found, dtype=np.int64)


def _judge(
    products: Any, weight: Any, bias: Any, state: Any, kind: Any, lengths: Any, out: Any
) -> tuple[Any, ...]:
    """The arguments of `recurrent` as the backend takes them, or their error."""
    gates = KINDS[checks.one_of(kind, "kind", tuple(KINDS))]
    products = check.real_array(products, "products")
    if products.ndim != 2 or products.shape[1] == 0 or products.shape[1] % gates:
        raise ValueError(
            f"products must have shape (m, {gates}·units) for kind {kind!r}, got {products.shape}"
        )
    m, width = products.shape
    units = width // gates
    weight = check.like(products, weight, "weight", (width, units))
    bias = check.optional_like(products, bias, "bias", (width,))
    lengths = judge_lengths(lengths, None, m)
    if lengths.sum() != m:
        raise ValueError(f"lengths must add up to the {m} rows of products, got {lengths.sum()}")
    h0, c0 = _state(state, kind, "state", (len(lengths), units), products)
    if out is not None:
        out = _output(out, (m, units), products.dtype, (products, weight, bias, h0, c0))
    return products, weight, bias, h0, c0, lengths, out


def _pair(state: Any, kind: Any) -> tuple[Any, Any]:
    """(h, c) of a state that has not been judged yet; what is no state, no backend takes."""
    if kind != "lstm" or state is None:
        return state, None
    if type(state) in (tuple, list) and len(state) == 2:
        return state[0], state[1]
    return ..., ...


def _state(
    state: Any, kind: str, name: str, shape: tuple[int, int], like: np.ndarray
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """(h, c) of a state, c None but for an LSTM."""
    if state is None:
        return None, None
    if kind != "lstm":
        return check.like(like, state, name, shape), None
    if not isinstance(state, (tuple, list)) or len(state) != 2:
        raise TypeError(f"{name} must be a pair (h, c) for an LSTM, got {type(state).__name__}")
    h, c = (check.optional_like(like, part, f"{name}[{i}]", shape) for i, part in enumerate(state))
    return h, c


def _rows(dy: Any, name: str, y: np.ndarray) -> np.ndarray:
    """dy as the backend takes it: whole rows, which may lie apart."""
    if type(dy) is np.ndarray and dy.dtype == y.dtype and dy.shape == y.shape and _row_wise(dy):
        return dy
    return check.fitting(dy, name, y.shape, y.dtype)


def _row_wise(a: np.ndarray) -> bool:
    """Whether every row is contiguous and all are the same distance apart, without overlap."""
    (m, n), (pitch, step), size = a.shape, a.strides, a.itemsize
    return (
        a.dtype.isnative
        and a.flags.aligned
        and (m == 0 or n <= 1 or step == size)
        and (m <= 1 or (pitch >= n * size and pitch % size == 0))
    )


def _output(
    out: Any, shape: tuple[int, int], dtype: np.dtype, inputs: tuple[np.ndarray | None, ...]
) -> np.ndarray | None:
    """``out`` checked; rows may lie apart, where the general check wants one piece of memory."""
    if (
        not isinstance(out, np.ndarray)
        or out.shape != shape
        or out.dtype != dtype
        or not _row_wise(out)
        or not out.flags.writeable
    ):
        return check.output(out, shape, dtype, "out", inputs)
    if any(other is not None and np.may_share_memory(out, other) for other in inputs):
        raise ValueError("out must not overlap an input, got memory shared with one")
    return np.asarray(out)
