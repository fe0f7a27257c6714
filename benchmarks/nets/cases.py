"""The nets, their data and their batches. Every call gives the same weights and the same data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import bncore as bn

Array = np.ndarray[Any, Any]
CLASSES = 10
LR, MOMENTUM = 0.01, 0.9
WARM_UP = 20
"""Batches that move the running statistics before a net is folded."""

BATCHES = (1, 8, 64, 256)
"""Of an inference; a training step has one batch a net."""


@dataclass(frozen=True)
class Kind:
    """One net: ``make(axis, dtype=..., rng=...)``, the shape of a sample (channels first), the batch it is trained with."""

    make: Callable[..., Any]
    shape: tuple[int, ...]
    batch: int


def lstm(features: int, hidden: int) -> Callable[..., Any]:
    return lambda axis, **how: bn.nets.recurrent(
        features, CLASSES, hidden, kind="lstm", norm="batch", axis=axis, **how
    )


def mlp(axis: int, **how: Any) -> Any:
    return bn.nets.mlp(64, CLASSES, (128, 128), standardize=False, **how)


def cnn(axis: int, **how: Any) -> Any:
    return bn.nets.cnn(1, CLASSES, (16, 32, 64), strides=(1, 2, 2), axis=axis, **how)


def separable(axis: int, **how: Any) -> Any:
    return bn.nets.separable(3, CLASSES, strides=(1, 2, 2), axis=axis, **how)


NETS = {
    "mlp": Kind(mlp, (64,), 64),
    "cnn": Kind(cnn, (1, 28, 28), 64),
    "resnet20": Kind(lambda axis, **how: bn.nets.resnet20(axis=axis, **how), (3, 32, 32), 128),
    "inception_small": Kind(
        lambda axis, **how: bn.nets.inception_small(axis=axis, **how), (3, 28, 28), 64
    ),
    "lstm": Kind(lstm(64, 64), (28, 64), 32),
    "separable": Kind(separable, (3, 32, 32), 64),
}
# the same in small, to see whether everything runs
QUICK = {
    "mlp": Kind(mlp, (64,), 4),
    "cnn": Kind(cnn, (1, 8, 8), 4),
    "resnet20": Kind(
        lambda axis, **how: bn.nets.resnet20(width=8, blocks=1, axis=axis, **how), (3, 8, 8), 4
    ),
    "inception_small": Kind(
        lambda axis, **how: bn.nets.inception_small(width=0.1, axis=axis, **how), (3, 8, 8), 4
    ),
    "lstm": Kind(lstm(8, 8), (5, 8), 4),
    "separable": Kind(separable, (3, 8, 8), 4),
}
assert NETS.keys() == QUICK.keys()


@dataclass(frozen=True)
class Case:
    """A net and a batch.

    Attributes
    ----------
    quick : bool
        The small nets of `QUICK`.
    real : bool
        Whether data may come from scikit-learn, which takes much memory.
    """

    net: str
    batch: int
    quick: bool = False
    real: bool = True

    def __str__(self) -> str:
        return f"{self.net} batch {self.batch}"

    @property
    def kind(self) -> Kind:
        return (QUICK if self.quick else NETS)[self.net]

    @property
    def images(self) -> bool:
        """Whether there are two layouts."""
        return len(self.kind.shape) == 3

    @property
    def axes(self) -> tuple[int, ...]:
        return (1, -1) if self.images else (1,)

    def build(self, axis: int = 1, dtype: str = "float32") -> Any:
        return self.kind.make(axis, dtype=dtype, rng=0)

    def data(self, axis: int = 1) -> tuple[Array, Array]:
        """One batch: random, but scikit-learn's digits for the mlp where they are."""
        rng = np.random.default_rng(0)
        x = rng.standard_normal((self.batch, *self.kind.shape), dtype=np.float32)
        y = rng.integers(0, CLASSES, self.batch)
        if self.net == "mlp" and self.real:
            x, y = digits(self.batch) or (x, y)
        return laid_out(x, axis), y

    def trained(self, axis: int = 1, dtype: str = "float32") -> Any:
        """The net in evaluation mode, its running statistics moved a bit, as if it had been trained."""
        rng = np.random.default_rng(1)
        net = self.build(axis, dtype).train()
        for _ in range(WARM_UP):
            x = rng.standard_normal((8, *self.kind.shape), dtype=np.float32)
            net(laid_out(0.5 + x, axis).astype(dtype))
        return net.eval()

    def folded(self, axis: int = 1) -> Any:
        """`trained` without its norms: what all libraries get for inference."""
        net, report = bn.folding.fold_net(self.trained(axis))
        assert not report.kept, report
        return net


def laid_out(x: Array, axis: int) -> Array:
    return x if axis == 1 else np.ascontiguousarray(np.moveaxis(x, 1, -1))


def pair(size: int | tuple[int, ...]) -> tuple[int, ...]:
    """A size of a pooling layer, which may be one number for both directions."""
    return (size, size) if isinstance(size, int) else tuple(size)


def digits(batch: int) -> tuple[Array, Array] | None:
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        return None
    x, y = load_digits(return_X_y=True)
    return (x[:batch] / 16).astype(np.float32), y[:batch].astype(np.int64)
