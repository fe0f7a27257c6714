"""Files read piece by piece: the same numbers as read whole; damage and missing values named by place."""

from __future__ import annotations

import gzip
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

import bncore as bn
from bncore.training.data.streams import table


def everything(stream):
    return np.concatenate([np.asarray(chunk) for chunk in stream])


def refused(path, *words, read=True, error=bn.FileFormatError, **options):
    with pytest.raises(error) as caught:
        stream = bn.data.stream(path, **options)
        if read:
            list(stream)
    message = str(caught.value)
    assert message.startswith(str(path)) or not issubclass(error, bn.FileFormatError)
    assert "\n" not in message
    for word in words:
        assert word in message, message


# ---- .npy and .npz


@pytest.mark.parametrize("dtype", ["f4", ">f8", "i2", "bool"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_is_mapped(tmp_path, dtype, order, rng):
    x = np.asarray(5 * rng.standard_normal((40, 3, 2)), dtype, order=order)
    np.save(tmp_path / "x.npy", x)
    stream = bn.data.stream(tmp_path / "x.npy")
    assert isinstance(stream.array, np.memmap)
    assert stream.samples == 40
    for _ in range(2):
        assert np.array_equal(everything(stream), x)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npz_gives_the_array_asked_for(tmp_path, save, order, rng):
    x = np.asarray(rng.standard_normal((5000, 70)), order=order)
    path = tmp_path / "x.npz"
    save(path, x=x, labels=np.arange(5000), empty=np.ones((0, 4)))
    assert np.array_equal(everything(bn.data.stream(path)), x)
    assert np.array_equal(everything(bn.data.stream(path, array="labels"))[:, 0], np.arange(5000))
    assert list(bn.data.stream(path, array="empty")) == []
    save(path, only=x)
    assert np.array_equal(everything(bn.data.stream(path)), x)


def test_npz_is_never_whole_in_memory(tmp_path, rng):
    x = rng.standard_normal((60_000, 50))
    np.savez_compressed(tmp_path / "x.npz", x=x)
    bn.population(bn.data.stream(tmp_path / "x.npz"))
    tracemalloc.start()
    try:
        stats = bn.population(bn.data.stream(tmp_path / "x.npz"))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert stats.count == 60_000
    assert peak < x.nbytes / 2


def test_bad_npy_and_npz(tmp_path, rng):
    path = tmp_path / "x.npy"
    np.save(path, rng.standard_normal((50, 9)))
    whole = path.read_bytes()
    for content in (b"", b"hello, world", whole[:100], whole[: len(whole) // 2]):
        path.write_bytes(content)
        refused(path)
    np.save(path, np.array([object()], object), allow_pickle=True)
    refused(path, "never unpickled")
    np.save(path, np.array(["a"]))
    refused(path, "real numbers")
    np.save(path, np.float64(3))
    refused(path, "samples")
    path = tmp_path / "x.npz"
    np.savez_compressed(path, x=rng.standard_normal((50, 9)))
    whole = path.read_bytes()
    for content in (
        b"",
        b"hello",
        whole[: len(whole) // 2],
        whole[:90] + b"\xff" * 40 + whole[130:],
    ):
        path.write_bytes(content)
        refused(path)
    np.savez(path, a=np.ones(3), b=np.ones(3))
    refused(path, "no array 'x'", "a, b")
    refused(path, "no array 'c'", array="c")
    np.savez(path, x=np.array([object()], object))
    refused(path, "never unpickled")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    refused(path, "holds no arrays")


# ---- IDX


def idx_bytes(x, code):
    return (
        struct.pack(">BBBB", 0, 0, code, x.ndim)
        + struct.pack(f">{x.ndim}I", *x.shape)
        + x.tobytes()
    )


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize(
    ("code", "dtype"),
    [(8, "u1"), (9, "i1"), (0x0B, ">i2"), (0x0C, ">i4"), (0x0D, ">f4"), (0x0E, ">f8")],
)
@pytest.mark.parametrize("shape", [(7,), (7, 3), (7, 4, 5), (0, 4, 5)])
def test_idx_of_every_kind(tmp_path, suffix, code, dtype, shape, rng):
    x = (50 * rng.random(shape)).astype(dtype)
    path = tmp_path / f"data{suffix}"
    path.write_bytes((gzip.compress if suffix else bytes)(idx_bytes(x, code)))
    stream = bn.data.stream(path)
    assert stream.samples == shape[0]
    if shape[0]:
        assert np.array_equal(everything(stream), x[..., None] if x.ndim != 2 else x)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_bad_idx(tmp_path, suffix):
    path = tmp_path / f"train-images-idx3-ubyte{suffix}"
    pack = gzip.compress if suffix else bytes
    good = idx_bytes(np.zeros((5, 4, 4), np.uint8), 8)
    path.write_bytes(pack(good[:-3]))
    refused(path, "truncated")
    path.write_bytes(pack(good + b"x"))
    refused(path, "too long")
    path.write_bytes(pack(good[:9]))
    refused(path, "truncated within its header")
    path.write_bytes(pack(b"\0\0\7\3" + good[4:]))
    refused(path, "magic number")
    path.write_bytes(pack(b""))
    refused(path, "an empty file")
    if suffix:
        path.write_bytes(pack(good)[:-9])
        refused(path, "gzip")
        path.write_bytes(b"no gzip at all")
        refused(path, "gzip")


# ---- tables


def write(path, text):
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.name.endswith(".gz") else data)
    return path


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.tsv"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("rows", [1, 5, 3000])
def test_tables_of_any_length(tmp_path, name, newline, rows, monkeypatch, rng):
    monkeypatch.setattr(table, "CELLS", 300)  # many blocks
    x = rng.standard_normal((rows, 3))
    delimiter = "\t" if name == "t.tsv" else ","
    lines = [
        delimiter.join(["a", "b", "c"]),
        *(delimiter.join(map(repr, map(float, row))) for row in x),
    ]
    stream = bn.data.stream(write(tmp_path / name, newline.join(lines) + newline))
    assert stream.features == ("a", "b", "c")
    for _ in range(2):
        assert np.array_equal(everything(stream), x)


def test_quotes_blank_lines_and_a_byte_order_mark(tmp_path, monkeypatch):
    monkeypatch.setattr(table, "CELLS", 1)
    text = '\ufeff"a;b";"c\nd";e\n"1";2;3\n\n' + "4;5;6\n" * 20 + ' ; ;\n"7";"8";"9"\n'
    stream = bn.data.stream(write(tmp_path / "t.csv", text))
    assert stream.features == ("a;b", "c\nd", "e")
    assert everything(stream).tolist() == [[1, 2, 3], *[[4, 5, 6]] * 20, [7, 8, 9]]


def test_rows_with_line_breaks_across_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(table, "CELLS", 1)  # blocks of 16 lines
    rows = [f'{i},"{i}\n"' for i in range(50)]
    stream = bn.data.stream(write(tmp_path / "t.csv", "\n".join(rows)))
    assert everything(stream).tolist() == [[i, i] for i in range(50)]


def test_no_header_when_all_are_numbers(tmp_path):
    stream = bn.data.stream(write(tmp_path / "t.csv", "1,2\n3,4"))
    assert stream.features == ()
    assert everything(stream).tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize("columns", [["b", "w"], [1, 3], ["1", "-1"], ["b", -1]])
def test_columns_by_name_and_position(tmp_path, columns):
    path = write(tmp_path / "t.csv", "a,b,c,w\nred,1,x,2\nblue,3,y,4\n")
    stream = bn.data.stream(path, columns=columns)
    assert everything(stream).tolist() == [[1, 2], [3, 4]]
    assert stream.features == ("b", "w")


def test_a_column_of_weights(tmp_path):
    path = write(tmp_path / "t.csv", "a,w,b\n1,2,3\n4,5,6\n")
    ((x, w),) = list(bn.data.stream(path, weights="w"))
    assert (x.tolist(), w.tolist()) == ([[1, 3], [4, 6]], [2, 5])
    stats = bn.population(bn.data.stream(path, weights="w"))
    assert stats.count == 7
    assert stats.mean.tolist() == pytest.approx([22 / 7, 36 / 7])


@pytest.mark.parametrize("cell", ["", "NA", "nan", "?", "null"])
@pytest.mark.parametrize("quoted", [False, True])
def test_missing_values_are_named_or_skipped(tmp_path, cell, quoted, monkeypatch):
    monkeypatch.setattr(table, "CELLS", 1)
    lines = ["a,b", *["1,2"] * 40, f"3,{cell}", *["5,6"] * 40]
    if quoted:
        lines[1] = '"1",2'
    path = write(tmp_path / "t.csv", "\n".join(lines))
    refused(path, f"line 42, column 'b': missing value {cell!r}")
    stream = bn.data.stream(path, missing="skip")
    assert len(everything(stream)) == 80
    assert stream.skipped == 1
    list(stream)
    assert stream.skipped == 1
    assert len(everything(bn.data.stream(path, columns=["a"]))) == 81  # not wanted, not looked at


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["empty"]),
        ("a,b\n", ["no rows of numbers"]),
        ("a,b\n1,2\n3\n", ["line 3", "expected 2 cells", "found 1"]),
        ("a,b\n1,2\n3,4,5\n", ["line 3", "expected 2 cells", "found 3"]),
        ("a,b\n1,2\n3,x\n", ["line 3, column 'b'", "finite number, found 'x'"]),
        ("1,2\n3,inf\n", ["line 2, column '1'", "found 'inf'"]),
        ('a,b\n1,"2\n', ["line"]),
        ("a,b\n1,\udcff\n", ["not UTF-8"]),
    ],
)
def test_bad_tables(tmp_path, text, words):
    path = tmp_path / "t.csv"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    refused(path, *words)


def test_bad_options(tmp_path):
    path = write(tmp_path / "t.csv", "a,b,b\n1,2,3\n")
    refused(path, "no column 'z'", "a, b, b", error=ValueError, columns=["z"])
    refused(path, "2 columns are called 'b'", error=ValueError, columns=["b"])
    refused(path, "no column 7", error=ValueError, weights=7)
    refused(path, "at least one feature", error=ValueError, columns=[])
    refused(path, "sequence of columns", error=TypeError, columns="a")
    refused(path, "missing must be one of", error=ValueError, missing="mean")
    refused(path, "delimiter must be one character", error=ValueError, delimiter=", ")
    refused(path, "array must be None", error=ValueError, array="x")
    np.save(tmp_path / "x.npy", np.ones((3, 2)))
    refused(tmp_path / "x.npy", "it is no table", error=ValueError, columns=["a"])
    refused(tmp_path / "no.npy", "no such file", error=FileNotFoundError)
    refused(tmp_path, "is a folder", error=IsADirectoryError)
    (tmp_path / "x.txt").write_text("hello")
    refused(tmp_path / "x.txt", "expected .npy")
