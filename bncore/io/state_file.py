"""State dicts in files: named tensors in .safetensors or .npz behind one face, read and written one at a time.

Which of them belong together, and what they mean, is for others to say.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np

from ..support.files import atomic_path
from ..support.tensors import StateDict, TensorType
from . import safetensors, state_npz
from .archive import PathLike, damage, zip_of

__all__ = ["SUFFIXES", "judge_state_target", "open_state", "save_state"]

SUFFIXES = (".safetensors", ".npz")
Array = np.ndarray[Any, Any]

# the format's words for types that NumPy has; bfloat16 is held in uint16
_NUMPY = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "U16": "uint16", "I16": "int16", "U32": "uint32", "I32": "int32",
    "U64": "uint64", "I64": "int64", "F16": "float16", "F32": "float32", "F64": "float64", "C64": "complex64",
    "BF16": "bfloat16",
}  # fmt: skip
_FORMAT = {name: word for word, name in _NUMPY.items()}


@contextmanager
def open_state(path: PathLike) -> Iterator[StateDict]:
    """Open a state dict, judged whole but for the tensors' values; the suffix says which format it is.

    Raises
    ------
    OSError
        If the file cannot be opened.
    FileFormatError
        If it is foreign, truncated or corrupt. Nothing is ever unpickled.
    """
    with open(path, "rb") as file:
        with damage(path):
            opened = (_open_safetensors if _suffix(path) == ".safetensors" else _open_npz)(file)

        def read(name: str) -> Array:
            with damage(path):
                return opened.read(name)

        yield opened._replace(read=read)


def judge_state_target(path: PathLike, tensors: Mapping[str, TensorType]) -> None:
    """Raise unless the suffix names a format that can hold these tensors."""
    suffix = _suffix(path)
    if suffix not in SUFFIXES:
        raise ValueError(f"{os.fspath(path)}: a state dict is saved as {' or '.join(SUFFIXES)}")
    for name, (dtype, _) in tensors.items():
        if suffix == ".npz" and not _is_of_numpy(dtype):
            raise ValueError(
                f"{os.fspath(path)}: .npz cannot hold {name!r} of type {dtype}: save as .safetensors"
            )
        if suffix == ".safetensors" and dtype not in _FORMAT and dtype not in safetensors.BITS:
            raise ValueError(
                f"{os.fspath(path)}: .safetensors cannot hold {name!r} of type {dtype}: save as .npz"
            )


def save_state(
    path: PathLike,
    tensors: Mapping[str, TensorType],
    read: Callable[[str], Array],
    *,
    metadata: Mapping[str, str] | None = None,
    force: bool = False,
) -> None:
    """Write a state dict, whole or not at all; the suffix decides the format. Equal contents give equal bytes.

    Parameters
    ----------
    tensors : mapping
        Type and shape by name.
    read : callable
        Gives the values of one tensor, as `StateDict.read` does.
    metadata : mapping, optional
        Texts for the header; .npz has no room for them.
    force : bool
        Replace an existing file.
    """
    judge_state_target(path, tensors)
    with atomic_path(path, force) as temporary:
        if _suffix(path) == ".npz":
            state_npz.write(temporary, tensors, read)
            return
        types = {name: (_FORMAT.get(t.dtype, t.dtype), t.shape) for name, t in tensors.items()}
        with open(temporary, "wb") as file:
            safetensors.write(file, types, metadata or {}, lambda name: _little_endian(read(name)))


def _open_safetensors(file: BufferedReader) -> StateDict:
    header = safetensors.read_header(file)
    tensors = {
        name: TensorType(_NUMPY.get(tensor.dtype, tensor.dtype), tensor.shape)
        for name, tensor in header.tensors.items()
    }

    def read(name: str) -> Array:
        return _as_array(safetensors.read_tensor(file, header, name), header.tensors[name])

    return StateDict(tensors, header.metadata, read)


def _open_npz(file: BufferedReader) -> StateDict:
    archive = zip_of(file, "a state dict")
    shapes = state_npz.read_shapes(archive)
    tensors = {name: TensorType(dtype.name, shape) for name, (dtype, shape) in shapes.items()}
    return StateDict(tensors, {}, lambda name: state_npz.read_array(archive, name))


def _as_array(raw: Array, tensor: safetensors.Tensor) -> Array:
    name = _NUMPY.get(tensor.dtype)
    if name is None:
        return raw
    dtype = np.dtype(np.uint16 if name == "bfloat16" else name)
    values = raw.view(dtype.newbyteorder("<")).reshape(tensor.shape)
    return values.astype(dtype, copy=False)


def _little_endian(values: Array) -> Array:
    return values.astype(values.dtype.newbyteorder("<"), copy=False)


def _is_of_numpy(name: str) -> bool:
    """Also where another package has taught NumPy the name: .npz would not say what the bits are."""
    try:
        dtype = np.dtype(name)
    except TypeError:
        return False
    return dtype.name == name and dtype.kind in "biufc"


def _suffix(path: PathLike) -> str:
    return Path(path).suffix.lower()
