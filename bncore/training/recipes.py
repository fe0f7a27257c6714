"""Settings that are known to work: for each data set a net and how to train it. Defaults of the command line.

Plain values, no computing; every one of them can be overridden with :func:`dataclasses.replace`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import nets
from ..layers import Sequential
from .data import Dataset
from .losses import MSE, CrossEntropy, Loss
from .optimizers import Optimizer, resolve

__all__ = ["NETS", "Recipe", "recipe_for"]

RECURRENT = ("lstm", "gru", "rnn")
NETS = ("mlp", "cnn", "resnet20", "inception_small", "separable", *RECURRENT)


@dataclass(frozen=True)
class Recipe:
    """A reference net and the arguments of its fit.

    Attributes
    ----------
    net : str
        One of `NETS`: a function in :mod:`bncore.nets`, or a kind of its ``recurrent``.
    net_options : dict
        Its arguments beyond sizes, norm, dtype and rng.
    lr : float
        Peak rate, where the schedule's factor is 1.
    momentum : float
        Of SGD.
    label_smoothing : float
        Of the cross-entropy; without meaning for regression.
    """

    net: str = "mlp"
    net_options: dict[str, Any] = field(default_factory=dict)
    epochs: int = 20
    batch_size: int = 64
    optimizer: str = "sgd"
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: str = "one_cycle"
    label_smoothing: float = 0.0
    augment: str | None = None

    def build_net(
        self,
        data: Dataset,
        *,
        norm: str = "batch",
        dtype: npt.DTypeLike = np.float32,
        rng: np.random.Generator | int | None = None,
    ) -> Sequential:
        """The net with inputs and outputs for ``data``.

        Raises
        ------
        ValueError
            If the net needs images and the data has none.
        """
        if self.net not in NETS:
            raise ValueError(f"net must be one of {', '.join(NETS)}, got {self.net!r}")
        images = len(data.shape) == 3
        options = self.net_options
        if self.net == "mlp":
            inputs = math.prod(data.shape)
        elif self.net in RECURRENT and len(data.shape) in (2, 3):
            # a step is a row of all channels, or what stands along the last axis
            inputs = data.shape[0] * data.shape[2] if images else data.shape[1]
            options = {"kind": self.net, **options}
        elif images:
            inputs = data.shape[0]
        else:
            needs = "images or sequences" if self.net in RECURRENT else "images"
            raise ValueError(
                f"net: {self.net} needs {needs}, {data.name} has samples of shape {data.shape}: "
                "use mlp"
            )
        make = nets.recurrent if self.net in RECURRENT else getattr(nets, self.net)
        built: Sequential = make(inputs, data.outputs, norm=norm, dtype=dtype, rng=rng, **options)
        return built

    def build_optimizer(self) -> Optimizer:
        """A new optimizer with this recipe's rate, momentum and weight decay."""
        own = {"momentum": self.momentum} if self.optimizer == "sgd" else {}
        return resolve(self.optimizer, lr=self.lr, weight_decay=self.weight_decay, **own)

    def build_loss(self, data: Dataset) -> Loss:
        """Cross-entropy for classes, mean squared error for quantities."""
        return CrossEntropy(self.label_smoothing) if data.task == "classification" else MSE()

    def fit_options(self, data: Dataset) -> dict[str, Any]:
        """Keyword arguments for :func:`bncore.fit`."""
        return {
            "loss": self.build_loss(data),
            "optimizer": self.build_optimizer(),
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "schedule": self.schedule,
            "augment": self.augment,
        }


_IMAGES = Recipe(
    net="cnn",
    net_options={"widths": (32, 64, 128), "strides": (1, 2, 2)},
    epochs=15,
    label_smoothing=0.1,
    augment="shift",
)
# Small tables: a few hundred rows, so much is done against learning them by heart
_TABLE = Recipe(
    net="mlp",
    net_options={"hidden": (64, 64), "dropout": 0.2},
    epochs=40,
    batch_size=32,
    lr=0.05,
    weight_decay=0.02,
    label_smoothing=0.1,
)
_QUANTITY = Recipe(
    net="mlp",
    net_options={"hidden": (32,), "dropout": 0.3},
    epochs=30,
    batch_size=32,
    optimizer="adamw",
    lr=0.01,
    weight_decay=0.01,
)
# Rows or steps read one by one: images that were moved cost a small recurrent net more than they teach it
_SEQUENCES = Recipe(net="lstm", epochs=30)
_NAMED = {
    # 99.7 % of the test part, 99.4 to 100 over ten seeds and splits
    "digits": replace(_IMAGES, epochs=60),
}


def recipe_for(data: Dataset, net: str | None = None) -> Recipe:
    """The recipe for this data set by its name, else by its kind: images, classes, quantities.

    With ``net``, one of `NETS`, the same for that net in place of the recipe's own.
    """
    if net in RECURRENT:
        return replace(_SEQUENCES, net=net)
    found = _NAMED.get(data.name)
    if found is None and data.task == "regression":
        found = _QUANTITY
    if found is None:
        found = _IMAGES if len(data.shape) == 3 else _TABLE
    return found if net in (None, found.net) else replace(found, net=net, net_options={})
