"""State dicts in files: every tensor comes back to the bit, other packages agree, and what is damaged is refused in one line."""

from __future__ import annotations

import json
import tracemalloc
import zipfile
from contextlib import suppress

import numpy as np
import pytest

from bncore import FileFormatError
from bncore.io.state_file import open_state, save_state
from bncore.support.tensors import StateDict, TensorType

ARRAYS = {
    "a.weight": np.arange(12, dtype=np.float32).reshape(3, 4),
    "a.bias": np.array([1.5, -2.0, 65504.0], np.float16),
    "b": np.array([[1e300, -0.0]]),
    "count": np.array(7),
    "mask": np.array([True, False]),
    "empty": np.zeros((0, 3), np.float32),
    "z": np.array([1 + 2j], np.complex64),
    "bytes": np.arange(5, dtype=np.uint8),
}


def save(path, arrays, metadata=None):
    state = StateDict.of(arrays)
    save_state(path, state.tensors, state.read, metadata=metadata)


def load(path):
    with open_state(path) as state:
        return {name: state.read(name) for name in state.tensors}, state


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_everything_comes_back_to_the_bit(tmp_path, suffix):
    path = tmp_path / f"state{suffix}"
    save(path, ARRAYS)
    arrays, state = load(path)
    assert arrays.keys() == ARRAYS.keys()
    for name, expected in ARRAYS.items():
        assert state.tensors[name] == TensorType(expected.dtype.name, expected.shape)
        assert arrays[name].dtype == expected.dtype and arrays[name].shape == expected.shape
        assert arrays[name].tobytes() == expected.tobytes()


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_equal_contents_give_equal_bytes(tmp_path, suffix):
    for name in ("one", "two"):
        save(tmp_path / f"{name}{suffix}", ARRAYS)
    one, two = ((tmp_path / f"{name}{suffix}").read_bytes() for name in ("one", "two"))
    assert one == two


def test_the_safetensors_package_reads_what_is_written_and_is_read(tmp_path):
    numpy_face = pytest.importorskip("safetensors.numpy")
    plain = {name: a for name, a in ARRAYS.items() if a.dtype.kind != "c"}
    save(tmp_path / "ours.safetensors", plain, {"format": "pt", "note": "ü"})
    theirs = numpy_face.load_file(tmp_path / "ours.safetensors")
    numpy_face.save_file(plain, tmp_path / "theirs.safetensors", metadata={"who": "they"})
    ours, state = load(tmp_path / "theirs.safetensors")
    assert state.metadata == {"who": "they"}
    for arrays in (theirs, ours):
        assert arrays.keys() == plain.keys()
        assert all(arrays[name].tobytes() == a.tobytes() for name, a in plain.items())
    from safetensors import safe_open

    with safe_open(tmp_path / "ours.safetensors", "np") as file:
        assert file.metadata() == {"format": "pt", "note": "ü"}


def test_types_that_numpy_lacks_pass_through_safetensors(tmp_path):
    tensors = {"h": TensorType("bfloat16", (2,)), "q": TensorType("F8_E4M3", (3,))}
    values = {"h": np.array([0x3F80, 0xBF80], np.uint16), "q": np.arange(3, dtype=np.uint8)}
    save_state(tmp_path / "a.safetensors", tensors, values.__getitem__)
    arrays, state = load(tmp_path / "a.safetensors")
    assert state.tensors == tensors
    assert all((arrays[name] == values[name]).all() for name in values)
    with suppress(ImportError):
        import ml_dtypes  # noqa: F401  # teaches NumPy the name bfloat16
    with pytest.raises(ValueError, match=r"a.npz: .npz cannot hold 'h' of type bfloat16"):
        save_state(tmp_path / "a.npz", tensors, values.__getitem__)
    assert not (tmp_path / "a.npz").exists()


def test_numpy_reads_what_is_written_and_is_read_compressed_or_in_fortran_order(tmp_path):
    save(tmp_path / "ours.npz", ARRAYS)
    with np.load(tmp_path / "ours.npz", allow_pickle=False) as theirs:
        assert set(theirs.files) == ARRAYS.keys()
    odd = {"f": np.asfortranarray(ARRAYS["a.weight"]), "big": np.arange(3, dtype=">f4")}
    np.savez_compressed(tmp_path / "theirs.npz", **odd)
    arrays, _ = load(tmp_path / "theirs.npz")
    assert (arrays["f"] == odd["f"]).all() and arrays["f"].flags.c_contiguous
    assert arrays["big"].dtype == np.dtype(np.float32) and arrays["big"].tolist() == [0, 1, 2]


def test_other_suffixes_are_no_state_dicts(tmp_path):
    with pytest.raises(ValueError, match=r"saved as .safetensors or .npz"):
        save(tmp_path / "state.pt", ARRAYS)


