"""The recurrent layers by name: RNN, GRU and LSTM. What they share is in recurrent.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ..support import checks
from .recurrent import Recurrent
from .registry import register

__all__ = ["GRU", "LSTM", "RNN"]


@register
class RNN(Recurrent):
    """``h_t = tanh(W·x_t + b_ih + U·h_{t-1} + b_hh)``, or ReLU, over sequences (Elman 1990).

    With a norm B the input products of all sequences and valid steps are normalized together, sequence-wise
    (Laurent 2015, arXiv 1510.01378; Deep Speech 2, arXiv 1512.02595): ``h_t = tanh(B(W·x_t) + U·h_{t-1} + b_hh)``.

    Parameters
    ----------
    input_size, hidden_size : int
        Features of x_t and h_t.
    num_layers : int
        Layers on top of each other, each reading the outputs of the one below.
    nonlinearity : "tanh" or "relu"
    bidirectional : bool
        A second direction from the last valid step to the first, its outputs beside those of the first.
    dropout : float
        Probability of a Dropout between the layers of a stack; with a single layer it does nothing (UserWarning).
    norm : None (or "none"), "batch", "renorm", "layer" or "rms"
        Norm of the input products, one per layer and direction: children ``norm_l0``, ``norm_l0_reverse``, ... Each
        has its own weight and bias, so there is no ``bias_ih``. They see valid steps only, as rows (m, features).
    norm_options : mapping, optional
        Further arguments of every norm's constructor.
    batch_first : bool
        Whether x is (N, L, input_size) or (L, N, input_size), which is copied once.
    output : "sequence" or "last"
        What `forward` returns: the states after every step, or only the final ones, (N, directions · hidden_size).
    bias : bool
        Whether there are ``bias_ih`` and ``bias_hh``.
    dtype : float32 or float64
    rng : numpy Generator, int or None
        Where initial values come from; None is the generator that `bncore.seed` sets.

    Attributes
    ----------
    weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0 : ndarray
        Named, laid out and initialized as in PyTorch (for layer 0; ``_l1``, ... above, ``_reverse`` behind that for
        the other direction), so that its state dicts load.

    Notes
    -----
    `run` takes lengths and an initial state and gives the final one as well; `backward` takes its gradient. Padding
    never changes a bit of the valid outputs. In evaluation a batch norm folds into ``weight_ih``
    (`bncore.folding.fold_net`).
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        nonlinearity: str = "tanh",
        bidirectional: bool = False,
        dropout: float = 0.0,
        norm: str | None = None,
        norm_options: Mapping[str, Any] | None = None,
        batch_first: bool = True,
        output: str = "sequence",
        bias: bool = True,
        dtype: npt.DTypeLike = np.float32,
        rng: np.random.Generator | int | None = None,
    ) -> None:
        self.nonlinearity = checks.one_of(nonlinearity, "nonlinearity", ("tanh", "relu"))
        self.kind = f"rnn_{self.nonlinearity}"
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bidirectional=bidirectional,
            dropout=dropout,
            norm=norm,
            norm_options=norm_options,
            batch_first=batch_first,
            output=output,
            bias=bias,
            dtype=dtype,
            rng=rng,
        )

    def config(self) -> dict[str, Any]:
        return {**super().config(), "nonlinearity": self.nonlinearity}

    def describe(self) -> str:
        text = super().describe()
        return text if self.nonlinearity == "tanh" else f"{text}, nonlinearity='relu'"


@register
class GRU(Recurrent):
    """Gated recurrent unit over sequences (Cho 2014, arXiv 1406.1078), in the form of PyTorch and cuDNN.

    With a_t = W·x_t + b_ih, or B(W·x_t) with a norm B, and u = U·h_{t-1} + b_hh, in blocks r, z, n::

        r = σ(a_r + u_r)    z = σ(a_z + u_z)    n = tanh(a_n + r·u_n)    h_t = (1 - z)·n + z·h_{t-1}

    Parameters
    ----------
    input_size, hidden_size : int
        Features of x_t and h_t.
    num_layers : int
        Layers on top of each other, each reading the outputs of the one below.
    bidirectional : bool
        A second direction from the last valid step to the first, its outputs beside those of the first.
    dropout : float
        Probability of a Dropout between the layers of a stack; with a single layer it does nothing (UserWarning).
    norm : None (or "none"), "batch", "renorm", "layer" or "rms"
        B: one norm of the input products of all three blocks per layer and direction, in place of ``bias_ih``.
    norm_options : mapping, optional
        Further arguments of every norm's constructor.
    batch_first : bool
        Whether x is (N, L, input_size) or (L, N, input_size).
    output : "sequence" or "last"
        What `forward` returns: the states after every step, or only the final ones.
    bias : bool
        Whether there are ``bias_ih`` and ``bias_hh``.
    dtype : float32 or float64
    rng : numpy Generator, int or None
        Where initial values come from; None is the generator that `bncore.seed` sets.

    Attributes
    ----------
    weight_ih_l0 : ndarray, shape (3·hidden_size, input_size)
        W, in blocks r, z, n. Other layers and directions as for `RNN`: ``_l1``, ..., ``_reverse``.
    weight_hh_l0 : ndarray, shape (3·hidden_size, hidden_size)
        U.
    bias_ih_l0, bias_hh_l0 : ndarray, shape (3·hidden_size,), or None

    Notes
    -----
    PyTorch's state dicts load. Of lengths, states, folding and what a norm sees all is as `RNN` says.
    """

    gates = 3
    kind = "gru"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        bidirectional: bool = False,
        dropout: float = 0.0,
        norm: str | None = None,
        norm_options: Mapping[str, Any] | None = None,
        batch_first: bool = True,
        output: str = "sequence",
        bias: bool = True,
        dtype: npt.DTypeLike = np.float32,
        rng: np.random.Generator | int | None = None,
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bidirectional=bidirectional,
            dropout=dropout,
            norm=norm,
            norm_options=norm_options,
            batch_first=batch_first,
            output=output,
            bias=bias,
            dtype=dtype,
            rng=rng,
        )


