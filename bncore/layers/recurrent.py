"""What recurrent layers compute: input products, their norms, the recurrence, layer by layer, and the way back.

The recurrence over time is functional's; what a layer owns is in recurrent_stack.py, the classes by name in rnn.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..functional import linear, linear_backward, recurrent, recurrent_backward
from .base import Array, Layer, locate
from .recurrent_stack import Direction, RecurrentStack
from .sequences import Sequences, State, join_states, split_state

__all__ = ["Recurrent"]

Call = Callable[[str, Layer, Array], Any]


class Recurrent(RecurrentStack):
    """Base class of `RNN`, `GRU` and `LSTM`, which say what it does."""

    def forward(self, x: Array, lengths: Any = None, state: State = None) -> Array:
        """The states after every step, or with ``output="last"`` those after the last one. See `run`."""
        y, _ = self._apply(x, lengths, state, None, self.keeps)
        return y

    def run(self, x: Array, lengths: Any = None, state: State = None) -> tuple[Array, State]:
        """Outputs, and the state after each sequence's last step.

        Parameters
        ----------
        x : (N, L, input_size), or (L, N, input_size) without ``batch_first``, which is copied once
        lengths : N integers from 0 to L, or None
            Valid steps of each sequence, in any order; what is behind them is never read. None: all.
        state : (num_layers · directions, N, hidden_size), for an LSTM a pair (h, c) of these, or None for zeros
            The state before each sequence's first step; the reverse direction begins at the last valid one.
            `backward` then returns (dx, dstate).

        Returns
        -------
        y : (N, L, directions · hidden_size), laid out as x
            Zeros at steps that are not valid. With ``output="last"`` (N, directions · hidden_size): the last layer's
            final states, the forward direction first.
        state : as the argument
            What is left after each sequence's last valid step; the initial state where there is none.

        Raises
        ------
        TypeError, ValueError
            If an array, lengths or state do not fit; from a norm of the products as it says.
        """
        y, ends = self._apply(x, lengths, state, None, self.keeps)
        return y, join_states(ends)

    def forward_through(self, x: Array, call: Call) -> Array | None:
        """`forward` with ``call(name, child, rows)`` in place of each norm of the products, for measuring what they get.

        ``rows`` (m, features) are the products of all steps. What ``call`` returns goes on as the norm's output; after
        None, "not known yet", the result is None, but the other direction of the same layer is asked first. Nothing
        is kept for `backward`.
        """
        found = self._apply(x, None, None, call, False)
        return None if found is None else found[0]

    def _apply(self, x: Array, lengths: Any, state: State, call: Call | None, keep: bool) -> Any:
        """(y, state at the end of every direction), or None if a call did not know the output of a norm."""
        batch = Sequences.of(x, lengths, self.input_size, self.batch_first)
        begin = self._split(state, "state", batch)
        rows = batch.pack(x)
        kept: list[Any] = []
        ends: list[State] = []
        for number, directions in enumerate(self.stack):
            if number and self.dropouts:
                rows = self.dropouts[f"dropout_l{number - 1}"](rows)
            products = [self._products(d, rows, call) for d in directions]
            if any(product is None for product, _ in products):
                return None
            rows = self._recur(batch, directions, products, begin, keep, kept, ends)
        if keep:
            self._saved = (batch, state is not None, kept)
        if self.output == "sequence":
            return batch.unpack(rows), ends
        last = [end[0] if type(end) is tuple else end for end in ends[-len(self.stack[0]) :]]
        return last[0] if len(last) == 1 else np.hstack(last), ends

    def _products(self, d: Direction, rows: Array, call: Call | None) -> tuple[Array | None, Any]:
        """B(W·x), or W·x + b_ih, of all steps, and what `linear` keeps."""
        product, saved = linear(rows, getattr(self, d.weight_ih), getattr(self, d.bias_ih))
        norm = getattr(self, d.norm)
        if norm is None:
            return product, saved
        try:
            return norm(product) if call is None else call(d.norm, norm, product), saved
        except (TypeError, ValueError) as error:
            if call is None:
                locate(error, d.norm, norm)
            raise

    def _recur(
        self,
        batch: Sequences,
        directions: list[Direction],
        products: list[Any],
        begin: list[State],
        keep: bool,
        kept: list[Any],
        ends: list[State],
    ) -> Array:
        """One layer of the stack over time: its output rows, both directions beside each other."""
        size, both = self.hidden_size, None
        if len(directions) == 2:
            both = np.empty((len(products[0][0]), 2 * size), self.dtype)
        for place, (d, (product, saved)) in enumerate(zip(directions, products)):
            y, end, recurrence = recurrent(
                product,
                getattr(self, d.weight_hh),
                getattr(self, d.bias_hh),
                begin[len(ends)],
                kind=self.kind,
                lengths=batch.lengths,
                reverse=d.reverse,
                keep=keep,
                out=None if both is None else both[:, place * size : (place + 1) * size],
            )
            ends.append(end)
            kept.append((saved, recurrence))
        return y if both is None else both

    # ---- backward

    def backward(self, dy: Array | None, dstate: State = None) -> Any:
        """dx, or (dx, dstate of the initial state) if forward was given one.

        Parameters
        ----------
        dy : like y, or None for zeros
        dstate : like the state that `run` returned, or None for zeros
            Gradient to that state.
        """
        batch, had_state, kept = self.take_saved()
        ends = self._split(dstate, "dstate", batch)
        rows = self._enter(dy, batch, ends)
        begin: list[State] = [None] * len(kept)
        for number in reversed(range(self.num_layers)):
            rows = self._layer_backward(number, rows, ends, kept, begin)
            if rows is not None and number and self.dropouts:
                rows = self.dropouts[f"dropout_l{number - 1}"].backward(rows)
        dx = None if rows is None else batch.unpack(rows)
        return (dx, join_states(begin)) if had_state else dx

    def _split(self, state: State, name: str, batch: Sequences) -> list[State]:
        count = self.num_layers * len(self.stack[0])
        shape = (count, len(batch.lengths), self.hidden_size)
        return split_state(state, name, shape, self.kind == "lstm")

    def _enter(self, dy: Any, batch: Sequences, ends: list[State]) -> Array | None:
        """dy as rows of the last layer's output; with ``output="last"`` it joins the gradients of its final states."""
        if dy is None:
            return None
        n, width = len(batch.lengths), self.hidden_size * len(self.stack[0])
        shape: tuple[int, ...] = (n, width)
        if self.output == "sequence":
            shape = (n, batch.steps, width) if self.batch_first else (batch.steps, n, width)
        if not isinstance(dy, np.ndarray) or dy.shape != shape:
            raise ValueError(f"dy must be an array of shape {shape}, got {np.shape(dy)}")
        if self.output == "sequence":
            return batch.pack(dy)
        first = len(ends) - len(self.stack[0])
        for place, part in enumerate(np.split(dy, len(self.stack[0]), axis=1)):
            ends[first + place] = _add_hidden(ends[first + place], part, self.kind)
        return None

    def _layer_backward(
        self,
        number: int,
        rows: Array | None,
        ends: list[State],
        kept: list[Any],
        begin: list[State],
    ) -> Array | None:
        """Gradient to the rows that a layer of the stack read; its parameters' and initial states' on the way."""
        size, directions, total = self.hidden_size, self.stack[number], None
        for place, d in enumerate(directions):
            index = number * len(directions) + place
            saved, recurrence = kept[index]
            dy = rows if rows is None else rows[:, place * size : (place + 1) * size]
            dproducts, _, _, begin[index] = recurrent_backward(
                dy,
                recurrence,
                dstate=ends[index],
                dweight=self._gradient(d.weight_hh),
                dbias=self._gradient(d.bias_hh) if self.has_bias else None,
            )
            norm = getattr(self, d.norm)
            if norm is not None:
                dproducts = norm.backward(dproducts)
            dx, _, _ = linear_backward(
                dproducts,
                saved,
                dweight=self._gradient(d.weight_ih),
                dbias=None if getattr(self, d.bias_ih) is None else self._gradient(d.bias_ih),
                need_dx=number > 0 or self.input_gradient,
            )
            total = dx if total is None else total + dx
        return total


def _add_hidden(state: State, dh: Array, kind: str) -> State:
    """The gradient to a final state with ``dh`` added to its h."""
    if kind != "lstm":
        return np.ascontiguousarray(dh) if state is None else state + dh
    h, c = (None, None) if state is None else state
    return (np.ascontiguousarray(dh) if h is None else h + dh, c)
