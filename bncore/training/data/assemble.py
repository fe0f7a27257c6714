"""From what a reader found to a Dataset: dtype, classes, task, split. The part all loaders share.

Reads no file.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...support.errors import FileFormatError
from .dataset import Dataset
from .split import stratified_split, train_test_split

__all__ = ["Options", "Raw", "assemble"]

# A numeric target of whole numbers with no more distinct values than this names classes, unless
# ``task`` says otherwise.
MOST_GUESSED_CLASSES = 20


@dataclass(frozen=True)
class Options:
    """What the caller of ``load`` asked for, handed to every reader."""

    target: str | int | None
    task: str | None
    test_fraction: float
    seed: int
    dtype: np.dtype


@dataclass
class Raw:
    """What a reader found. ``x_test``/``y_test`` are None where the source has no test part.

    ``classes`` empty where it names none.
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    x_test: np.ndarray | None = None
    y_test: np.ndarray | None = None
    classes: tuple[str, ...] = ()
    feature_names: tuple[str, ...] = ()
    task: str | None = None


def assemble(raw: Raw, options: Options) -> Dataset:
    """Judge, convert and split."""
    if raw.x_test is None or raw.y_test is None:
        x, y, parts = raw.x, raw.y, None
    else:
        # one set of classes for both parts: judge them together
        x, y, parts = raw.x, np.concatenate([raw.y, raw.y_test]), raw.x_test
        if raw.x.shape[1:] != raw.x_test.shape[1:]:
            raise FileFormatError(
                f"{raw.name}: training samples have shape {raw.x.shape[1:]}, test samples "
                f"{raw.x_test.shape[1:]}"
            )
    for what, array, count in (("x", x, len(raw.y)), ("x_test", parts, len(y) - len(raw.y))):
        if array is not None and len(array) != count:
            raise FileFormatError(
                f"{raw.name}: {what} has {len(array)} samples but its targets {count}"
            )
    if len(x) < 2:
        raise FileFormatError(f"{raw.name}: expected at least 2 samples, found {len(x)}")
    task = options.task or raw.task or guess_task(y)
    y, classes = (
        _classes(raw, y) if task == "classification" else (_numbers(raw.name, y, options.dtype), ())
    )
    x = _features(raw.name, x, options.dtype)
    if parts is not None:
        x_test = _features(raw.name, parts, options.dtype)
        first, second = (x, y[: len(x)]), (x_test, y[len(x) :])
    else:
        rng = np.random.default_rng(options.seed)
        if task == "classification":
            train, test = stratified_split(y, options.test_fraction, rng)
        else:
            train, test = train_test_split(len(y), options.test_fraction, rng)
        first, second = (x[train], y[train]), (x[test], y[test])
    return Dataset(raw.name, *first, *second, task, classes, raw.feature_names)


def guess_task(y: np.ndarray) -> str:
    """Text, booleans and a few whole numbers are classes; everything else is a quantity."""
    if y.dtype.kind in "USb":
        return "classification"
    if y.ndim != 1 or y.dtype.kind not in "iuf":
        return "regression"
    whole = y.dtype.kind in "iu" or bool(np.all(y == np.floor(y)))
    return "classification" if whole and len(np.unique(y)) <= MOST_GUESSED_CLASSES else "regression"


def _classes(raw: Raw, y: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Targets as positions 0..k-1 in sorted order of what they were, and the classes' names."""
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1:
        raise FileFormatError(
            f"{raw.name}: expected one class per sample, found targets of shape {y.shape}"
        )
    if raw.classes and y.dtype.kind in "iu":
        low, high = int(y.min()), int(y.max())
        if low < 0 or high >= len(raw.classes):
            raise FileFormatError(
                f"{raw.name}: expected classes 0 to {len(raw.classes) - 1}, found "
                f"{low if low < 0 else high}"
            )
        return y.astype(np.int64), raw.classes
    values, positions = np.unique(y, return_inverse=True)
    if len(values) < 2:
        raise FileFormatError(
            f"{raw.name}: expected at least 2 classes, found only {_class_name(values[0])!r}"
        )
    if y.dtype.kind == "f" and len(values) > max(MOST_GUESSED_CLASSES, len(y) // 2):
        raise FileFormatError(
            f"{raw.name}: the target has {len(values)} distinct numbers, which are no "
            "classes: task='regression'?"
        )
    return positions.reshape(-1).astype(np.int64), tuple(_class_name(v) for v in values)


def _class_name(value: np.generic) -> str:
    number = value.item()
    if isinstance(number, float) and number.is_integer():
        return str(int(number))
    return number.decode("utf-8", "replace") if isinstance(number, bytes) else str(number)


def _numbers(name: str, y: np.ndarray, dtype: np.dtype) -> np.ndarray:
    if y.dtype.kind not in "iufb":
        raise FileFormatError(f"{name}: regression needs a numeric target, found {y.dtype}")
    _finite(name, "the target", y)
    return np.ascontiguousarray(y.reshape(len(y), -1), dtype=dtype)


def _features(name: str, x: np.ndarray, dtype: np.dtype) -> np.ndarray:
    if x.dtype.kind not in "iufb":
        raise FileFormatError(f"{name}: expected numeric features, found {x.dtype}")
    if x.ndim < 2 or 0 in x.shape[1:]:
        raise FileFormatError(
            f"{name}: expected samples of at least one feature, found an array of shape {x.shape}"
        )
    _finite(name, "x", x)
    return np.ascontiguousarray(x, dtype=dtype)


def _finite(name: str, what: str, values: np.ndarray) -> None:
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        place = tuple(int(i) for i in np.argwhere(~np.isfinite(values))[0])
        raise FileFormatError(
            f"{name}: {what} holds {values[place]} at {place}: every value must be finite"
        )
