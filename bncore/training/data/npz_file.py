"""Data sets in NumPy's .npz.

Arrays ``x`` and ``y``, or ``x_train``, ``y_train``, ``x_test``, ``y_test``. Never unpickles.
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from ...support.errors import FileFormatError
from .assemble import Options, Raw

__all__ = ["read"]

_SPLIT = ("x_train", "y_train", "x_test", "y_test")


def read(path: Path, options: Options) -> Raw:
    """Integers and booleans in x become floats; text in y becomes classes.

    ``classes`` and ``feature_names`` are optional.
    """
    names, arrays = _arrays(path)
    if set(_SPLIT) <= set(names):
        x, y, x_test, y_test = (arrays[key] for key in _SPLIT)
    elif {"x", "y"} <= set(names):
        x, y, x_test, y_test = arrays["x"], arrays["y"], None, None
    else:
        found = ", ".join(names[:8]) or "nothing"
        raise FileFormatError(
            f"{path}: expected arrays x and y, or x_train, y_train, x_test and y_test, found "
            f"{found}"
        )
    for key, array in arrays.items():
        if not isinstance(array, np.ndarray) or array.ndim == 0:  # bytes: an entry that is no array
            raise FileFormatError(
                f"{path}: {key}: expected an array, found {type(array).__name__} without dimensions"
            )
    return Raw(
        str(path),
        x,
        y,
        x_test,
        y_test,
        classes=_texts(arrays, "classes"),
        feature_names=_texts(arrays, "feature_names"),
    )


def _arrays(path: Path) -> tuple[list[str], dict[str, np.ndarray]]:
    """(names of all arrays in the file, those that mean something here)."""
    wanted = {*_SPLIT, "x", "y", "classes", "feature_names"}
    try:
        archive = np.load(path, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise FileFormatError(f"{path}: expected a .npz archive, found a single .npy array")
        with archive:
            return archive.files, {key: archive[key] for key in archive.files if key in wanted}
    except FileFormatError:
        raise
    except (
        ValueError,
        TypeError,
        KeyError,
        EOFError,
        OSError,
        zipfile.BadZipFile,
        zlib.error,
        NotImplementedError,
    ) as error:
        if "pickle" in str(error).lower() and zipfile.is_zipfile(path):
            raise FileFormatError(
                f"{path}: holds Python objects, which are never unpickled; expected arrays of "
                "numbers"
            ) from None
        raise FileFormatError(
            f"{path}: cannot be read as .npz: "
            f"{' '.join(str(error).split()) or type(error).__name__}"
        ) from None


def _texts(arrays: dict[str, np.ndarray], key: str) -> tuple[str, ...]:
    return tuple(str(value) for value in arrays[key].ravel()) if key in arrays else ()
