"""Named tensors whose values are fetched one at a time: what a state dict is to those who read and write files and to those who change it.

Knows no file formats and no meanings of names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

__all__ = ["StateDict", "TensorType"]


class TensorType(NamedTuple):
    """A tensor's type (NumPy's name, "bfloat16", or a file format's word for what is only carried) and shape."""

    dtype: str
    shape: tuple[int, ...]


class StateDict(NamedTuple):
    """Tensors by name.

    Attributes
    ----------
    tensors : dict
        Type and shape of every tensor.
    metadata : dict
        Notes that came with them.
    read : callable
        ``read(name)`` gives a tensor's values: bfloat16 as uint16, what NumPy has no type for as bytes.
    """

    tensors: dict[str, TensorType]
    metadata: dict[str, str]
    read: Callable[[str], np.ndarray[Any, Any]]

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray[Any, Any]]) -> StateDict:
        """Arrays that are in memory; the bfloat16 of ml_dtypes is taken as well."""
        tensors = {name: TensorType(a.dtype.name, a.shape) for name, a in arrays.items()}

        def read(name: str) -> np.ndarray[Any, Any]:
            array = arrays[name]
            return array.view(np.uint16) if tensors[name].dtype == "bfloat16" else array

        return cls(tensors, {}, read)
