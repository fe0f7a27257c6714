"""Values of tensors: read from a TensorProto, written into a new one.

The in-memory store; one that leaves tensors in their files has the same two methods. No algebra
here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ...support.extras import require

if TYPE_CHECKING:
    import onnx

__all__ = ["FLOATS", "Store", "dtype_of"]

FLOAT, FLOAT16, DOUBLE, BFLOAT16 = 1, 10, 11, 16  # TensorProto.DataType
FLOATS = (FLOAT, FLOAT16, DOUBLE, BFLOAT16)


class Store:
    """Everything in memory."""

    def read(self, tensor: onnx.TensorProto) -> np.ndarray:
        """The tensor's values in its own dtype."""
        from onnx import numpy_helper

        return np.asarray(numpy_helper.to_array(tensor))

    def write(self, name: str, values: np.ndarray, data_type: int) -> onnx.TensorProto:
        """A tensor of values that are rounded to the storage type already."""
        import onnx

        little = values.astype(values.dtype.newbyteorder("<"), copy=False)
        return onnx.TensorProto(
            name=name, data_type=data_type, dims=values.shape, raw_data=little.tobytes()
        )


def dtype_of(data_type: int) -> np.dtype[Any]:
    """The NumPy dtype a float tensor type is rounded to."""
    if data_type == BFLOAT16:
        return np.dtype(require("ml_dtypes", "onnx").bfloat16)
    return np.dtype({FLOAT: np.float32, FLOAT16: np.float16, DOUBLE: np.float64}[data_type])
