"""Where a tensor's numbers lie outside the model's file: read with suspicion.

A location is a relative path that stays in the model's folder, links followed; the bytes must be there. Opens nothing for
writing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from .sizes import storage_bytes

if TYPE_CHECKING:
    from onnx import TensorProto

__all__ = ["SPILLED", "Extent", "entries", "is_external", "judge_extents", "locate", "refer"]

SPILLED = "//spilled"
"""The location of what a store wrote to its own scratch file; as an absolute path no model may name it."""


class Extent(NamedTuple):
    """A run of bytes in a file."""

    path: str
    offset: int
    length: int


def is_external(tensor: TensorProto) -> bool:
    return bool(tensor.data_location == tensor.EXTERNAL)


def refer(tensor: TensorProto, location: str, offset: int, length: int) -> None:
    """Make the tensor say that its bytes are there, and hold none itself."""
    for field in (
        "raw_data",
        "float_data",
        "int32_data",
        "int64_data",
        "double_data",
        "uint64_data",
    ):
        tensor.ClearField(field)
    del tensor.external_data[:]
    tensor.data_location = tensor.EXTERNAL
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        tensor.external_data.add(key=key, value=str(value))


def entries(tensor: TensorProto) -> dict[str, str]:
    """What an external tensor says of its place."""
    return {entry.key: entry.value for entry in tensor.external_data}


def locate(tensor: TensorProto, folder: str) -> Extent:
    """The bytes of an external tensor of a model in ``folder``.

    Raises
    ------
    ValueError
        A location outside the folder, no such file, a file that is too short, an offset or a length that is no number or
        does not fit the tensor's shape.
    """
    said = entries(tensor)
    path = _inside(said.get("location", ""), folder, tensor.name)
    offset = _number(said.get("offset", "0"), "offset", tensor.name)
    expected = storage_bytes(tensor)
    length = _number(said.get("length") or str(expected), "length", tensor.name)
    if length != expected:
        raise ValueError(
            f"tensor {tensor.name!r} has {length} bytes of external data, its shape needs {expected}"
        )
    try:
        size = os.stat(path).st_size
    except OSError as error:
        raise ValueError(
            f"the external data {said.get('location')!r} of tensor {tensor.name!r} cannot be read ({error.strerror})"
        ) from None
    if offset + length > size:
        raise ValueError(
            f"the external data {said.get('location')!r} is too short: tensor {tensor.name!r} needs bytes {offset} to "
            f"{offset + length}, the file has {size}"
        )
    return Extent(path, offset, length)


def judge_extents(extents: Iterable[tuple[str, Extent]]) -> None:
    """Raise ValueError if two tensors share some bytes; the very same bytes may be shared (tied weights)."""
    last_name, last = "", Extent("", 0, 0)
    for name, extent in sorted(extents, key=lambda pair: pair[1]):
        overlap = extent.path == last.path and extent.offset < last.offset + last.length
        if overlap and extent.length and extent != last:
            raise ValueError(
                f"tensors {last_name!r} and {name!r} overlap in the external data {os.path.basename(extent.path)!r}"
            )
        if extent.length:
            last_name, last = name, extent


def _inside(location: str, folder: str, name: str) -> str:
    """The real path of a location, which must be a plain file in or below the folder."""
    pure = location.replace("\\", "/")
    outside = ValueError(
        f"the external data {location!r} of tensor {name!r} lies outside the model's folder"
    )
    if not location or "\0" in location:
        raise ValueError(f"tensor {name!r} does not say where its external data lies")
    if pure.startswith("/") or os.path.isabs(location) or ":" in pure.split("/")[0]:
        raise outside
    if ".." in pure.split("/"):
        raise outside
    root = os.path.realpath(folder or ".")
    real = os.path.realpath(os.path.join(root, location))
    if not Path(real).is_relative_to(root):
        raise outside
    if os.path.exists(real) and not os.path.isfile(real):
        raise ValueError(f"the external data {location!r} of tensor {name!r} is not a file")
    return real


def _number(text: str, what: str, name: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise ValueError(f"the external data of tensor {name!r} has the {what} {text[:40]!r}")
    return int(text)
