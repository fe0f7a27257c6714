"""The numbers of tensors: the same from memory, from external data and from the scratch file."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from bncore.folding.onnx.external import SPILLED, refer
from bncore.folding.onnx.store import Store

DTYPES = ["float32", "float64", "float16", "int8", "uint8", "int32", "int64", "bool", "complex64"]


def values_of(dtype: Any, *shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 50, shape).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (0, 3), (5, 7)], ids=str)
def test_written_tensors_are_what_onnx_reads(dtype: str, shape: tuple[int, ...]) -> None:
    values = values_of(dtype, *shape)
    tensor = Store().write("t", values, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))
    for read in (numpy_helper.to_array(tensor), Store().read(tensor)):
        assert read.dtype == values.dtype and read.shape == values.shape
        np.testing.assert_array_equal(read, values)


@pytest.mark.parametrize("dtype", DTYPES)
def test_external_data_is_read_where_it_lies(tmp_path: Path, dtype: str) -> None:
    values = values_of(dtype, 5, 7)
    (tmp_path / "w.bin").write_bytes(b"xyz" + values.tobytes() + b"more")
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    tensor = TensorProto(name="t", dims=values.shape, data_type=kind)
    refer(tensor, "w.bin", 3, values.nbytes)
    store = Store(tmp_path)
    np.testing.assert_array_equal(store.read(tensor), values)
    assert store.raw(tensor) == values.tobytes()
    copied = io.BytesIO()
    assert store.copy_raw(tensor, copied) == values.nbytes
    assert copied.getvalue() == values.tobytes()


@pytest.mark.parametrize("how", ["memory", "external", "spilled"])
def test_bfloat16(tmp_path: Path, how: str) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    values = values_of(ml_dtypes.bfloat16, 40, 50)
    store = Store(tmp_path, scratch=tmp_path if how == "spilled" else None)
    tensor = store.write("t", values, TensorProto.BFLOAT16)
    assert (tensor.data_location == tensor.EXTERNAL) == (how == "spilled")
    if how == "external":
        (tmp_path / "w.bin").write_bytes(tensor.raw_data)
        refer(tensor, "w.bin", 0, values.nbytes)
    np.testing.assert_array_equal(store.read(tensor).astype(float), values.astype(float))
    store.close()


def test_bfloat16_that_comes_as_float32() -> None:
    """As an onnx without ml_dtypes has it."""
    values = np.float32([1.0, -2.5, 0.0])
    halves = Store().write("t", values, TensorProto.BFLOAT16).raw_data
    assert np.frombuffer(halves, "<u2").tolist() == [0x3F80, 0xC020, 0]


def test_large_tensors_are_spilled_and_small_ones_are_not(tmp_path: Path) -> None:
    large, small = values_of("float32", 20, 30), values_of("float32", 3)
    with Store(scratch=tmp_path) as store:
        spilled, kept = store.write("a", large, 1), store.write("b", small, 1)
        again = store.write("c", large + 1, 1)
        assert spilled.external_data[0].value == SPILLED and kept.HasField("raw_data")
        np.testing.assert_array_equal(store.read(spilled), large)
        np.testing.assert_array_equal(store.read(again), large + 1)
        np.testing.assert_array_equal(store.read(kept), small)
        with pytest.raises(ValueError, match="another store"):
            Store().read(spilled)
    assert list(tmp_path.iterdir()) == []


def test_values_of_another_type_are_refused() -> None:
    with pytest.raises(TypeError, match="float32"):
        Store().write("t", values_of("float64", 3), 1)


def test_external_data_needs_a_folder() -> None:
    tensor = TensorProto(name="t", dims=[3], data_type=1)
    refer(tensor, "w.bin", 0, 12)
    with pytest.raises(ValueError, match="no folder"):
        Store().read(tensor)
