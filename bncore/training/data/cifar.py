"""The binary versions of CIFAR-10 and CIFAR-100.

Records of label bytes and 3 x 32 x 32 bytes of one image.

Format: https://www.cs.toronto.edu/~kriz/cifar.html; CIFAR-10 has one label byte, CIFAR-100 two
(coarse, fine).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...support.errors import FileFormatError
from .assemble import Options, Raw

__all__ = ["is_folder", "read"]

_IMAGE = (3, 32, 32)
_PIXELS = 3 * 32 * 32


def is_folder(path: Path) -> bool:
    """Whether this folder holds CIFAR's binary files."""
    return bool(list(path.glob("data_batch_*.bin"))) or (path / "train.bin").exists()


def read(path: Path, options: Options) -> Raw:
    """A folder, or one file of it; x is (n, 3, 32, 32).

    For CIFAR-100 ``target`` chooses ``"fine"`` or ``"coarse"`` classes.
    """
    folder = path if path.is_dir() else path.parent
    if path.is_dir():
        hundred = (path / "train.bin").exists()
        train = [path / "train.bin"] if hundred else sorted(path.glob("data_batch_*.bin"))
        test = path / ("test.bin" if hundred else "test_batch.bin")
    else:
        hundred = path.name in ("train.bin", "test.bin") or _size(path) % (1 + _PIXELS) != 0
        train, test = [path], None
    labels = _label_column(hundred, options.target)
    x, y = _read_files(train, 2 if hundred else 1, labels)
    x_test, y_test = (
        _read_files([test], 2 if hundred else 1, labels)
        if test is not None and test.exists()
        else (None, None)
    )
    names = _class_names(folder, hundred, labels)
    for part in (y, y_test):
        if part is not None and part.max() >= len(names):
            raise FileFormatError(
                f"{path}: expected labels 0 to {len(names) - 1}, found {part.max()}: not a "
                "CIFAR file?"
            )
    return Raw(str(path), x, y, x_test, y_test, classes=names, task="classification")


def _label_column(hundred: bool, target: str | int | None) -> int:
    if target is None:
        return 1 if hundred else 0
    if not hundred or target not in ("fine", "coarse"):
        raise ValueError(
            f"target must be 'fine' or 'coarse', and for CIFAR-100 only, got {target!r}"
        )
    return 1 if target == "fine" else 0


def _read_files(paths: list[Path], label_bytes: int, column: int) -> tuple[np.ndarray, np.ndarray]:
    """All records of these files.

    One array is filled file by file, so that the bytes are never there twice.
    """
    record = label_bytes + _PIXELS
    counts = []
    for path in paths:
        count, rest = divmod(_size(path), record)
        if rest or not count:
            raise FileFormatError(
                f"{path}: expected whole records of {record} bytes, found {_size(path)} "
                "bytes: truncated, or not CIFAR"
            )
        counts.append(count)
    x = np.empty((sum(counts), *_IMAGE), np.uint8)
    y = np.empty(sum(counts), np.uint8)
    begin = 0
    for path, count in zip(paths, counts):
        records = np.fromfile(path, np.uint8).reshape(count, record)
        x[begin : begin + count] = records[:, label_bytes:].reshape(count, *_IMAGE)
        y[begin : begin + count] = records[:, column]
        begin += count
    return x, y


def _size(path: Path) -> int:
    return path.stat().st_size


def _class_names(folder: Path, hundred: bool, column: int) -> tuple[str, ...]:
    """From the text file that comes with the data; numbers where it is missing or does not fit."""
    file, count = ("batches.meta.txt", 10)
    if hundred:
        file, count = ("fine_label_names.txt", 100) if column else ("coarse_label_names.txt", 20)
    try:
        names = (folder / file).read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError):
        names = []
    return tuple(names) if len(names) == count else tuple(str(i) for i in range(count))