@register
class LSTM(Recurrent):
    """Long short-term memory over sequences (Hochreiter & Schmidhuber 1997; forget gate: Gers 2000).

    With a_t = W·x_t + b_ih, or B(W·x_t) with a norm B, and u = U·h_{t-1} + b_hh, in blocks i, f, g, o::

        i = σ(a_i + u_i)    f = σ(a_f + u_f)    g = tanh(a_g + u_g)    o = σ(a_o + u_o)
        c_t = f·c_{t-1} + i·g    h_t = o·tanh(c_t)

    Parameters
    ----------
    input_size, hidden_size : int
        Features of x_t and h_t.
    num_layers : int
        Layers on top of each other, each reading the outputs of the one below.
    bidirectional : bool
        A second direction from the last valid step to the first, its outputs beside those of the first.
    dropout : float
        Probability of a Dropout between the layers of a stack; with a single layer it does nothing (UserWarning).
    norm : None (or "none"), "batch", "renorm", "layer" or "rms"
        B: one norm of the input products of all four blocks per layer and direction, in place of ``bias_ih``.
    norm_options : mapping, optional
        Further arguments of every norm's constructor.
    batch_first : bool
        Whether x is (N, L, input_size) or (L, N, input_size).
    output : "sequence" or "last"
        What `forward` returns: the states after every step, or only the final ones.
    bias : bool
        Whether there are ``bias_ih`` and ``bias_hh``.
    forget_bias : float or None
        Where the forget gate's bias starts; 1 helps with long sequences (Jozefowicz 2015). None: at random with
        the others.
    dtype : float32 or float64
    rng : numpy Generator, int or None
        Where initial values come from; None is the generator that `bncore.seed` sets.

    Attributes
    ----------
    weight_ih_l0 : ndarray, shape (4·hidden_size, input_size)
        W, in blocks i, f, g, o. Other layers and directions as for `RNN`: ``_l1``, ..., ``_reverse``.
    weight_hh_l0 : ndarray, shape (4·hidden_size, hidden_size)
        U.
    bias_ih_l0, bias_hh_l0 : ndarray, shape (4·hidden_size,), or None

    Notes
    -----
    A state is a pair (h, c). PyTorch's state dicts load. Of lengths, folding and what a norm sees all is as `RNN` says.
    """

    gates = 4
    kind = "lstm"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        bidirectional: bool = False,
        dropout: float = 0.0,
        norm: str | None = None,
        norm_options: Mapping[str, Any] | None = None,
        batch_first: bool = True,
        output: str = "sequence",
        bias: bool = True,
        forget_bias: float | None = None,
        dtype: npt.DTypeLike = np.float32,
        rng: np.random.Generator | int | None = None,
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bidirectional=bidirectional,
            dropout=dropout,
            norm=norm,
            norm_options=norm_options,
            batch_first=batch_first,
            output=output,
            bias=bias,
            dtype=dtype,
            rng=rng,
        )
        self.forget_bias = None
        if forget_bias is not None:
            self.forget_bias = checks.finite(forget_bias, "forget_bias")
            if not self.has_bias:
                raise ValueError(f"forget_bias must be None without biases, got {forget_bias}")
            self._start_forgetting(self.forget_bias)

    def _start_forgetting(self, value: float) -> None:
        """The forget gate's bias all in ``bias_hh``, which is there with a norm as well."""
        forget = slice(self.hidden_size, 2 * self.hidden_size)
        for d in self.directions():
            getattr(self, d.bias_hh)[forget] = value
            if getattr(self, d.bias_ih) is not None:
                getattr(self, d.bias_ih)[forget] = 0.0

    def config(self) -> dict[str, Any]:
        return {**super().config(), "forget_bias": self.forget_bias}

    def describe(self) -> str:
        text = super().describe()
        return text if self.forget_bias is None else f"{text}, forget_bias={self.forget_bias:g}"
