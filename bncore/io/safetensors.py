"""The .safetensors format: a JSON header with every tensor's type, shape and place, then their bytes.

Read and written here, without another package: the header is judged whole before a tensor is read, and tensors are
read and written one at a time. Knows nothing of what the tensors are for.

Source: the format's description at https://github.com/huggingface/safetensors.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Mapping
from io import BufferedReader
from typing import IO, Any, NamedTuple

import numpy as np

from ..support.errors import FileFormatError

__all__ = ["BITS", "Header", "Tensor", "read_header", "read_tensor", "write"]

LARGEST_HEADER = 100_000_000
MOST_AXES = 64  # NumPy's limit
# size of one element in bits, and what NumPy holds it in; what it has no type for stays bytes
BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "U16": 16, "I16": 16, "U32": 32, "I32": 32, "U64": 64, "I64": 64,
    "F16": 16, "BF16": 16, "F32": 32, "F64": 64, "C64": 64,
    "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4,
}  # fmt: skip


class Tensor(NamedTuple):
    """Where a tensor lies: its type in the format's words, shape, and first and last byte after the header."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


class Header(NamedTuple):
    """All tensors by name in the order of their bytes, the file's notes, and where the bytes begin."""

    tensors: dict[str, Tensor]
    metadata: dict[str, str]
    start: int


def read_header(file: BufferedReader) -> Header:
    """The header of an open file.

    Raises
    ------
    FileFormatError
        Unless every tensor's bytes fit its type and shape, follow one another without gaps or overlaps, and fill
        the file exactly.
    """
    size = os.fstat(file.fileno()).st_size
    file.seek(0)
    start = file.read(8)
    if start[:2] == b"PK" or start[:1] == b"\x80":
        raise FileFormatError("expected .safetensors, found a zip file or a pickle")
    length = int.from_bytes(start, "little")
    if len(start) < 8 or length > size - 8:
        raise FileFormatError(
            f"truncated, or not .safetensors: {size} bytes, a header of {length} is announced"
        )
    if length > LARGEST_HEADER:
        raise FileFormatError(f"its header of {length} bytes is larger than {LARGEST_HEADER}")
    entries = _parse(file.read(length))
    for name in entries:
        _judge_name(name)
    metadata = entries.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise FileFormatError("its __metadata__ must be texts under names")
    tensors = {name: _tensor(name, entry) for name, entry in entries.items()}
    ordered = dict(sorted(tensors.items(), key=lambda item: (item[1].begin, item[1].end)))
    _judge_places(ordered, size - 8 - length)
    return Header(ordered, metadata, 8 + length)


def read_tensor(file: BufferedReader, header: Header, name: str) -> np.ndarray[Any, Any]:
    """A tensor's bytes, (size,) of uint8."""
    tensor = header.tensors[name]
    raw = np.empty(tensor.end - tensor.begin, np.uint8)
    file.seek(header.start + tensor.begin)
    if file.readinto(raw.data) != raw.size:
        raise FileFormatError(f"truncated within {name!r}")
    return raw


def write(
    file: IO[bytes],
    tensors: Mapping[str, tuple[str, tuple[int, ...]]],
    metadata: Mapping[str, str],
    read: Callable[[str], np.ndarray[Any, Any]],
) -> None:
    """Write tensors, given by type and shape, whose values ``read(name)`` gives one at a time.

    Equal contents give equal bytes. Wide types come first, so that everything is aligned to its size.
    """
    names = sorted(tensors, key=lambda name: (-BITS[tensors[name][0]], name))
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))} if metadata else {}
    position = 0
    for name in names:
        dtype, shape = tensors[name]
        end = position + _byte_size(dtype, shape)
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [position, end]}
        position = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little") + text)
    for name in names:
        raw = np.ascontiguousarray(read(name))
        assert raw.nbytes == _byte_size(*tensors[name]), name
        file.write(raw.reshape(-1).view(np.uint8).data)


def _parse(text: bytes) -> dict[str, Any]:
    if text[:1] != b"{":
        raise FileFormatError("its header is not a JSON object")
    try:
        entries: dict[str, Any] = json.loads(text.decode(), object_pairs_hook=_no_duplicates)
    except FileFormatError:
        raise
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"its header is not JSON ({' '.join(str(error).split())})") from None
    return entries


def _no_duplicates(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, value in pairs:
        if name in result:
            raise FileFormatError(f"its header has two entries {name!r}")
        result[name] = value
    return result


def _judge_name(name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise FileFormatError(f"the tensor name {name!r} is not text") from None


def _tensor(name: str, entry: Any) -> Tensor:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise FileFormatError(f"tensor {name!r} must have dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in BITS:
        raise FileFormatError(f"tensor {name!r} has the unknown type {dtype!r}")
    if not _are_sizes(shape) or not _are_sizes(offsets) or len(offsets) != 2:
        raise FileFormatError(f"tensor {name!r}: shape and data_offsets must be integers >= 0")
    if len(shape) > MOST_AXES:
        raise FileFormatError(f"tensor {name!r} has {len(shape)} axes, more than {MOST_AXES}")
    begin, end = offsets
    if end - begin != _byte_size(dtype, shape, name):
        raise FileFormatError(
            f"tensor {name!r}: {dtype} of shape {shape} does not take {end - begin} bytes"
        )
    return Tensor(dtype, tuple(shape), begin, end)


def _are_sizes(values: Any) -> bool:
    return isinstance(values, list) and all(type(v) is int and 0 <= v < 2**63 for v in values)


def _byte_size(dtype: str, shape: Iterable[int], name: str = "") -> int:
    bits = math.prod(shape) * BITS[dtype]
    if bits % 8:
        raise FileFormatError(f"tensor {name!r}: {dtype} does not fill whole bytes")
    return bits // 8


def _judge_places(tensors: Mapping[str, Tensor], size: int) -> None:
    position = 0
    for name, tensor in tensors.items():
        if tensor.begin != position:
            wrong = "overlaps the one before it" if tensor.begin < position else "leaves a gap"
            raise FileFormatError(f"tensor {name!r} {wrong} (byte {tensor.begin}, not {position})")
        position = tensor.end
    if position != size:
        what = "truncated" if position > size else "bytes behind the last tensor"
        raise FileFormatError(f"{what}: its tensors take {position} bytes, the file has {size}")
