"""The numbers of a model's tensors: read one at a time from wherever they lie, written to memory or to a scratch file.

So a model whose weights lie in external files is folded in the memory of its largest tensor. Knows nothing of graphs.
"""

from __future__ import annotations

import os
import tempfile
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from .external import SPILLED, Extent, entries, is_external, locate, refer
from .sizes import storage_bytes

if TYPE_CHECKING:
    from onnx import TensorProto

__all__ = [
    "BFLOAT16",
    "DOUBLE",
    "FLOAT",
    "FLOAT16",
    "FLOATS",
    "SPILL_FROM",
    "Store",
    "dtype_of",
    "to_bytes",
]

FLOAT, FLOAT16, DOUBLE, BFLOAT16 = 1, 10, 11, 16  # of TensorProto.DataType
FLOATS = (FLOAT, FLOAT16, DOUBLE, BFLOAT16)

SPILL_FROM = 1024
"""Tensors of fewer bytes stay in the model's file: shapes and the like, which other programs look for there."""
_CHUNK = 1 << 22


class Store:
    """Values of the tensors of one model.

    Parameters
    ----------
    folder : path, optional
        Where external data lies: the folder of the model's file.
    scratch : path, optional
        A folder for large new tensors. Without one they stay in memory. The scratch file has no name there and is gone
        when the store is closed, or the process ends.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str] | None = None,
        *,
        scratch: str | os.PathLike[str] | None = None,
    ) -> None:
        self._folder = None if folder is None else os.fspath(folder)
        self._scratch_folder = scratch
        self._scratch: IO[bytes] | None = None

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Forget what was spilled."""
        if self._scratch is not None:
            self._scratch.close()
            self._scratch = None

    def read(self, tensor: TensorProto) -> np.ndarray:
        """A tensor's value in its own dtype (bfloat16 as ml_dtypes' or, with an old onnx, as float32).

        External data is read each time and not kept. The array may be read-only.

        Raises
        ------
        ValueError
            External data that is missing, too short or outside the model's folder.
        """
        from onnx import numpy_helper

        if not is_external(tensor):
            return numpy_helper.to_array(tensor)
        dtype = _plain_dtype(tensor.data_type)
        if dtype is None:  # packed or exotic: onnx knows how
            inline = type(tensor)(
                name=tensor.name,
                dims=tensor.dims,
                data_type=tensor.data_type,
                raw_data=self.raw(tensor),
            )
            return numpy_helper.to_array(inline)
        values = np.empty(tuple(tensor.dims), dtype.newbyteorder("<"))
        self._read_into(tensor, values)
        return values.astype(dtype, copy=False)

    def raw(self, tensor: TensorProto) -> bytes:
        """The bytes of a tensor, as raw or external data has them."""
        if is_external(tensor):
            buffer = np.empty(storage_bytes(tensor), np.uint8)
            self._read_into(tensor, buffer)
            return buffer.tobytes()
        if tensor.HasField("raw_data"):
            return bytes(tensor.raw_data)
        return to_bytes(self.read(tensor), tensor.data_type)

    def copy_raw(self, tensor: TensorProto, out: IO[bytes]) -> int:
        """Append a tensor's bytes to a file, a few megabytes at a time; returns their number."""
        if not is_external(tensor):
            return out.write(self.raw(tensor))
        left = storage_bytes(tensor)
        file, offset, mine = self._open(tensor)
        try:
            file.seek(offset)
            while left:
                chunk = file.read(min(left, _CHUNK))
                if not chunk:
                    raise ValueError(f"the external data of tensor {tensor.name!r} became shorter")
                out.write(chunk)
                left -= len(chunk)
        finally:
            if not mine:
                file.close()
        return storage_bytes(tensor)

    def write(self, name: str, values: np.ndarray, data_type: int) -> TensorProto:
        """A new tensor with these values, which already are of the storage type.

        With a scratch folder, one of `SPILL_FROM` bytes or more goes to the scratch file and comes back as a reference
        that this store reads, and `save` resolves.
        """
        from onnx import TensorProto

        tensor = TensorProto(name=name, dims=values.shape, data_type=data_type)
        data = to_bytes(values, data_type)
        if self._scratch_folder is None or len(data) < SPILL_FROM:
            tensor.raw_data = data
            return tensor
        if self._scratch is None:
            self._scratch = tempfile.TemporaryFile(dir=self._scratch_folder)  # noqa: SIM115
        offset = self._scratch.seek(0, os.SEEK_END)
        self._scratch.write(data)
        refer(tensor, SPILLED, offset, len(data))
        return tensor

    def extent(self, tensor: TensorProto) -> Extent:
        """Where an external tensor's bytes lie; equal extents are equal bytes."""
        said = entries(tensor)
        if said.get("location") == SPILLED:
            return Extent(SPILLED, int(said["offset"]), int(said["length"]))
        if self._folder is None:
            raise ValueError(
                f"tensor {tensor.name!r} has external data, but the model has no folder"
            )
        return locate(tensor, self._folder)

    def _open(self, tensor: TensorProto) -> tuple[IO[bytes], int, bool]:
        """An open file, the tensor's offset in it, and whether it is the store's own (to be left open)."""
        extent = self.extent(tensor)
        if extent.path == SPILLED:
            if self._scratch is None:
                raise ValueError(f"tensor {tensor.name!r} was written by another store")
            return self._scratch, extent.offset, True
        return open(extent.path, "rb"), extent.offset, False

    def _read_into(self, tensor: TensorProto, out: np.ndarray) -> None:
        file, offset, mine = self._open(tensor)
        try:
            file.seek(offset)
            flat: Any = out.reshape(-1).view(np.uint8)
            view, done = memoryview(flat), 0
            while done < len(view):
                got = file.readinto(view[done:])  # type: ignore[attr-defined]
                if not got:
                    raise ValueError(f"the external data of tensor {tensor.name!r} became shorter")
                done += got
        finally:
            if not mine:
                file.close()


def dtype_of(data_type: int) -> np.dtype[Any]:
    """The NumPy dtype a floating tensor type is rounded to."""
    if data_type == BFLOAT16:
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype({FLOAT: np.float32, FLOAT16: np.float16, DOUBLE: np.float64}[data_type])


def to_bytes(values: np.ndarray, data_type: int) -> bytes:
    """Values as a tensor of this type stores them: little endian, C order."""
    dtype = _plain_dtype(data_type)
    if dtype is not None:
        if values.dtype != dtype:
            raise TypeError(f"expected values of {dtype}, got {values.dtype}")
        return np.ascontiguousarray(values, dtype.newbyteorder("<")).tobytes()
    if data_type == BFLOAT16 and values.dtype == np.float32:
        # a bfloat16 is the upper half of a float32; the lower is zero in what was rounded
        halves = np.ascontiguousarray(values).view(np.uint32) >> np.uint32(16)
        return halves.astype("<u2").tobytes()
    if values.dtype.itemsize == 2 and data_type == BFLOAT16:
        return np.ascontiguousarray(values).view(np.uint16).astype("<u2").tobytes()
    from onnx import numpy_helper

    return bytes(numpy_helper.from_array(values).raw_data)


def _plain_dtype(data_type: int) -> np.dtype[Any] | None:
    """NumPy's own dtype of a tensor type, None where it has none."""
    names = {
        1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 9: "bool", 10: "float16",
        11: "float64", 12: "uint32", 13: "uint64", 14: "complex64", 15: "complex128",
    }  # fmt: skip
    return np.dtype(names[data_type]) if data_type in names else None
