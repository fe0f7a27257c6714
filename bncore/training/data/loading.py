"""``load``: finds out what a name or a path is and hands it to the one reader for it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ...support import checks
from ...support.errors import FileFormatError
from . import cifar, csv_file, idx, npz_file, sklearn_sets
from .assemble import Options, Raw, assemble
from .dataset import Dataset

__all__ = ["load"]


def load(
    name: str | os.PathLike[str],
    target: str | int | None = None,
    *,
    task: str | None = None,
    test_fraction: float = 0.2,
    seed: int = 0,
    dtype: str | type | np.dtype = "float32",
) -> Dataset:
    """Load a data set and split it, the same way every time.

    Parameters
    ----------
    name : str or path
        One of

        - ``"digits"``, ``"wine"``, ``"breast_cancer"``, ``"iris"``, ``"diabetes"``, which are
          inside scikit-learn (extra ``sklearn``);
        - ``file.npz``: arrays ``x`` and ``y``, or ``x_train``, ``y_train``, ``x_test`` and
          ``y_test``; optionally ``classes`` and ``feature_names`` (text);
        - ``file.csv``, ``file.csv.gz``: numeric columns and one ``target`` column of numbers or
          text;
        - ``train-images-idx3-ubyte[.gz]``, or a folder with MNIST's files: IDX images with
          their labels;
        - ``data_batch_1.bin``, or a folder with the binary version of CIFAR-10 or CIFAR-100.
    target : str or int, optional
        CSV: name or position (from 0, or negative from the end) of the target column. CIFAR-100:
        ``"fine"`` (default) or ``"coarse"``.
    task : {"classification", "regression"}, optional
        Default: text and up to 20 distinct whole numbers are classes, other numbers quantities.
    test_fraction : float
        Share held back for testing where the source has no test part of its own; classification
        splits class by class.
    seed : int
        Decides that split. Keep it when a saved net is evaluated later, else it is tested on what
        it was trained on.
    dtype : {"float32", "float64"}
        Of x, and of y for regression.

    Returns
    -------
    Dataset

    Raises
    ------
    ValueError
        If ``name`` is neither known nor a file.
    FileFormatError
        If a file is not what it should be; one line that starts with its path.
    ImportError
        If scikit-learn is needed and missing.
    """
    if task is not None:
        checks.one_of(task, "task", ("classification", "regression"))
    real = np.dtype(dtype)
    if real not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise TypeError(f"dtype must be float32 or float64, got {real}")
    options = Options(target, task, test_fraction, checks.non_negative_int(seed, "seed"), real)
    text = os.fspath(name)
    if text in sklearn_sets.NAMES:
        return assemble(sklearn_sets.read(text), options)
    path = Path(text)
    if not path.exists():
        raise ValueError(
            f"{text!r} is neither a data set ({', '.join(sklearn_sets.NAMES)}) nor a file or "
            "folder that exists"
        )
    return assemble(_reader(path)(path, options), options)


def _reader(path: Path) -> Callable[[Path, Options], Raw]:
    name = path.name.lower()
    if path.is_dir():
        for module in (idx, cifar):
            if module.is_folder(path):
                return module.read
        raise FileFormatError(
            f"{path}: this folder holds neither IDX files (MNIST) nor the binary version of CIFAR"
        )
    if name.endswith(".npz"):
        return npz_file.read
    if name.endswith((".csv", ".csv.gz")):
        return csv_file.read
    if "ubyte" in name:
        return idx.read
    if name.endswith(".bin"):
        return cifar.read
    hint = (
        ": unpack it and give the folder"
        if name.endswith((".tar", ".tar.gz", ".tgz", ".zip"))
        else ""
    )
    raise FileFormatError(
        f"{path}: expected .npz, .csv, .csv.gz, an IDX file (...-ubyte, ...-ubyte.gz) or "
        f"CIFAR's .bin{hint}"
    )