def header(entries, data=b"", length=None):
    text = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def entry(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


EIGHT = bytes(8)
DAMAGED = {
    "empty": (b"", "truncated"),
    "no header": (b"\x01\x02", "truncated"),
    "a zip": (b"PK\x03\x04" + bytes(40), "found a zip file or a pickle"),
    "a pickle": (b"\x80\x04" + bytes(40), "found a zip file or a pickle"),
    "header too long": (header({}, length=99), "a header of 99 is announced"),
    "no JSON": (header(b"{nonsense}"), "not JSON"),
    "no text": (header(b"{\xff\xff}"), "not JSON"),
    "an array": (header(b"[]"), "not a JSON object"),
    "deep": (header(b'{"a":' + b"[" * 100000), "not JSON"),
    "twice": (header(b'{"a":1,"a":2}'), "two entries 'a'"),
    "half a surrogate": (header({"\ud800": entry()}, EIGHT), "is not text"),
    "metadata": (header({"__metadata__": {"a": 1}}), "__metadata__"),
    "no dict": (header({"a": 1}), "'a' must have dtype, shape and data_offsets"),
    "missing": (header({"a": {"dtype": "F32"}}), "'a' must have"),
    "unknown type": (header({"a": entry("F31")}, EIGHT), "unknown type 'F31'"),
    "odd type": (header({"a": entry(["F32"])}, EIGHT), "unknown type"),
    "negative": (header({"a": entry(shape=(-2,))}, EIGHT), "integers >= 0"),
    "fraction": (header({"a": entry(shape=(2.0,))}, EIGHT), "integers >= 0"),
    "huge": (header({"a": entry(shape=(2**62, 2**62))}, EIGHT), "does not take 8 bytes"),
    "many axes": (header({"a": entry(shape=(1,) * 65)}, EIGHT), "65 axes"),
    "size": (header({"a": entry(shape=(3,))}, EIGHT), "F32 of shape [3] does not take 8 bytes"),
    "half a byte": (header({"a": entry("F4", (3,), (0, 1))}, bytes(1)), "whole bytes"),
    "gap": (header({"a": entry(offsets=(8, 16))}, bytes(16)), "leaves a gap"),
    "overlap": (header({"a": entry(), "b": entry(offsets=(4, 12))}, bytes(12)), "overlaps"),
    "cut": (header({"a": entry()}, bytes(7)), "truncated: its tensors take 8 bytes"),
    "longer": (header({"a": entry()}, bytes(9)), "bytes behind the last tensor"),
}


@pytest.mark.parametrize("data, message", DAMAGED.values(), ids=list(DAMAGED))
def test_damaged_safetensors_are_refused_in_one_line(tmp_path, data, message):
    path = tmp_path / "bad.safetensors"
    path.write_bytes(data)
    with pytest.raises(FileFormatError) as caught, open_state(path):
        pass
    told = str(caught.value)
    assert told.startswith(str(path)) and message in told and len(told.splitlines()) == 1


def test_the_safetensors_package_refuses_them_too(tmp_path):
    """Nothing is refused here that the format allows. What it does not mind: odd JSON numbers, more axes than NumPy has."""
    module = pytest.importorskip("safetensors")
    ours_only = {"fraction", "many axes", "a zip", "a pickle", "twice"}
    for name, (data, _) in DAMAGED.items():
        path = tmp_path / f"{len(data)}.safetensors"
        path.write_bytes(data)
        if name in ours_only:
            continue
        with pytest.raises((module.SafetensorError, OSError, TypeError, ValueError)):  # noqa: SIM117
            with module.safe_open(path, "np") as file:
                for key in file.keys():  # noqa: SIM118
                    file.get_tensor(key)


def npz(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def test_damaged_npz_are_refused_in_one_line(tmp_path):
    path = tmp_path / "bad.npz"
    np.savez(path, a=np.array([{}], object), allow_pickle=True)
    good = tmp_path / "good.npz"
    np.savez(good, a=np.arange(3.0))
    array = zipfile.ZipFile(good).read("a.npy")
    cases = {
        "holds object": path.read_bytes(),
        "which bncore never reads": b"",
        "pickle of PyTorch": {"archive/data.pkl": b"\x80"},
        "no array": {"readme.txt": b"hello"},
        "its header says": {"a.npy": array[:-8]},
        "two entries": {"a.npy": array},
        "found an empty file": b"",
        "truncated or corrupt": good.read_bytes()[:-30],
    }
    cases["which bncore never reads"] = b"\x80\x04."
    for message, data in cases.items():
        if isinstance(data, dict):
            npz(path, data)
            if message == "two entries":
                with pytest.warns(UserWarning), zipfile.ZipFile(path, "a") as archive:
                    archive.writestr("a.npy", array)
        else:
            path.write_bytes(data)
        with pytest.raises(FileFormatError) as caught, open_state(path):
            pass
        assert message in str(caught.value) and str(path) in str(caught.value)


def test_one_tensor_is_in_memory_at_a_time(tmp_path):
    size = 1 << 20
    arrays = {f"t{n}": np.full(size, n, np.float32) for n in range(8)}
    for suffix in (".safetensors", ".npz"):
        save(tmp_path / f"in{suffix}", arrays)
        tracemalloc.start()
        with open_state(tmp_path / f"in{suffix}") as state:
            save_state(tmp_path / f"out{suffix}", state.tensors, state.read)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 3.5 * 4 * size, suffix
