"""The recurrent reference net: a sequence, or an image row by row, read by an RNN, GRU or LSTM."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ..layers import GRU, LSTM, RNN, ImageRows, Sequential
from ..layers.recurrent_stack import NORMS
from ..support import checks
from .maker import Maker

__all__ = ["KINDS", "recurrent"]

KINDS = {"lstm": LSTM, "gru": GRU, "rnn": RNN}


def recurrent(
    in_features: int,
    classes: int,
    hidden: int = 64,
    *,
    kind: str = "lstm",
    num_layers: int = 1,
    bidirectional: bool = False,
    norm: str | None = "batch",
    norm_options: Mapping[str, Any] | None = None,
    standardize: bool = False,
    dropout: float = 0.0,
    axis: int = 1,
    init: str | float = "kaiming_uniform",
    dtype: npt.DTypeLike = np.float32,
    rng: np.random.Generator | int | None = None,
) -> Sequential:
    """Recurrent net: LSTM, GRU or RNN over the steps of a sequence, then Linear on its final states.

    Parameters
    ----------
    in_features : int
        Values of one step. The net takes sequences (N, L, in_features), and images, of which each row is a step:
        in_features is then channels · width.
    classes : int
        Size of the output (1 for a regression).
    hidden, num_layers, bidirectional
        As for `LSTM`.
    kind : "lstm", "gru" or "rnn"
    norm : "batch", "renorm", "layer", "rms" or "none" (None)
        Of the input products inside the recurrent layer, over all sequences and steps.
    norm_options : mapping, optional
        Further arguments of every norm's constructor.
    standardize : bool
        Whether a first BatchNorm without weight and bias standardizes the features of a step. With a norm of the
        products the input's scale does not matter; it folds into the recurrent layer.
    dropout : float
        Probability of a Dropout between recurrent layers and before the Linear; 0 for none.
    axis : 1 or -1
        Where the channels of images are.
    init, dtype, rng
        As for `Linear`; the recurrent layers start as PyTorch's do.

    Raises
    ------
    ValueError
        For another kind or norm, options it does not take, or sizes below 1.
    """
    checks.one_of(norm, "norm", (None, "none", *NORMS))
    layer = KINDS[checks.one_of(kind, "kind", tuple(KINDS))]
    # the norm over raw features stands on the last axis, whatever the images' layout
    make = Maker("batch", None, -1, init, dtype, rng)
    sequence = layer(
        in_features,
        hidden,
        num_layers,
        bidirectional=bidirectional,
        dropout=dropout if num_layers > 1 else 0.0,
        norm=norm,
        norm_options=norm_options,
        output="last",
        dtype=dtype,
        rng=make.rng,
    )
    width = hidden * (2 if bidirectional else 1)
    return Sequential(
        ImageRows(axis=axis),
        *make.standardize(in_features, standardize),
        sequence,
        *make.head(width, classes, dropout),
    )
