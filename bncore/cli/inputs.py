"""What the commands read: a saved net with what was noted in its file, and the data set that goes with it."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from ..layers import Layer
from ..training.data import Dataset

__all__ = ["dtype_of", "input_shape", "load_for_net", "load_net", "part", "score"]


def load_net(path: str) -> tuple[Layer, dict[str, Any]]:
    """A net in evaluation mode and the notes saved with it."""
    from ..io import load, load_meta

    return load(path), load_meta(path)


def load_for_net(args: argparse.Namespace, meta: dict[str, Any]) -> Dataset:
    """The data set ``args.data``, split as it was when the net was trained on it.

    Another split would test the net on samples it was trained on; --seed and --target overrule what the file says.
    """
    from ..training.data import load

    same = meta.get("data") == args.data
    seed = args.seed if args.seed is not None else meta.get("seed", 0) if same else 0
    target = args.target if args.target is not None else meta.get("target") if same else None
    return load(
        args.data, target, seed=seed, task=meta.get("task"), dtype=meta.get("dtype", "float32")
    )


def score(
    net: Layer, x: np.ndarray, y: np.ndarray, task: str, *, batch_size: int = 256
) -> dict[str, float]:
    """How good a net's answers are: loss, and accuracy or, for a regression, R².

    R² = 1 - loss / variance of y: the share of the variance that the net explains.
    """
    from ..training import evaluate

    if task == "classification":
        return evaluate(net, x, y, "cross_entropy", batch_size=batch_size)
    scores = evaluate(net, x, y, "mse", batch_size=batch_size)
    variance = float(y.var(axis=0, dtype=np.float64).mean())
    return {**scores, "r2": 1.0 - scores["loss"] / variance if variance else float("nan")}


def part(data: Dataset, split: str) -> tuple[np.ndarray, np.ndarray]:
    """The samples and targets of ``split``: "train", "test" or "all"."""
    if split == "train":
        return data.x_train, data.y_train
    if split == "test":
        return data.x_test, data.y_test
    return np.concatenate([data.x_train, data.x_test]), np.concatenate([data.y_train, data.y_test])


def dtype_of(net: Layer) -> str:
    """The floating type of a net's parameters and statistics: "float32" or "float64"."""
    for array in net.state_dict().values():
        if np.asarray(array).dtype.kind == "f":
            return str(np.asarray(array).dtype)
    return "float32"


def input_shape(net: Layer, meta: dict[str, Any], given: str | None) -> tuple[int, ...]:
    """Shape of one sample: as given (text), as noted in the file, or as the first layer says.

    Raises
    ------
    ValueError
        If none of the three tells.
    """
    if given is not None:
        try:
            shape = tuple(int(size) for size in given.split(","))
        except ValueError:
            shape = ()
        if not shape or min(shape) < 1:
            raise ValueError(f"--input-shape: expected sizes >= 1 such as 1,28,28, got {given!r}")
        return shape
    noted = meta.get("input_shape")
    if (
        isinstance(noted, list)
        and noted
        and all(isinstance(size, int) and size >= 1 for size in noted)
    ):
        return tuple(noted)
    features = _first_features(net)
    if features is None:
        raise ValueError(
            "the net's file does not say what its inputs look like: give --input-shape or --check DATA"
        )
    return (features,)


def _first_features(net: Layer) -> int | None:
    """Width of the first Linear, if nothing but norms and flattening comes before it."""
    for _, layer in net.named_layers():
        kind, config = type(layer).__name__, layer.config()
        if kind == "Linear":
            return int(config["in_features"])
        if kind not in ("Sequential", "Flatten", "BatchNorm"):
            return None
    return None
